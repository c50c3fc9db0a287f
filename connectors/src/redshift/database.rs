//! A database and the control tables of one job in it: its sessions, who recorded them, and which are open.

use checkpoint::{Digest, Epoch, Generation, Nonce};

use super::{
    session::{self, Session},
    settings::Settings,
    tables::{self, Tables},
    text::literal,
};
use crate::{Error, OpenSession, Process, Result, Trust, background::Background};

/// A Redshift database and the control tables of one job in it.
pub struct Redshift {
    pub(super) settings: Settings,
    pub(super) tables: Tables,
    pub(super) runtime: Background,
    pub(super) session: Option<Session>,
    /// One for the questions about tables that a start asks, hundreds of them where there are as many targets.
    pub(super) catalog: Option<Session>,
    /// Who we are, once we have a nonce; every session records it before it touches the fence.
    pub(super) identity: Option<(Process, Nonce)>,
    pub(super) generation: Option<Generation>,
    /// Whether a login was taken before.
    pub(super) logins: Trust,
    /// Whether a load was possible before.
    pub(super) loads: Trust,
}

impl Redshift {
    /// No connection is made yet. `schema` is where the control tables of `job` live.
    pub fn new(settings: Settings, schema: &str, job: &str) -> Result<Redshift> {
        let runtime = Background::new("redshift")?;
        let tables = Tables::new(schema, job);
        Ok(Redshift {
            settings,
            tables,
            runtime,
            session: None,
            catalog: None,
            identity: None,
            generation: None,
            logins: Trust::default(),
            loads: Trust::default(),
        })
    }

    pub(super) fn connect(&self) -> Result<Session> {
        self.logins.judge(Session::connect(&self.settings, self.runtime.handle()))
    }

    /// A session for questions whose answer may take longer than a login.
    pub(super) fn connect_to_read(&self) -> Result<Session> {
        let mut session = self.connect()?;
        session.limit(self.settings.statement_timeout)?;
        Ok(session)
    }

    /// Runs `act` on the open session, or on a new one that has recorded itself. After an error the session is thrown
    /// away: what it had open is rolled back, and nobody knows what state it is in.
    pub(super) fn on_session<T>(&mut self, act: impl FnOnce(&mut Redshift, &mut Session) -> Result<T>) -> Result<T> {
        let mut session = match self.session.take().filter(Session::is_open) {
            Some(session) => session,
            None => {
                let mut session = self.connect()?;
                self.record_session(&mut session)?;
                session
            }
        };
        let result = act(self, &mut session);
        if result.is_ok() {
            self.session = Some(session);
        }
        result
    }

    /// Runs `ask` on the open session of a start that has recorded itself, else on one for this question.
    pub(super) fn on_any<T>(&mut self, ask: impl FnOnce(&mut Redshift, &mut Session) -> Result<T>) -> Result<T> {
        if self.identity.is_some() {
            return self.on_session(ask);
        }
        let mut session = self.connect()?;
        ask(self, &mut session)
    }

    /// Runs `ask` on the session for questions, which it opens if there is none.
    pub(super) fn on_catalog<T>(&mut self, ask: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
        let mut session = match self.catalog.take().filter(Session::is_open) {
            Some(session) => session,
            None => self.connect()?,
        };
        let result = ask(&mut session);
        if result.is_ok() {
            self.catalog = Some(session);
        }
        result
    }

    /// Commits a row about the session before it does anything that another may have to wait for.
    pub(super) fn record_session(&self, session: &mut Session) -> Result<()> {
        let Some((process, nonce)) = &self.identity else { return Err(Error::bug("a session before a nonce")) };
        let start = match &session.started {
            Some(start) => format!("{}::timestamp", literal(start)),
            None => "NULL".into(),
        };
        let generation = self.generation.map_or("NULL".into(), |g| g.to_string());
        session.run(&format!(
            "INSERT INTO {} ({}) VALUES ({generation}, {}, {}, {}, {start})",
            self.tables.sessions,
            tables::SESSIONS_COLUMNS,
            literal(nonce.as_str()),
            tables::process_values(process),
            session.pid
        ))?;
        Ok(())
    }

    /// The sessions of this job that are open; those of this start only if `with_ours`.
    pub(super) fn open_sessions(&self, session: &mut Session, with_ours: bool) -> Result<Option<Vec<OpenSession>>> {
        let alive = match session.run("SELECT process, starttime FROM stv_sessions") {
            Ok(answer) => answer.rows,
            Err(error) if session::is_not_shown(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let pids: Vec<String> = alive.iter().filter_map(|row| row.optional(0)).collect();
        if pids.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let recorded = session
            .run(&format!(
                "SELECT max(generation), nonce, host, process_id, started_at, pid, session_start FROM {} \
                 WHERE session_start IS NOT NULL AND pid IN ({}) GROUP BY nonce, host, process_id, started_at, pid, session_start",
                self.tables.sessions,
                pids.join(", ")
            ))?
            .rows;
        let ours = self.identity.as_ref().filter(|_| !with_ours).map(|(_, nonce)| nonce.as_str());
        let mut open = Vec::new();
        for row in recorded {
            let (nonce, pid, start) = (row.text(1)?, row.text(5)?, row.text(6)?);
            // The pid alone is not enough: pids are used again.
            let is_open =
                alive.iter().any(|a| a.optional(0).as_deref() == Some(pid) && a.optional(1).as_deref() == Some(start));
            if !is_open || Some(nonce) == ours {
                continue;
            }
            open.push(OpenSession {
                generation: row.maybe_number(0)?.map(Generation),
                nonce: nonce.into(),
                process: Process { host: row.text(2)?.into(), id: row.number(3)?, started_at: row.moment(4)? },
                pid: row.number(5)?,
                session_start: start.into(),
            });
        }
        Ok(Some(open))
    }

    /// Ends sessions of ours. One that has gone meanwhile, or whose pid is somebody else's by now, is left alone.
    pub(super) fn end_sessions(&self, session: &mut Session, sessions: &[OpenSession]) -> Result<()> {
        for old in sessions {
            let there = session.run(&format!(
                "SELECT 1 FROM stv_sessions WHERE process = {} AND starttime = {}::timestamp",
                old.pid,
                literal(&old.session_start)
            ))?;
            if !there.rows.is_empty() {
                session.run(&format!("SELECT pg_terminate_backend({})", old.pid))?;
            }
        }
        Ok(())
    }

    pub(super) fn read_digest(&self, session: &mut Session, epoch: Epoch) -> Result<Option<Digest>> {
        let rows = session.run(&format!("SELECT digest FROM {} WHERE epoch = {epoch}", self.tables.manifest))?.rows;
        match rows.as_slice() {
            [] => Ok(None),
            [row] => Ok(Some(Digest(row.text(0)?.into()))),
            _ => Ok(Some(Digest(format!("{} rows for one epoch", rows.len())))), // equals no digest: a contradiction
        }
    }
}
