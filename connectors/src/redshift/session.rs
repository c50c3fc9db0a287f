//! One connection: a statement goes out, its rows come back as text, or an error that says whether it happened.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use checkpoint::Micros;
use tokio::{runtime::Handle, task::JoinHandle, time::timeout};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::{
    door,
    said::Said,
    settings::Settings,
    subject::{Subject, is_system},
    verdict,
};
use crate::{Error, Fault, Result, network};

/// What we wait beyond the server's own limit, which a server that is stopped does not keep.
const GRACE: Duration = Duration::from_secs(5);

/// Names in quotes keep their case, so that a table that was made so can be filled. Ours are in lower case and always in quotes.
/// <https://docs.aws.amazon.com/redshift/latest/dg/r_enable_case_sensitive_identifier.html>
const CASE: &str = "SET enable_case_sensitive_identifier TO true";
/// Times go out and come back in one form, whatever the settings of the user or the group are.
const AS_WE_READ_IT: [&str; 2] = ["SET timezone TO 'UTC'", "SET datestyle TO 'ISO, MDY'"];

/// An open connection. Dropping it closes the socket at once; what was open on it is rolled back by the server.
pub(super) struct Session {
    client: Client,
    connection: JoinHandle<()>,
    runtime: Handle,
    limit: Duration,
    /// The database and the user, for the rights that they lack.
    whose: (String, String),
    /// The server's id of it.
    pub(super) pid: i64,
    /// When the server says that it began; with the pid it names the session for ever.
    pub(super) started: Option<String>,
}

/// What a statement gave.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// The names of the columns.
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Row>,
    /// The number in the tag of INSERT, UPDATE and DELETE.
    pub(super) count: u64,
}

/// A row as text.
#[derive(Debug)]
pub(super) struct Row {
    values: Vec<Option<String>>,
    /// What was read.
    subject: Arc<Subject>,
}

impl Row {
    pub(super) fn optional(&self, column: usize) -> Option<String> {
        self.values.get(column).cloned().flatten()
    }

    /// All values, for a person.
    pub(super) fn shown(&self) -> Vec<String> {
        self.values.iter().map(|value| value.as_deref().unwrap_or("NULL").into()).collect()
    }

    pub(super) fn text(&self, column: usize) -> Result<&str> {
        let value = self.values.get(column).and_then(|v| v.as_deref());
        value.ok_or_else(|| self.corrupt(&format!("value {} is NULL", column + 1)))
    }

    pub(super) fn number<T: std::str::FromStr>(&self, column: usize) -> Result<T> {
        let text = self.text(column)?;
        text.parse().map_err(|_| self.corrupt(&format!("{text:?} is not a number")))
    }

    /// A moment in UTC, as the server shows it.
    pub(super) fn moment(&self, column: usize) -> Result<Micros> {
        let text = self.text(column)?;
        Micros::from_text(text).ok_or_else(|| self.corrupt(&format!("{text:?} is not a moment")))
    }

    pub(super) fn maybe_moment(&self, column: usize) -> Result<Option<Micros>> {
        if self.optional(column).is_none() { Ok(None) } else { self.moment(column).map(Some) }
    }

    fn corrupt(&self, what: &str) -> Error {
        let Subject { verb, object } = &*self.subject;
        // A view of the system is nobody's to mend.
        let fault = if is_system(object) { Fault::Strange } else { Fault::Corrupt };
        Error::new(fault, format!("Redshift {verb} {object}: {what}"))
    }

    pub(super) fn maybe_number<T: std::str::FromStr>(&self, column: usize) -> Result<Option<T>> {
        if self.optional(column).is_none() { Ok(None) } else { self.number(column).map(Some) }
    }
}

/// Our own deadline passed: the server did not answer at all.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
struct NoAnswer(Duration);

impl Session {
    pub(super) fn connect(settings: &Settings, runtime: &Handle) -> Result<Session> {
        let (client, connection) = runtime.block_on(door::open(settings))?;
        let (limit, whose) = (settings.connect_within, (settings.database.clone(), settings.user.clone()));
        let (connection, runtime) = (runtime.spawn(connection), runtime.clone());
        let mut session = Session { client, connection, runtime, limit, whose, pid: 0, started: None };
        session.limit(limit)?;
        for setting in AS_WE_READ_IT {
            session.run(setting)?;
        }
        match session.run(CASE) {
            // One that does not know the setting has no such names either.
            Err(error) if error.fault != Fault::Refused => return Err(error),
            _ => {}
        }
        session.pid = session.one_number("SELECT pg_backend_pid()")?;
        // On an endpoint that does not show sessions there is no row, or no such view: then a successor cannot end this one.
        let shown = session.run(&format!("SELECT starttime FROM stv_sessions WHERE process = {}", session.pid));
        session.started = match shown {
            Ok(answer) => answer.rows.first().and_then(|row| row.optional(0)),
            Err(error) if is_not_shown(&error) => None,
            Err(error) => return Err(error),
        };
        Ok(session)
    }

    pub(super) fn is_open(&self) -> bool {
        !self.client.is_closed()
    }

    /// Sets how long a statement may run from here on, for the server and for us.
    pub(super) fn limit(&mut self, limit: Duration) -> Result<()> {
        self.limit = limit.max(self.limit); // for the SET itself
        self.run(&format!("SET statement_timeout TO {}", limit.as_millis()))?;
        self.limit = limit;
        Ok(())
    }

    /// Runs one statement. The error of one that was sent says "did not happen", because that is so for all but COMMIT:
    /// whatever happened before COMMIT is undone with the session. Whoever sends COMMIT says otherwise.
    pub(super) fn run(&mut self, sql: &str) -> Result<Answer> {
        let answer = within(&self.runtime, self.limit + GRACE, self.client.simple_query(sql))
            .map_err(|limit| no_answer(sql, limit))?
            .map_err(|e| self.refused(sql, e))?;
        Ok(collect(answer, sql))
    }

    /// Runs a statement, and asks every so often whether it is to be waited for. `None` if not: then the session is of no further use.
    pub(super) fn run_patiently(
        &mut self,
        sql: &str,
        every: Duration,
        go_on: &mut dyn FnMut() -> Result<bool>,
    ) -> Result<Option<Answer>> {
        let (runtime, since) = (self.runtime.clone(), Instant::now());
        let mut answer = Box::pin(self.client.simple_query(sql));
        loop {
            match within(&runtime, every, &mut answer) {
                Ok(answer) => {
                    return answer.map(|answer| Some(collect(answer, sql))).map_err(|e| self.refused(sql, e));
                }
                Err(_) if since.elapsed() > self.limit + GRACE => return Err(no_answer(sql, since.elapsed())),
                Err(_) if go_on()? => {}
                Err(_) => return Ok(None),
            }
        }
    }

    /// An error of the driver in our words.
    fn refused(&self, sql: &str, error: tokio_postgres::Error) -> Error {
        let subject = Subject::of(sql);
        let what = |why: &dyn std::fmt::Display| format!("Redshift {}: {why}", subject.name());
        let Some(said) = error.as_db_error() else {
            // Anything else is the way to the server.
            let why = network::innermost(&error);
            return Error::new(Fault::Outage, what(&format!("the connection is lost: {why}"))).because(error);
        };
        let said = Said::of(said).with(sql);
        let fault = verdict::classify(&said.state, &said.message, &said.detail);
        let error = Error::new(fault, what(&said));
        let (database, user) = &self.whose;
        let grant = if said.state == "42501" {
            subject.clone().or_named(&said.message, sql).grant(&said.message, database, user)
        } else {
            None
        };
        let error = match grant {
            Some(grant) => error.remedy(grant),
            None => error,
        };
        error.because(said)
    }

    /// Whether this is still the session that was recorded. With a pooler between us each transaction may have another, and who ends the
    /// recorded one ends somebody else's.
    pub(super) fn check_pid(&mut self) -> Result<()> {
        let pid: i64 = self.one_number("SELECT pg_backend_pid() AS session")?;
        if pid == self.pid {
            return Ok(());
        }
        let what = format!(
            "Redshift: this transaction is in session {pid} and the connection began in session {}: a pooler stands between",
            self.pid
        );
        Err(Error::new(Fault::Mismatch, what)
            .remedy("let `redshift.host` and `redshift.port` be those of Redshift itself"))
    }

    pub(super) fn one_text(&mut self, sql: &str) -> Result<String> {
        let rows = self.run(sql)?.rows;
        let none = || Error::new(Fault::Strange, format!("Redshift {}: no row", Subject::of(sql).name()));
        let row = rows.first().ok_or_else(none)?;
        Ok(row.text(0)?.to_string())
    }

    pub(super) fn one_number<T: std::str::FromStr>(&mut self, sql: &str) -> Result<T> {
        let text = self.one_text(sql)?;
        let wrong = |_| {
            let what = format!("Redshift {}: {text:?} is not a number", Subject::of(sql).name());
            Error::new(Fault::Strange, what)
        };
        text.parse().map_err(wrong)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn collect(answer: Vec<SimpleQueryMessage>, sql: &str) -> Answer {
    let (mut result, mut statement) = (Answer::default(), None::<Arc<Subject>>);
    for message in answer {
        match message {
            SimpleQueryMessage::Row(row) => {
                let values = (0..row.len()).map(|i| row.get(i).map(String::from)).collect();
                let subject = statement.get_or_insert_with(|| Subject::of(sql).into()).clone();
                result.rows.push(Row { values, subject });
            }
            SimpleQueryMessage::RowDescription(columns) => {
                result.columns = columns.iter().map(|column| column.name().into()).collect();
            }
            SimpleQueryMessage::CommandComplete(count) => result.count = count,
            _ => {}
        }
    }
    result
}

/// Waits for an answer, and not for ever: then how long it waited.
fn within<T>(runtime: &Handle, limit: Duration, answer: impl Future<Output = T>) -> Result<T, Duration> {
    runtime.block_on(async { timeout(limit, answer).await }).map_err(|_| limit)
}

fn no_answer(sql: &str, waited: Duration) -> Error {
    let what = format!("Redshift {}: no answer within {} s", Subject::of(sql).name(), waited.as_secs());
    Error::new(Fault::Outage, what).because(NoAnswer(waited))
}

/// Whether a statement ended because it took too long: by the server's limit or by ours.
pub(super) fn timed_out(error: &Error) -> bool {
    error.source.as_ref().is_some_and(|source| source.is::<NoAnswer>()) || cancelled(error)
}

/// Whether the server does not show what was asked for.
pub(super) fn is_not_shown(error: &Error) -> bool {
    matches!(error.fault, Fault::Denied | Fault::Missing)
}

/// Whether another transaction was in the way, so that the same again may pass.
pub(super) fn conflict(error: &Error) -> bool {
    said(error).is_some_and(|said| verdict::is_conflict(&said.state, &said.message, &said.detail))
}

/// Whether a table is newer than the snapshot of the transaction that asked for it.
pub(super) fn newer_table(error: &Error) -> bool {
    said(error).is_some_and(|said| verdict::is_newer(&said.state, &said.message, &said.detail))
}

/// Whether the server ended a statement, for whatever reason.
pub(super) fn cancelled(error: &Error) -> bool {
    said(error).is_some_and(|said| said.state == "57014")
}

/// An error of COPY with whose it is: S3 may be away, or closed, for Redshift alone.
pub(super) fn of_copy(error: Error, from: &str, role: &str) -> Error {
    let Some(said) = said(&error) else { return error };
    let text = format!("{}\n{}", said.message, said.detail).to_lowercase();
    if text.contains("authorized to assume") {
        return error.remedy(format!("attach role {role} to the cluster, and let redshift.amazonaws.com assume it"));
    }
    if !verdict::is_of_s3(&said.message, &said.detail) {
        return error;
    }
    let place = from.rsplit_once('/').map_or(from, |(folder, _)| folder);
    let (bucket, _) = place.trim_start_matches("s3://").split_once('/').unwrap_or_default();
    let (why, remedy) = match error.fault {
        Fault::Outage => (
            "S3 does not answer Redshift",
            format!("look at S3, and at the way there from the VPC of Redshift, which reads {place}"),
        ),
        Fault::Denied => (
            "S3 refuses Redshift",
            format!(
                "allow s3:GetObject on arn:aws:s3:::{bucket}/* and s3:ListBucket on arn:aws:s3:::{bucket} to role {role}"
            ),
        ),
        Fault::Mismatch => (
            "S3 is in another region than Redshift",
            "let `staging.url` name a bucket in the region of Redshift, which COPY of Parquet needs".into(),
        ),
        _ => return error,
    };
    let what = format!("{why}: {}", error.what);
    Error { what, ..error }.remedy(remedy)
}

fn said(error: &Error) -> Option<&Said> {
    error.source.as_ref()?.downcast_ref::<Said>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error of COPY, as the server says it.
    fn copy(state: &str, message: &str, detail: &str) -> Error {
        let said = Said::new(state, message, detail);
        let fault = verdict::classify(state, message, detail);
        let error = Error::new(fault, format!("Redshift COPY public.t: {said}")).because(said);
        of_copy(error, "s3://b/staging/x/load/e=1.manifest", "arn:role")
    }

    #[test]
    fn s3_is_named_when_it_is_s3_that_fails_redshift() {
        let block = |code: u32, context: &str| format!("\n ---\n error: x\n code: {code}\n context: {context}\n ---\n");
        for (message, detail, fault, begins, remedy) in [
            ("S3 Query Exception (Fetch)", block(15001, "Task failed"), Fault::Outage, "S3 does not answer", "VPC"),
            (
                "S3ServiceException:Access Denied,Status 403,Error AccessDenied",
                block(8001, ""),
                Fault::Denied,
                "S3 refuses Redshift: Redshift COPY",
                "allow s3:GetObject on arn:aws:s3:::b/*",
            ),
            (
                "S3ServiceException:use another endpoint,Status 301,Error PermanentRedirect",
                block(8001, ""),
                Fault::Mismatch,
                "S3 is in another region",
                "`staging.url`",
            ),
            (
                "User u is not authorized to assume IAM Role r",
                String::new(),
                Fault::Denied,
                "Redshift COPY",
                "arn:role",
            ),
        ] {
            let error = copy("XX000", message, &detail);
            assert_eq!(error.fault, fault, "{error:?}");
            assert!(error.what.starts_with(begins), "{error:?}");
            assert!(error.remedy.as_ref().is_some_and(|said| said.contains(remedy)), "{error:?}");
        }
        let other = copy("XX000", "Spectrum Scan Error", &block(15007, "a column of file s3://b/k"));
        assert_eq!((other.fault, other.remedy.is_none()), (Fault::Refused, true), "{other:?}");
    }
}
