//! One connection: a statement goes out, its rows come back as text, or an error that says whether it happened.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use checkpoint::Micros;
use openssl::ssl::{SslConnector, SslMethod};
use postgres_openssl::MakeTlsConnector;
use tokio::{runtime::Handle, task::JoinHandle, time::timeout};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage, config::SslMode};

use super::verdict;
use crate::{Error, Fault, Result, Secret};

/// Where the database is and who asks.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Host name or address.
    pub host: String,
    /// Port, 5439 on the real one.
    pub port: u16,
    /// Database.
    pub database: String,
    /// User.
    pub user: String,
    /// Their password, read for each session.
    pub password: Secret,
    /// The role that COPY assumes to read from S3.
    pub iam_role: String,
    /// Encryption.
    pub tls: Tls,
    /// The longest a statement of a load may run.
    pub statement_timeout: Duration,
    /// Name of the job, as the database shows it.
    pub application_name: String,
}

/// Encryption of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Certificate and host name are verified, against the system's authorities or those of a file in PEM form.
    VerifyFull {
        /// The file.
        ca_file: Option<String>,
    },
    /// None. For loopback and tunnels.
    Off,
}

const CONNECT_WITHIN: Duration = Duration::from_secs(15);
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
    /// The beginning of the statement that gave it.
    sql: Arc<str>,
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
        Error::new(Fault::Corrupt, format!("{what}, in a row of the control tables: {}", self.sql))
    }

    pub(super) fn maybe_number<T: std::str::FromStr>(&self, column: usize) -> Result<Option<T>> {
        if self.optional(column).is_none() { Ok(None) } else { self.number(column).map(Some) }
    }
}

/// Our own deadline passed: the server did not answer at all.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
struct NoAnswer(Duration);

/// What the server said, in one line.
#[derive(Debug, thiserror::Error)]
#[error("{state}: {text}")]
struct Said {
    state: String,
    text: String,
}

impl Session {
    pub(super) fn connect(settings: &Settings, runtime: &Handle) -> Result<Session> {
        let mut config = tokio_postgres::Config::new();
        config
            .host(&settings.host)
            .port(settings.port)
            .dbname(&settings.database)
            .user(&settings.user)
            .password(settings.password.read()?)
            .application_name(&settings.application_name)
            .connect_timeout(CONNECT_WITHIN)
            .keepalives_idle(Duration::from_secs(30))
            .keepalives_interval(Duration::from_secs(10))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(60));
        let place = format!("{}:{}", settings.host, settings.port);
        let failed = |e: tokio_postgres::Error| refused(format!("cannot connect to Redshift at {place}"), e);
        let (client, connection) = match &settings.tls {
            Tls::Off => {
                config.ssl_mode(SslMode::Disable);
                let (client, connection) = within(runtime, CONNECT_WITHIN, config.connect(NoTls))?.map_err(failed)?;
                // Its error reaches whoever waits for an answer as well.
                (client, runtime.spawn(async move { drop(connection.await) }))
            }
            Tls::VerifyFull { ca_file } => {
                config.ssl_mode(SslMode::Require);
                let tls = connector(ca_file.as_deref())?;
                let (client, connection) = within(runtime, CONNECT_WITHIN, config.connect(tls))?.map_err(failed)?;
                (client, runtime.spawn(async move { drop(connection.await) }))
            }
        };
        let mut session =
            Session { client, connection, runtime: runtime.clone(), limit: CONNECT_WITHIN, pid: 0, started: None };
        session.limit(CONNECT_WITHIN)?;
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
        let what = || format!("Redshift: {}", short(sql));
        let answer = within(&self.runtime, self.limit + GRACE, self.client.simple_query(sql))
            .map_err(|e| Error { what: what(), ..e })?
            .map_err(|e| refused(what(), e))?;
        Ok(collect(answer, sql))
    }

    /// Runs a statement, and asks every so often whether it is to be waited for. `None` if not: then the session is of no further use.
    pub(super) fn run_patiently(
        &mut self,
        sql: &str,
        every: Duration,
        go_on: &mut dyn FnMut() -> Result<bool>,
    ) -> Result<Option<Answer>> {
        let what = || format!("Redshift: {}", short(sql));
        let (runtime, since) = (self.runtime.clone(), Instant::now());
        let mut answer = Box::pin(self.client.simple_query(sql));
        loop {
            match within(&runtime, every, &mut answer) {
                Ok(answer) => return answer.map(|answer| Some(collect(answer, sql))).map_err(|e| refused(what(), e)),
                Err(error) if since.elapsed() > self.limit + GRACE => return Err(Error { what: what(), ..error }),
                Err(_) if go_on()? => {}
                Err(_) => return Ok(None),
            }
        }
    }

    /// Whether this is still the session that was recorded. With a pooler between us each transaction may have another, and who ends the
    /// recorded one ends somebody else's.
    pub(super) fn check_pid(&mut self) -> Result<()> {
        let pid: i64 = self.one_number("SELECT pg_backend_pid() AS session")?;
        if pid == self.pid {
            return Ok(());
        }
        let what = format!(
            "this transaction is in session {pid} of Redshift and the connection began in session {}: a pooler stands between; \
             let the job connect to Redshift itself",
            self.pid
        );
        Err(Error::new(Fault::Refused, what))
    }

    pub(super) fn one_text(&mut self, sql: &str) -> Result<String> {
        let rows = self.run(sql)?.rows;
        let row = rows.first().ok_or_else(|| Error::new(Fault::Refused, format!("no row for {}", short(sql))))?;
        Ok(row.text(0)?.to_string())
    }

    pub(super) fn one_number<T: std::str::FromStr>(&mut self, sql: &str) -> Result<T> {
        let text = self.one_text(sql)?;
        text.parse().map_err(|_| Error::new(Fault::Refused, format!("{text:?} for {} is not a number", short(sql))))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn collect(answer: Vec<SimpleQueryMessage>, sql: &str) -> Answer {
    let (mut result, mut statement) = (Answer::default(), None::<Arc<str>>);
    for message in answer {
        match message {
            SimpleQueryMessage::Row(row) => {
                let values = (0..row.len()).map(|i| row.get(i).map(String::from)).collect();
                let sql = statement.get_or_insert_with(|| short(sql).into()).clone();
                result.rows.push(Row { values, sql });
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

/// Waits for an answer, and not for ever.
fn within<T>(runtime: &Handle, limit: Duration, answer: impl Future<Output = T>) -> Result<T> {
    let waited = runtime.block_on(async { timeout(limit, answer).await });
    waited.map_err(|_| Error::new(Fault::Outage, "Redshift").because(NoAnswer(limit)))
}

/// A statement for a message: its beginning, on one line.
fn short(sql: &str) -> String {
    let line = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(120) {
        Some((end, _)) => format!("{} ...", &line[..end]),
        None => line,
    }
}

fn connector(ca_file: Option<&str>) -> Result<MakeTlsConnector> {
    let refused = |what: &str, e: openssl::error::ErrorStack| Error::new(Fault::Refused, what.to_string()).because(e);
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(|e| refused("cannot set up TLS", e))?;
    if let Some(file) = ca_file {
        builder.set_ca_file(file).map_err(|e| refused(&format!("cannot read the certificates in {file}"), e))?;
    }
    Ok(MakeTlsConnector::new(builder.build()))
}

/// An error of the driver in our words.
fn refused(what: String, error: tokio_postgres::Error) -> Error {
    let Some(said) = error.as_db_error() else {
        // TLS and passwords are decided before a session exists; anything else is the way to the server.
        let text = std::error::Error::source(&error).map(|e| e.to_string()).unwrap_or_default();
        let fault = if text.contains("certificate") { Fault::Denied } else { Fault::Outage };
        return Error::new(fault, what).because(error);
    };
    let (state, message, detail) = (said.code().code(), said.message(), said.detail().unwrap_or_default());
    let fault = verdict::classify(state, message, detail);
    // The detail block tells which column of which file; its frame of dashes tells nothing.
    let detail: Vec<&str> = detail.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with("---")).collect();
    let text = if detail.is_empty() { message.to_string() } else { format!("{message} ({})", detail.join("; ")) };
    Error::new(fault, what).because(Said { state: state.into(), text })
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
    said(error).is_some_and(|said| verdict::is_conflict(&said.state, &said.text, ""))
}

/// Whether a table is newer than the snapshot of the transaction that asked for it.
pub(super) fn newer_table(error: &Error) -> bool {
    said(error).is_some_and(|said| verdict::is_newer(&said.state, &said.text, ""))
}

/// Whether the server ended a statement, for whatever reason.
pub(super) fn cancelled(error: &Error) -> bool {
    said(error).is_some_and(|said| said.state == "57014")
}

fn said(error: &Error) -> Option<&Said> {
    error.source.as_ref()?.downcast_ref::<Said>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_in_a_message_is_short() {
        assert_eq!(short("SELECT\n   1"), "SELECT 1");
        assert_eq!(short(&"é".repeat(200)), format!("{} ...", "é".repeat(120)));
    }
}
