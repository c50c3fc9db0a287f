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
    /// The Kafka client, or the mock cluster in it.
    #[error("Kafka did not do what it was asked")]
    Kafka(#[source] rdkafka::error::KafkaError),
}

/// [`StackError`] unless said otherwise.
pub type Result<T, E = StackError> = std::result::Result<T, E>;

impl StackError {
    /// Says what was tried, for `map_err`.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> StackError {
        move |source| StackError::Io { doing: doing.into(), source }
    }
}

/// The last lines of a log file.
pub(crate) fn tail(log: &PathBuf) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
