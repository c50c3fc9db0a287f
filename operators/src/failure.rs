//! How an operator ends the process.
//!
//! A worker that fails cannot go on, and the others would wait for it for ever. So it leaves the reason here and panics;
//! the panic hook of the process takes the reason, prints it once and exits with its code. The first reason counts: what
//! fails afterwards fails because of it.

use std::sync::Mutex;

use checkpoint::{Generation, TopicPartition, protocol::Halt};

/// Why the process must end.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A record that cannot be loaded, and the job says to halt at those.
    #[error("{partition} at offset {offset}: {reason}{}", .column.as_ref().map_or(String::new(), |c| format!(" (column {c})")))]
    BadRecord {
        /// Its partition.
        partition: TopicPartition,
        /// Its offset.
        offset: i64,
        /// Where on its way it failed: decode, query or fit.
        stage: &'static str,
        /// The column, if it is one column's fault.
        column: Option<String>,
        /// What is wrong with it.
        reason: String,
    },
    /// So many records that cannot be loaded that the job says to halt.
    #[error(
        "{bad} of the last {seen} records cannot be loaded; the newest is {partition} at offset {offset}: {reason}{}",
        .column.as_ref().map_or(String::new(), |c| format!(" (column {c})"))
    )]
    TooManyBadRecords {
        /// How many cannot be loaded.
        bad: u64,
        /// How many records were looked at.
        seen: u64,
        /// The partition of one of them.
        partition: TopicPartition,
        /// Its offset.
        offset: i64,
        /// Where on its way it failed.
        stage: &'static str,
        /// The column, if it is one column's fault.
        column: Option<String>,
        /// What is wrong with it.
        reason: String,
    },
    /// Another system failed for too long, or refused.
    #[error("{doing}")]
    Port {
        /// What was being done.
        doing: String,
        /// What the port said.
        #[source]
        source: connectors::Error,
    },
    /// A load was refused, and the target is not what it was.
    #[error("{what}")]
    TablesChanged {
        /// Which targets, and how.
        what: String,
        /// What the warehouse said of the load.
        #[source]
        source: connectors::Error,
    },
    /// A newer start of the job holds the fence.
    #[error("generation {by} of this job holds the fence: another process has taken over")]
    Fenced {
        /// Its generation.
        by: Generation,
    },
    /// Nothing comes through the engine from another process of the cluster.
    #[error("nothing came through the engine from process {process} for {:.1} s", .silent.as_secs_f64())]
    PeerLost {
        /// Its number.
        process: usize,
        /// How long it was silent.
        silent: std::time::Duration,
    },
    /// What the job promises can no longer be kept.
    #[error("the job must not go on")]
    Halt(#[from] Halt),
    /// A state that the code excludes.
    #[error("bug: {0}")]
    Bug(String),
}

static FIRST: Mutex<Option<Failure>> = Mutex::new(None);

/// Leaves the reason and panics. For operators, which have nobody to return an error to.
pub fn fail(failure: Failure) -> ! {
    let text = failure.to_string();
    if let Ok(mut first) = FIRST.lock() {
        first.get_or_insert(failure);
    }
    panic!("{text}")
}

/// The reason of the first failure, for the panic hook. `None` if the panic had none: a bug.
pub fn take() -> Option<Failure> {
    FIRST.lock().ok().and_then(|mut first| first.take())
}
