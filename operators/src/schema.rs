//! What comes in and where it goes: the columns that a job file declares for a stream, and the table of a target.

use connectors::{ColumnKind, TableName, TargetColumn};

use crate::{
    time::Time,
    values::{Policy, path::Path, reading::Reading},
};

/// A declared column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceColumn {
    /// Its name in queries, in lower case.
    pub name: String,
    /// Where in the record its value stands.
    pub path: Path,
    /// Its type; never [`ColumnKind::Other`].
    pub kind: ColumnKind,
    /// How its values are read.
    pub reading: Reading,
    /// What is done with values that do not fit the type.
    pub policy: Policy,
}

impl SourceColumn {
    /// The top-level key `name`, and every value that does not fit rejected.
    pub fn new(name: &str, kind: ColumnKind) -> SourceColumn {
        let (reading, policy) = (Reading::default(), Policy::default());
        SourceColumn { name: name.to_lowercase(), path: Path::key(name), kind, reading, policy }
    }
}

/// How rows get into the table of a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Each row is added to those that are there.
    #[default]
    Append,
}

impl Mode {
    /// All of them.
    pub const ALL: &[Mode] = &[Mode::Append];

    /// Their words in the job file.
    pub const WORDS: &[&str] = &[Mode::Append.word()];

    /// Its word in the job file.
    pub const fn word(self) -> &'static str {
        match self {
            Mode::Append => "append",
        }
    }
}

/// The columns of a target's table, as the catalog has them, by epoch: fit, encode and load ask for those of the epoch that they
/// are at. They are the same in all epochs of a run. Who changes that has to end a load where they change, since one COPY has
/// one list of columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns(Vec<TargetColumn>);

impl From<Vec<TargetColumn>> for Columns {
    fn from(columns: Vec<TargetColumn>) -> Columns {
        Columns(columns)
    }
}

impl FromIterator<TargetColumn> for Columns {
    fn from_iter<I: IntoIterator<Item = TargetColumn>>(columns: I) -> Columns {
        Columns(columns.into_iter().collect())
    }
}

impl Columns {
    /// Those of an epoch.
    pub fn at(&self, _epoch: Time) -> &[TargetColumn] {
        &self.0
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
    /// The columns that the query fills, in the order of the SELECT list.
    pub columns: Columns,
    /// How its rows get into the table.
    pub mode: Mode,
    /// What is done with values that do not fit, for each of the columns.
    pub policies: Vec<Policy>,
}

impl Target {
    /// Its name in the counts.
    pub fn name(&self) -> String {
        self.table.to_string()
    }
}
