//! What a target's table asks for, from checked values to a committed transaction.
//!
//! ```text
//!   every worker, for each target:  fit -> encode -> upload --+
//!                                                             |  files, at their epoch
//!   every worker:  decode, query, fit -- fates -----------------+
//!                                                             |
//!   every worker:  fetch -- spans, what was read ---+         |
//!                                                   v         v
//!   worker 0:                                      seal ------+--> load --> loaded epochs, back to fetch and clock
//! ```
//!
//! An epoch is sealed when the frontier of both inputs of seal has passed it: then every worker's files, fates and
//! spans of it are there, because each operator above holds a capability for the epoch until it has passed on all it has.

pub mod encode;
pub mod fit;
pub mod history;
pub mod load;
pub mod seal;
pub mod upload;

use checkpoint::{Fates, Tally};
use connectors::{TableName, TargetColumn};
use serde::{Deserialize, Serialize};

use crate::values::Policy;

pub use encode::encode;
pub use fit::fit;
pub use load::load;
pub use seal::seal;
pub use upload::upload;

/// A target table and its columns, as far as the query fills them. The table of dead letters is one too, the last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Its number: its place among the job's targets in name order.
    pub number: usize,
    /// The number of the stream that it reads; `None` for the dead letters, which come from all.
    pub stream: Option<usize>,
    /// Its table.
    pub table: TableName,
    /// The columns that the query fills, in the order of the SELECT list, as the catalog has them.
    pub columns: Vec<TargetColumn>,
    /// What is done with values that do not fit, for each of the columns.
    pub policies: Vec<Policy>,
}

impl Target {
    /// Its name in the counts.
    pub fn name(&self) -> String {
        self.table.to_string()
    }
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
    /// Of a stream, by number: for all targets that read it.
    Stream(usize),
    /// Of a target, by number.
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
        /// Which.
        fates: Fates,
    },
}
