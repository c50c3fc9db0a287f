//! Statements that wait for the fence.
//!
//! One that is not answered waits for the lock of another session, or in a queue of the workload management. In the queue nobody is in
//! the way, and to cancel the statement would only lose its place. So after [`FENCE_WAIT`], and then again and again, a second session
//! asks who holds the lock. Nobody: the statement waits on, as long as a statement may. Somebody of ours who is older than us: that
//! session is ended, and the statement goes through. The fence itself may have moved on meanwhile: then we are shut out. And where the
//! server knows of no statement at all, it was lost on the way.

use std::time::Duration;

use checkpoint::{
    Generation,
    protocol::{Holder, Outcome},
};

use super::{
    database::Redshift,
    session::{self, Answer, Session},
    text::literal,
};
use crate::{Error, Fault, LoadStep, OpenSession, Result, Took};

/// How long a statement on the fence waits for a rival before somebody asks whose session that is.
pub const FENCE_WAIT: Duration = Duration::from_secs(10);

/// Whether the server has the statement of a session, running or queued. Where that is not shown it is believed.
fn check_running(look: &mut Session, pid: i64) -> Result<()> {
    match look.run(&format!("SELECT 1 FROM stv_recents WHERE pid = {pid} AND status = 'Running'")) {
        Ok(answer) if answer.rows.is_empty() => {
            let what = format!("Redshift: session {pid} has no statement that runs: it was lost on the way");
            Err(Error::new(Fault::Outage, what))
        }
        Ok(_) => Ok(()),
        Err(error) if session::is_not_shown(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Who holds a lock on the fence, but for the session that waits for it.
enum InTheWay {
    Nobody,
    /// The sessions of these ids.
    Sessions(Vec<i64>),
    /// The warehouse does not show it.
    NotShown,
}

impl Redshift {
    /// Opens a transaction with a statement on the fence, which must be its first: a snapshot that is older than the wait would see a
    /// fence that has moved since. An outcome if a newer generation holds the fence.
    pub(super) fn begin_on_fence(
        &self,
        session: &mut Session,
        sql: &str,
        holder: &Holder,
        progress: &mut dyn FnMut(LoadStep),
    ) -> Result<Result<Answer, Outcome>> {
        session.limit(self.settings.statement_timeout)?;
        session.run("BEGIN")?;
        let (pid, mut newer, mut blocker) = (session.pid, None, None);
        let answer = session.run_patiently(sql, FENCE_WAIT, &mut || {
            let mut look = self.connect()?;
            let fence = self.read_fence(&mut look)?;
            if fence.generation > holder.generation {
                newer = Some(fence.generation);
                return Ok(false);
            }
            let among = match self.in_the_way(&mut look, pid)? {
                InTheWay::Nobody => {
                    blocker = None;
                    check_running(&mut look, pid)?;
                    progress(LoadStep::Queued);
                    return Ok(true);
                }
                InTheWay::Sessions(pids) => Some(pids),
                InTheWay::NotShown => None,
            };
            let ended = self.end_older(&mut look, holder.generation, pid, among.as_deref())?;
            blocker = among.filter(|_| ended == 0).and_then(|pids| pids.first().copied());
            Ok(true)
        });
        match (answer, newer, blocker) {
            (Ok(_), Some(by), _) => Ok(Err(Outcome::Fenced { by })),
            (Ok(Some(answer)), None, _) => Ok(Ok(answer)),
            (Ok(None), None, _) => Err(Error::bug("a statement that nobody waits for")),
            (Err(error), _, Some(pid)) => {
                let what = format!(
                    "{}: session {pid} holds the fence, and does not belong to this job; SELECT pg_terminate_backend({pid}) \
                     ends it",
                    error.what
                );
                Err(Error { what, ..error })
            }
            (Err(error), ..) => Err(error),
        }
    }

    /// Runs the statement that takes the fence and commits itself. If somebody holds the fence it is cancelled.
    pub(super) fn take_fence(
        &self,
        session: &mut Session,
        sql: &str,
        progress: &mut dyn FnMut(LoadStep),
    ) -> Result<Took> {
        session.limit(self.settings.statement_timeout)?;
        let pid = session.pid;
        let taken = session.run_patiently(sql, FENCE_WAIT, &mut || {
            let mut look = self.connect()?;
            match self.in_the_way(&mut look, pid)? {
                InTheWay::Nobody => {
                    check_running(&mut look, pid)?;
                    progress(LoadStep::Queued);
                }
                InTheWay::Sessions(_) | InTheWay::NotShown => {
                    look.run(&format!("SELECT pg_cancel_backend({pid})"))?;
                }
            }
            Ok(true)
        });
        match taken {
            Ok(Some(answer)) => match answer.count {
                0 => Ok(Took::No),
                1 => Ok(Took::Yes),
                rows => {
                    let what = format!("{} has {rows} rows instead of 1", self.tables.fence);
                    Err(Error::new(Fault::Corrupt, what))
                }
            },
            Ok(None) => Err(Error::bug("a statement that nobody waits for")),
            // Cancelled by us or by its limit, or not answered at all: whatever becomes of it, the row says whose it is.
            Err(error) if session::timed_out(&error) => Ok(Took::Held),
            // Somebody else moved the row while we waited for it.
            Err(error) if session::conflict(&error) => Ok(Took::No),
            // It commits itself, so what is lost on the way may have been done.
            Err(error) => Err(error.unknown()),
        }
    }

    fn in_the_way(&self, look: &mut Session, waits: i64) -> Result<InTheWay> {
        let (schema, table) = self.tables.fence_name();
        let held = look.run(&format!(
            "SELECT DISTINCT t.pid FROM svv_transactions t JOIN pg_class c ON c.oid = t.relation \
             JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = {} AND c.relname = {} AND t.granted \
             AND t.lock_mode <> 'AccessShareLock' AND t.pid <> {waits}",
            literal(schema),
            literal(&table)
        ));
        match held {
            Ok(answer) if answer.rows.is_empty() => Ok(InTheWay::Nobody),
            Ok(answer) => {
                Ok(InTheWay::Sessions(answer.rows.iter().map(|row| row.number(0)).collect::<Result<Vec<i64>>>()?))
            }
            Err(error) if session::is_not_shown(&error) => Ok(InTheWay::NotShown),
            Err(error) => Err(error),
        }
    }

    /// Ends sessions of this job that are not newer than us, but the one that waits: those of `among`, also our own that we have lost
    /// sight of; or, where nobody can say who is in the way, those of others. How many there were.
    fn end_older(
        &self,
        look: &mut Session,
        generation: Generation,
        waits: i64,
        among: Option<&[i64]>,
    ) -> Result<usize> {
        let open = self.open_sessions(look, among.is_some())?.unwrap_or_default();
        let is_old = |session: &OpenSession| session.generation.is_none_or(|g| g <= generation);
        let is_meant =
            |session: &OpenSession| session.pid != waits && among.is_none_or(|pids| pids.contains(&session.pid));
        let old: Vec<OpenSession> = open.into_iter().filter(|s| is_old(s) && is_meant(s)).collect();
        self.end_sessions(look, &old)?;
        Ok(old.len())
    }
}
