//! What operators tell each other beside the rows: the clock fetch, fetch the clock, and all of them seal.

use checkpoint::{Fates, Span, Tally};
use serde::{Deserialize, Serialize};

use crate::{ending::Ending, reasons::Reasons};

/// How many epochs may be closed and not loaded.
pub const OPEN_EPOCHS_MAX: u64 = 64;

/// What the clock tells the fetch operators: the open epoch ends where each partition stands now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    /// The epoch.
    pub epoch: u64,
    /// Its time, in microseconds since 1970.
    pub closed_at: i64,
    /// It is the last one: read no more.
    pub last: bool,
    /// Why the job ends by itself, if it does.
    pub ending: Option<Ending>,
}

/// What a worker tells the clock, at the epoch that is open for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stat {
    /// The worker's number.
    pub worker: usize,
    /// Records since the last one.
    pub rows: u64,
    /// How far its partitions moved since the last one.
    pub offsets: u64,
    /// Bytes since the last one.
    pub bytes: u64,
    /// Whether any position moved.
    pub moved: bool,
    /// Whether the open epoch alone has used up the budget.
    pub full: bool,
    /// Whether every partition has been read as far as it is to be.
    pub reached: bool,
    /// Why it cannot read on.
    pub ending: Option<Ending>,
}

/// What a worker read in an epoch: the spans of all its partitions, moved or not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReadReport {
    /// As the clock decided, in microseconds since 1970.
    pub closed_at: i64,
    /// It is the last epoch of this run, closed whether anything moved or not.
    pub last: bool,
    /// One for each of its partitions.
    pub spans: Vec<Span>,
    /// The records that left, by the number of their stream.
    pub read: Vec<(usize, Tally)>,
}

/// A file on S3 that belongs to an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedFile {
    /// The target's number.
    pub target: usize,
    /// Its key below the staging prefix.
    pub key: String,
    /// Its exact size.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// The records that they are of. They go with the file until it is sealed: that is how "taken" is counted, so a file that is
    /// lost on the way is seen, and one that is lost while another of its size comes twice.
    pub records: Tally,
}

/// Whose records met a fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Of {
    /// Records of a stream, by number: for all targets that read it.
    Stream(usize),
    /// Records of a target, by number.
    Target(usize),
}

/// What a worker has for an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Piece {
    /// A file.
    File(StagedFile),
    /// What one operator made of records that are in no file.
    Fates {
        /// Whose they are.
        of: Of,
        /// The fates.
        fates: Fates,
    },
    /// Why one operator rejected records.
    Reasons {
        /// Whose they are.
        of: Of,
        /// The reasons.
        reasons: Reasons,
    },
}
