//! What can go wrong when a part is started.

use std::{io, path::PathBuf};

/// Why a part of the stack could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// The operating system refused something.
    #[error("cannot {doing}")]
    Io {
        /// What was tried.
        doing: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A folder in which a server cannot live.
    #[error("{} {why}; {remedy}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        why: String,
        /// What to do about it.
        remedy: String,
    },
    /// A program that the part needs is not there.
    #[error("{program} was not found. {remedy}")]
    Missing {
        /// Its name.
        program: &'static str,
        /// What to install.
        remedy: &'static str,
    },
    /// A server ended, or did not answer in time.
    #[error("{server} did not start: {why}; its log: {log}")]
    NotStarted {
        /// Its name.
        server: &'static str,
        /// What was seen.
        why: String,
        /// The end of its log.
        log: String,
    },
    /// The database answered, and not as it should.
    #[error("the database could not be set up")]
    Database(#[from] tokio_postgres::Error),
    /// A session could not be opened from the command line.
    #[error(
        "no session for user {user} at {address}; `tidegate-stack up` says where one is, as REDSHIFT_HOST and REDSHIFT_PORT"
    )]
    NoSession {
        /// Where it was asked for.
        address: String,
        /// For whom.
        user: String,
        /// Why not.
        #[source]
        source: Cause,
    },
    /// A statement from the command line failed.
    #[error("statement {number} of {all} failed, after {} were done: {head}{}", number - 1, at_line(*.line))]
    Statement {
        /// Its number, from 1.
        number: usize,
        /// How many there are.
        all: usize,
        /// The line of the file that it begins in, from 1, if it is from a file.
        line: Option<usize>,
        /// Its first line.
        head: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// A line that was to become a record.
    #[error("line {number}: {why}; {sent} records were sent before it")]
    Line {
        /// Its number, from 1.
        number: u64,
        /// What is wrong with it.
        why: String,
        /// How many records are in the topic all the same.
        sent: u64,
    },
    /// The Kafka client, or the mock cluster in it.
    #[error("Kafka cannot {doing}")]
    Kafka {
        /// What was tried, and where.
        doing: String,
        /// Why not.
        #[source]
        source: rdkafka::error::KafkaError,
    },
}

fn at_line(line: Option<usize>) -> String {
    line.map_or(String::new(), |line| format!(" (line {line})"))
}

/// What an error of the client comes from: the answer of the server itself, where there is one.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The cause of a client's error.
pub(crate) fn cause(error: tokio_postgres::Error) -> Cause {
    match error.as_db_error() {
        Some(answer) => Box::new(answer.clone()),
        None => Box::new(error),
    }
}

/// [`StackError`] unless said otherwise.
pub type Result<T, E = StackError> = std::result::Result<T, E>;

impl StackError {
    /// Says what was tried, for `map_err`.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> StackError {
        move |source| StackError::Io { doing: doing.into(), source }
    }

    /// Says what Kafka was asked for, for `map_err`.
    pub(crate) fn kafka(doing: impl Into<String>) -> impl FnOnce(rdkafka::error::KafkaError) -> StackError {
        move |source| StackError::Kafka { doing: doing.into(), source }
    }
}

/// The last lines of a log file.
pub(crate) fn tail(log: &PathBuf) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
