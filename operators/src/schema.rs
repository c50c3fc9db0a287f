//! What comes in and where it goes: the columns that a job file declares for a stream, and the table of a target.

use connectors::{ColumnKind, TableName, TargetColumn};

use crate::values::{Policy, path::Path};

/// A declared column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceColumn {
    /// Its name in queries, in lower case.
    pub name: String,
    /// Where in the record its value stands.
    pub path: Path,
    /// Its type; never [`ColumnKind::Other`].
    pub kind: ColumnKind,
    /// What is done with values that do not fit the type.
    pub policy: Policy,
}

impl SourceColumn {
    /// The top-level key `name`, and every value that does not fit rejected.
    pub fn new(name: &str, kind: ColumnKind) -> SourceColumn {
        SourceColumn { name: name.to_lowercase(), path: Path::key(name), kind, policy: Policy::default() }
    }
}

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
