//! The port of a warehouse: the fence, the manifest, and the load that moves both and the rows in one transaction. Redshift.

use std::collections::BTreeMap;

use checkpoint::{
    Counts, Epoch, Generation, Link, Micros, Nonce,
    protocol::{Holder, Outcome, Range, TableFacts},
};

use crate::{ColumnKind, Result, Table, TableName, TargetColumn};

/// The columns of a job's dead letters: one row for each record that could not be loaded. `target` is empty where the
/// record did not decode, so that it concerns every target of its stream; `record_index` is the record's place in its message.
pub fn dead_letter_columns() -> Vec<TargetColumn> {
    let column = |name: &str, kind, not_null| TargetColumn {
        name: name.into(),
        kind,
        not_null,
        has_default: false,
        is_identity: false,
    };
    vec![
        column("epoch", ColumnKind::BigInt, true),
        column("target", ColumnKind::Varchar(256), true),
        column("topic", ColumnKind::Varchar(249), true),
        column("kafka_partition", ColumnKind::Integer, true),
        column("kafka_offset", ColumnKind::BigInt, true),
        column("record_index", ColumnKind::Integer, true),
        column("kafka_timestamp", ColumnKind::Timestamp, false),
        column("stage", ColumnKind::Varchar(16), true),
        column("column_name", ColumnKind::Varchar(127), false),
        column("reason", ColumnKind::Varchar(1024), true),
        column("raw_bytes", ColumnKind::Varchar(65_535), false),
        column("raw_truncated", ColumnKind::Boolean, true),
    ]
}

/// The table of a job's dead letters.
pub fn dead_letter_table(schema: &str, job: &str) -> TableName {
    TableName { schema: schema.into(), table: format!("{job}_dead_letters") }
}

/// A process that works for a job, as it records itself with each of its sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The name of its machine.
    pub host: String,
    /// Its id there.
    pub id: u32,
    /// When it began.
    pub started_at: Micros,
}

/// A session that a process of the job has recorded, and that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// The generation of the start whose nonce it recorded; `None` while that start had not taken the fence.
    pub generation: Option<Generation>,
    /// The start's nonce.
    pub nonce: String,
    /// Whose it is.
    pub process: Process,
    /// The warehouse's id of it.
    pub pid: i64,
    /// When the warehouse says that it began.
    pub session_start: String,
}

/// A halt that a process left for `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaltNote {
    /// The generation that it had, or found.
    pub generation: Generation,
    /// The process.
    pub process: Process,
    /// The error's code.
    pub code: String,
    /// The whole error, for a person.
    pub reason: String,
    /// Since when.
    pub since: Micros,
}

/// Old epochs that are to become one row ([`checkpoint::fold`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fold {
    /// Those that were closed before this moment.
    pub before: Micros,
    /// So many at once, at most. A whole cut is written every [`checkpoint::history::FULL_CUT_EVERY`] epochs, so fewer may be none.
    pub epochs: u64,
}

/// What was folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folded {
    /// The epoch whose row has become the base.
    pub base: Epoch,
    /// How many epochs were folded into it, the base before it included.
    pub epochs: u64,
}

/// One COPY of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyFrom {
    /// Into this table.
    pub table: TableName,
    /// Its name in the counts.
    pub target: String,
    /// The columns of the files, in their order.
    pub columns: Vec<String>,
    /// The COPY manifest.
    pub manifest_url: String,
    /// What the files hold.
    pub counts: Counts,
}

/// One load: epochs that become visible together, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Who holds the fence: by its right the load is made.
    pub holder: Holder,
    /// Which epochs.
    pub range: Range,
    /// Their rows in the control tables, in order.
    pub links: Vec<Link>,
    /// The rows themselves, in name order of their tables. A target without rows has none.
    pub copies: Vec<CopyFrom>,
    /// What the tables are from here on, where a person decided that they belong to this database.
    pub adopt: Option<Adoption>,
}

/// A fence's new id, and the database that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoption {
    /// The id.
    pub fence_id: String,
    /// The identity of the database.
    pub namespace: String,
}

/// Where a load stands, for whoever watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadStep {
    /// The statement on the fence waits, and nobody is in its way: the warehouse has queued it.
    Queued,
    /// The transaction is open and the fence is ours.
    Fenced,
    /// All COPY statements are answered.
    Copied,
    /// The manifest rows are written; COMMIT is next.
    Written,
    /// COMMIT is answered; the read-back is next.
    Committed,
}

/// What became of the statement that takes the fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    /// It changed the row.
    Yes,
    /// It found another generation there.
    No,
    /// Somebody held the row until the deadline, or nobody answered. Should it arrive later, the row says whose it is.
    Held,
}

/// Fence, manifest and loads of one job: Redshift.
pub trait Warehouse: Send {
    /// Makes the control tables, all or none. Returns the names of those it made; none if all are there. Some that are there
    /// without others, and tables without a version, are refused by name.
    fn init(&mut self, fence_id: &str) -> Result<Vec<String>>;

    /// The control tables in one snapshot. Whether it may be believed is for who holds the fence to say; it locks nothing.
    fn read(&mut self) -> Result<TableFacts>;

    /// The fence ids that the one of now has taken the place of.
    fn adopted(&mut self) -> Result<Vec<String>>;

    /// Records who we are: each session says so, in a row that is committed before it touches the fence.
    fn record(&mut self, process: &Process, nonce: &Nonce) -> Result<()>;

    /// Takes the fence if it is still of this generation: one statement that commits itself, which nobody can be found holding.
    /// It waits for a load that is under way, until its deadline.
    fn take(&mut self, from: Generation, progress: &mut dyn FnMut(LoadStep)) -> Result<Took>;

    /// Says that we hold the fence now: sessions from here on are recorded with the generation.
    fn hold(&mut self, holder: &Holder) -> Result<()>;

    /// The open sessions that processes of the job have recorded, but for those of this start; `None` where the warehouse does
    /// not show sessions.
    fn sessions(&mut self) -> Result<Option<Vec<OpenSession>>>;

    /// Ends these sessions. What they had open is rolled back.
    fn end(&mut self, sessions: &[OpenSession]) -> Result<()>;

    /// What the catalog has of these tables, without those that are not there, or may not be seen.
    fn tables(&mut self, names: &[TableName]) -> Result<BTreeMap<TableName, Table>>;

    /// The columns of one of them in their order; `None` if there is no such table, or it may not be seen.
    fn columns(&mut self, table: &TableName) -> Result<Option<Vec<TargetColumn>>> {
        let found = self.tables(std::slice::from_ref(table))?.remove(table);
        Ok(found.map(|table| table.columns).filter(|columns| !columns.is_empty()))
    }

    /// Whether a load can work, without an effect: our user has the rights that a load into these tables takes (which is not asked where
    /// none is named), and a COPY of this file, which has the columns of the dead letters, goes into a temporary table.
    fn rehearse(&mut self, tables: &[TableName], copy: &CopyFrom) -> Result<()>;

    /// Loads, and reads back that it is in. An error that cannot say whether it happened is for [`Warehouse::resolve`].
    fn load(&mut self, load: &Load, progress: &mut dyn FnMut(LoadStep)) -> Result<Outcome>;

    /// Finds out what became of a load whose answer was lost: waits after a barrier until its session is gone, then reads.
    fn resolve(&mut self, holder: &Holder, range: &Range) -> Result<Outcome>;

    /// Folds old epochs into one row, if there are any. It holds the fence for seconds; where that would take longer, nothing is done and
    /// the error says so ([`crate::Fault::TooLong`]): fewer are to be tried. The session must be recorded.
    fn fold(&mut self, fold: &Fold) -> Result<Option<Folded>>;

    /// Forgets the sessions of processes that began before a moment, but for those that are shown to be open. How many.
    fn forget_sessions(&mut self, before: Micros) -> Result<u64>;

    /// Keeps the text of a plan under its hash, once.
    fn keep_plan(&mut self, hash: &str, text: &str) -> Result<()>;

    /// The newest epoch that was loaded by a plan, and the hash of that; `None` before the first. (A decision has none.)
    fn loaded_plan(&mut self) -> Result<Option<(Epoch, String)>>;

    /// The text that was kept under a hash; `None` if there is none.
    fn plan_text(&mut self, hash: &str) -> Result<Option<String>>;

    /// Leaves a halt for `status`.
    fn note_halt(&mut self, note: &HaltNote) -> Result<()>;
}
