//! Redshift: fence, manifest and loads over the PostgreSQL protocol.
//!
//! One statement a message, always the simple protocol: results come as text (Redshift's binary numbers are not
//! PostgreSQL's), and a Parquet COPY is safe in it. Every wait has a deadline of ours, because a server that is stopped
//! answers keep-alives and nothing else.
//!
//! [`session`] is a connection, [`verdict`] says what its errors mean, [`tables`] has the text of the control tables, [`snapshot`]
//! reads them, and this file is the protocol: which statements in which order. What their answers mean is decided by
//! `checkpoint::protocol`. [`fence`] waits for the fence.

pub mod dead_letters;
pub mod epochs;
mod fence;
mod fold;
mod probe;
mod session;
mod snapshot;
mod tables;
mod text;
mod verdict;
pub mod verify;

use std::time::{Duration, Instant};

use checkpoint::{
    Digest, Epoch, Generation, Link, Micros, Nonce,
    protocol::{self, Fence, Halt, Holder, Outcome, Range, TableFacts},
};

use crate::{
    ColumnKind, CopyFrom, Error, Fault, Fold, Folded, HaltNote, Happened, Load, LoadStep, OpenSession, Process, Result,
    TableName, TargetColumn, Took, Trust, Warehouse,
    retry::{Policy, Retry},
};
use session::Session;
pub use session::{Settings, Tls};
use tables::Tables;
use text::{literal, name};

/// How long a statement on the fence waits for a rival before somebody asks whose session that is.
pub const FENCE_WAIT: Duration = Duration::from_secs(10);
/// How tables are made while others make the same.
const RIVAL_INITS: Policy = Policy {
    first: Duration::from_millis(50),
    longest: Duration::from_secs(1),
    within: Duration::from_secs(30),
    attempts: 20,
};
/// Rows in one INSERT: far below the 16 MB that a statement may have.
const ROWS_PER_INSERT: usize = 500;
/// Bytes of a plan in one row.
const PLAN_PART_BYTES: usize = 60_000;

/// A Redshift database and the control tables of one job in it.
pub struct Redshift {
    settings: Settings,
    tables: Tables,
    runtime: tokio::runtime::Runtime,
    session: Option<Session>,
    /// Who we are, once we have a nonce; every session records it before it touches the fence.
    /// One for the questions about tables that a start asks, hundreds of them where there are as many targets.
    catalog: Option<Session>,
    identity: Option<(Process, Nonce)>,
    generation: Option<Generation>,
    /// Whether a login was taken before.
    logins: Trust,
    /// Whether a load was possible before.
    loads: Trust,
}

impl Redshift {
    /// No connection is made yet. `schema` is where the control tables of `job` live.
    pub fn new(settings: Settings, schema: &str, job: &str) -> Result<Redshift> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("redshift")
            .enable_all()
            .build()
            .map_err(|e| Error::bug("cannot start the Redshift client").because(e))?;
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

    fn connect(&self) -> Result<Session> {
        self.logins.judge(Session::connect(&self.settings, self.runtime.handle()))
    }

    /// For questions whose answer may take longer than a login.
    fn connect_to_read(&self) -> Result<Session> {
        let mut session = self.connect()?;
        session.limit(self.settings.statement_timeout)?;
        Ok(session)
    }

    /// Runs `act` on the open session, or on a new one that has recorded itself. After an error the session is thrown
    /// away: what it had open is rolled back, and nobody knows what state it is in.
    fn on_session<T>(&mut self, act: impl FnOnce(&mut Redshift, &mut Session) -> Result<T>) -> Result<T> {
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

    /// Runs `ask` on the session for questions, which it opens if there is none.
    fn on_catalog<T>(&mut self, ask: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
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
    fn record_session(&self, session: &mut Session) -> Result<()> {
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
    fn open_sessions(&self, session: &mut Session, with_ours: bool) -> Result<Option<Vec<OpenSession>>> {
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
    fn end_sessions(&self, session: &mut Session, sessions: &[OpenSession]) -> Result<()> {
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

    fn read_digest(&self, session: &mut Session, epoch: Epoch) -> Result<Option<Digest>> {
        let rows = session.run(&format!("SELECT digest FROM {} WHERE epoch = {epoch}", self.tables.manifest))?.rows;
        match rows.as_slice() {
            [] => Ok(None),
            [row] => Ok(Some(Digest(row.text(0)?.into()))),
            _ => Ok(Some(Digest(format!("{} rows for one epoch", rows.len())))), // equals no digest: a contradiction
        }
    }

    /// The rows of the control tables for these epochs.
    fn insert(&self, session: &mut Session, holder: &Holder, links: &[Link]) -> Result<()> {
        let (mut manifest, mut rows, mut offsets, mut cuts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for link in links {
            let epoch = link.record.epoch;
            manifest.push(tables::manifest_row(link, holder));
            rows.extend(link.record.counts.iter().map(|(target, counts)| tables::counts_row(epoch, target, counts)));
            offsets.extend(link.record.spans.iter().map(|span| tables::offsets_row(epoch, span)));
            let cut = link.full_cut.iter().flat_map(|cut| cut.iter());
            cuts.extend(cut.map(|(partition, position)| tables::cuts_row(epoch, partition, position)));
        }
        for (table, columns, values) in [
            (&self.tables.manifest, tables::MANIFEST_COLUMNS, manifest),
            (&self.tables.rows, &tables::rows_columns(), rows),
            (&self.tables.offsets, tables::OFFSETS_COLUMNS, offsets),
            (&self.tables.cuts, tables::CUTS_COLUMNS, cuts),
        ] {
            for chunk in values.chunks(ROWS_PER_INSERT) {
                session.run(&format!("INSERT INTO {table} ({columns}) VALUES {}", chunk.join(", ")))?;
            }
        }
        Ok(())
    }

    /// The statements of a load, from BEGIN to the read-back.
    fn try_load(&mut self, session: &mut Session, load: &Load, progress: &mut dyn FnMut(LoadStep)) -> Result<Outcome> {
        let (holder, range) = (&load.holder, &load.range);
        // Fence, idempotence check and lock in one.
        let Some(last) = load.links.last() else { return Err(Error::bug("a load of no epoch")) };
        let full = load.links.iter().rev().find(|link| link.full_cut.is_some());
        let cut_epoch = full.map_or(String::new(), |link| format!(", cut_epoch = {}", link.record.epoch));
        let adopt = load.adopt.as_ref().map_or(String::new(), |a| {
            format!(", fence_id = {}, namespace = {}", literal(&a.fence_id), literal(&a.namespace))
        });
        let sql = format!(
            "UPDATE {} SET next_epoch = {}, digest = {}, cut_digest = {}{cut_epoch}{adopt}, changed_at = sysdate \
             WHERE generation = {} AND nonce = {} AND next_epoch = {}",
            self.tables.fence,
            range.last.next(),
            literal(&range.digest.0),
            literal(&last.cut_digest.0),
            holder.generation,
            literal(holder.nonce.as_str()),
            range.first
        );
        let moved = match self.begin_on_fence(session, &sql, holder, progress)? {
            Ok(moved) => moved,
            Err(outcome) => return Ok(outcome),
        };
        session.check_pid()?;
        if moved.count != 1 {
            session.run("ROLLBACK")?;
            // After a barrier, as below: what is read then is not older than whoever has refused us.
            return Ok(match self.after_barrier(session, holder, range)? {
                Ok((_, fence, loaded)) => protocol::after_refusal(holder, range, &fence, loaded.as_ref()),
                Err(outcome) => outcome,
            });
        }
        progress(LoadStep::Fenced);
        for copy in &load.copies {
            if let Err(halt) = self.copy(session, copy)? {
                session.run("ROLLBACK")?;
                return Ok(Outcome::Halt(halt));
            }
        }
        progress(LoadStep::Copied);
        self.insert(session, holder, &load.links)?;
        // Fails if the transaction is aborted: COMMIT alone would answer "done" to a transaction that was rolled back.
        session.run(&format!("SELECT next_epoch FROM {}", self.tables.fence))?;
        progress(LoadStep::Written);
        session.run("COMMIT").map_err(Error::unknown)?;
        progress(LoadStep::Committed);
        // I13: only an independent read proves it.
        match self.read_digest(session, range.last).map_err(Error::unknown)? {
            Some(digest) if digest == range.digest => Ok(Outcome::Committed),
            _ => Err(Error::bug("COMMIT was answered and the manifest row is not there").unknown()),
        }
    }

    fn copy(&self, session: &mut Session, copy: &CopyFrom) -> Result<Result<(), Halt>> {
        self.copy_into(session, &format!("{}.{}", name(&copy.table.schema), name(&copy.table.table)), copy)
    }

    fn copy_into(&self, session: &mut Session, table: &str, copy: &CopyFrom) -> Result<Result<(), Halt>> {
        let before: i64 = session.one_number("SELECT pg_last_copy_id()")?;
        let columns: Vec<String> = copy.columns.iter().map(|c| name(c)).collect();
        let since = Instant::now();
        let copied = session.run(&format!(
            "COPY {table} ({}) FROM {} IAM_ROLE {} FORMAT AS PARQUET MANIFEST",
            columns.join(", "),
            literal(&copy.manifest_url),
            literal(&self.settings.iam_role)
        ));
        // Somebody else may cancel it as well; then it did not run so long.
        let outlasted = |e: &Error| session::cancelled(e) && since.elapsed() >= self.settings.statement_timeout;
        copied.map_err(|e| match outlasted(&e) {
            true => {
                let limit_s = self.settings.statement_timeout.as_secs();
                let what = format!(
                    "{}: it ran for {limit_s} s, which is `redshift.statement_timeout`; a longer one helps, or a shorter \
                     `epoch.interval`",
                    e.what
                );
                Error { fault: Fault::TooLong, what, ..e }
            }
            false => e,
        })?;
        let rows = session.run("SELECT pg_last_copy_id(), pg_last_copy_count()")?.rows;
        let Some(row) = rows.first() else { return Err(Error::bug("a function without a row")) };
        Ok(protocol::check_copy(&copy.target, before, row.number(0)?, row.number(1)?, &copy.counts))
    }

    /// Whether all tables of a load are there.
    fn check_tables(&mut self, load: &Load) -> Result<()> {
        for copy in &load.copies {
            if self.columns(&copy.table)?.is_none() {
                return Err(Error::new(Fault::Missing, format!("there is no table {} any more", copy.table)));
            }
        }
        self.catalog = None;
        Ok(())
    }

    fn try_resolve(&mut self, session: &mut Session, holder: &Holder, range: &Range) -> Result<Outcome> {
        Ok(match self.after_barrier(session, holder, range)? {
            Ok((rows, fence, loaded)) => protocol::after_barrier(holder, range, rows, &fence, loaded.as_ref()),
            Err(outcome) => outcome,
        })
    }

    /// How many rows the barrier touched, the fence, and the digest of the newest epoch of the range, if it is in.
    fn after_barrier(&self, session: &mut Session, holder: &Holder, range: &Range) -> Result<Result<Behind, Outcome>> {
        // Waits for whoever holds the fence, and changes nothing.
        let sql = format!("UPDATE {} SET nonce = nonce WHERE generation = {}", self.tables.fence, holder.generation);
        let barrier = match self.begin_on_fence(session, &sql, holder, &mut |_| {})? {
            Ok(barrier) => barrier,
            Err(outcome) => return Ok(Err(outcome)),
        };
        let fence = self.read_fence(session)?;
        let loaded = self.read_digest(session, range.last)?;
        session.run("ROLLBACK")?;
        Ok(Ok((barrier.count, fence, loaded)))
    }
}

/// What is seen after the barrier.
type Behind = (u64, Fence, Option<Digest>);

impl Warehouse for Redshift {
    fn init(&mut self, fence_id: &str) -> Result<Vec<String>> {
        let mut retry = Retry::new(RIVAL_INITS);
        loop {
            let mut session = self.connect()?;
            session.limit(self.settings.statement_timeout)?;
            match self.tables.make(&mut session, fence_id) {
                // A rival made them at the same time: once it is done all are there.
                Err(e) if e.happened == Happened::No && tables::rival_made_it(&e) => {
                    if !retry.rest() {
                        return Err(e);
                    }
                }
                other => return other,
            }
        }
    }

    fn read(&mut self) -> Result<TableFacts> {
        if self.identity.is_some() {
            return self.on_session(|this, session| this.snapshot(session));
        }
        self.snapshot(&mut self.connect()?)
    }

    fn adopted(&mut self) -> Result<Vec<String>> {
        let sql = format!("SELECT adopted FROM {} WHERE adopted IS NOT NULL ORDER BY epoch", self.tables.manifest);
        let rows = self.connect()?.run(&sql)?.rows;
        Ok(rows
            .iter()
            .flat_map(|row| row.optional(0))
            .flat_map(|ids| ids.split(',').map(String::from).collect::<Vec<_>>())
            .collect())
    }

    fn record(&mut self, process: &Process, nonce: &Nonce) -> Result<()> {
        (self.identity, self.generation, self.session) = (Some((process.clone(), nonce.clone())), None, None);
        self.on_session(|_, _| Ok(()))
    }

    fn take(&mut self, from: Generation, progress: &mut dyn FnMut(LoadStep)) -> Result<Took> {
        let Some((_, nonce)) = self.identity.clone() else { return Err(Error::bug("a fence taken by nobody")) };
        self.on_session(|this, session| {
            let sql = format!(
                "UPDATE {} SET generation = {}, nonce = {}, changed_at = sysdate WHERE generation = {from}",
                this.tables.fence,
                from.next(),
                literal(nonce.as_str()),
            );
            this.take_fence(session, &sql, progress)
        })
    }

    fn hold(&mut self, holder: &Holder) -> Result<()> {
        self.generation = Some(holder.generation);
        self.on_session(|this, session| this.record_session(session))
    }

    fn sessions(&mut self) -> Result<Option<Vec<OpenSession>>> {
        self.open_sessions(&mut self.connect()?, false)
    }

    fn end(&mut self, sessions: &[OpenSession]) -> Result<()> {
        self.end_sessions(&mut self.connect()?, sessions)
    }

    fn columns(&mut self, table: &TableName) -> Result<Option<Vec<TargetColumn>>> {
        self.on_catalog(|session| columns_of(session, table))
    }

    fn rehearse(&mut self, tables: &[TableName], copy: &CopyFrom) -> Result<()> {
        let targets: Vec<String> = tables.iter().map(|table| table.to_string()).collect();
        let targets = targets.iter().map(|table| (table.as_str(), "insert"));
        let needed: Vec<(String, &str)> =
            targets.chain(self.tables.written()).map(|(table, right)| (table.to_string(), right)).collect();
        for (table, right) in needed {
            if !self.on_catalog(|session| Redshift::may(session, &table, right))? {
                let what = format!("user {} may not {right} {table}", self.settings.user);
                return Err(Error::new(Fault::Denied, what));
            }
        }
        // Nobody asks any more, and what follows may wait for long.
        self.catalog = None;
        self.try_copy(copy)?;
        self.loads.earned();
        Ok(())
    }

    fn load(&mut self, load: &Load, progress: &mut dyn FnMut(LoadStep)) -> Result<Outcome> {
        let is_newer = |result: &Result<Outcome>| {
            result.as_ref().err().is_some_and(|e| e.happened == Happened::No && session::newer_table(e))
        };
        let mut result = self.on_session(|this, session| this.try_load(session, load, progress));
        // A table was made anew after our snapshot: the next one has it. If it has not, the catalog says why.
        if is_newer(&result) {
            result = self.on_session(|this, session| this.try_load(session, load, progress));
            if is_newer(&result) {
                self.check_tables(load)?;
            }
        }
        self.loads.judge(result)
    }

    fn resolve(&mut self, holder: &Holder, range: &Range) -> Result<Outcome> {
        self.session = None;
        let result = self.on_session(|this, session| this.try_resolve(session, holder, range));
        self.loads.judge(result)
    }

    fn fold(&mut self, fold: &Fold) -> Result<Option<Folded>> {
        let folded = self.on_session(|this, session| this.try_fold(session, fold));
        // What it says of a COMMIT that was not answered does not matter: whoever folds next sees it.
        folded.map_err(|error| Error { happened: Happened::No, ..error })
    }

    fn forget_sessions(&mut self, before: Micros) -> Result<u64> {
        self.on_session(|this, session| this.try_forget_sessions(session, before))
    }

    fn keep_plan(&mut self, hash: &str, text: &str) -> Result<()> {
        let plans = self.tables.plans.clone();
        self.on_session(|_, session| {
            let hash = literal(hash);
            if !session.run(&format!("SELECT 1 FROM {plans} WHERE hash = {hash} LIMIT 1"))?.rows.is_empty() {
                return Ok(());
            }
            let (mut rest, mut rows) = (text, Vec::new());
            while !rest.is_empty() {
                let (part, after) = rest.split_at(rest.floor_char_boundary(PLAN_PART_BYTES));
                rows.push(format!("({hash}, {}, {})", rows.len(), literal(part)));
                rest = after;
            }
            session.run(&format!("INSERT INTO {plans} (hash, part, text) VALUES {}", rows.join(", ")))?;
            Ok(())
        })
    }

    fn note_halt(&mut self, note: &HaltNote) -> Result<()> {
        let mut session = self.connect()?;
        session.run(&format!(
            "INSERT INTO {} (generation, host, process_id, code, reason, since) VALUES {}",
            self.tables.halts,
            tables::halts_row(note)
        ))?;
        Ok(())
    }
}

/// The columns of a table, as the catalog has them; `None` where there is no table, or our user may not see it.
fn columns_of(session: &mut Session, table: &TableName) -> Result<Option<Vec<TargetColumn>>> {
    let rows = session
        .run(&format!(
            "SELECT column_name, data_type, character_maximum_length, is_nullable, column_default, numeric_precision, \
             numeric_scale FROM svv_columns WHERE table_schema = {} AND table_name = {} ORDER BY ordinal_position",
            literal(&table.schema),
            literal(&table.table)
        ))?
        .rows;
    let columns = rows.iter().map(|row| {
        let name = row.text(1)?;
        let numbers: Vec<String> = match name {
            "numeric" => [row.optional(5), row.optional(6)].into_iter().flatten().collect(),
            "character" | "character varying" | "binary varying" => row.optional(2).into_iter().collect(),
            _ => Vec::new(),
        };
        let spelled = if numbers.is_empty() { name.into() } else { format!("{name}({})", numbers.join(",")) };
        let kind = ColumnKind::parse(&spelled).unwrap_or_else(|_| ColumnKind::Other(name.into()));
        Ok(TargetColumn {
            name: row.text(0)?.into(),
            kind,
            not_null: row.text(3)?.eq_ignore_ascii_case("no"),
            has_default: row.optional(4).is_some(),
        })
    });
    let columns: Vec<TargetColumn> = columns.collect::<Result<_>>()?;
    Ok((!columns.is_empty()).then_some(columns))
}
