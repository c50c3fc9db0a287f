//! The doors: the only code that opens sockets to other systems.
//!
//! Three ports say what Tidegate needs of them, in its own words and without theirs (no SQL, no HTTP):
//!
//! * [`Log`], [`Reader`]: a topic's records in order, and what is known of its partitions. Kafka.
//! * [`Objects`]: objects that are written once, whole or not at all. S3.
//! * [`Warehouse`]: the fence, the manifest, and the load that moves both and the rows in one transaction. Redshift.
//!
//! Every port blocks its caller, with a deadline; who must not block calls it from a thread. Every error says whether
//! the thing happened ([`Error`]). [`memory`] has a twin of each port, and [`conformance`] one function for each
//! promised behaviour, which twin and real one pass alike.

pub mod conformance;
mod error;
pub mod faults;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod memory;
#[cfg(feature = "redshift")]
pub mod redshift;
pub mod retry;
#[cfg(feature = "s3")]
pub mod s3;
mod secret;
mod trust;

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use checkpoint::{
    Counts, Epoch, Generation, LastRecord, Link, Micros, Nonce, TopicPartition,
    protocol::{Holder, Outcome, Range, SourceFacts, Start, TableFacts},
};

pub use error::{Error, Fault, Happened, Result};
pub use secret::Secret;
pub use trust::Trust;

// ---------------------------------------------------------------------------------------------------------- Kafka

/// Where a topic begins that no epoch has read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// The first record there is.
    Earliest,
    /// Only records that come after the job's first start.
    Latest,
    /// The first record whose timestamp is not before this, in milliseconds since 1970.
    Time(i64),
}

/// A log of records: Kafka.
pub trait Log: Send + Sync {
    /// For every partition of a topic its id and where it begins and ends. The end is the last stable offset. `None` if
    /// there is no such topic.
    fn partitions(&self, topic: &str) -> Result<Option<BTreeMap<i32, SourceFacts>>>;

    /// Kafka's id of a topic, as it is now; empty where the broker has none, `None` if there is no such topic. One request.
    fn topic_id(&self, topic: &str) -> Result<Option<String>>;

    /// Where each partition of a topic would begin.
    fn starts(&self, topic: &str, at: StartAt) -> Result<BTreeMap<i32, Start>>;

    /// For each partition the record at an offset, in this order; `None` where there is none (any more). One reader for all, so each
    /// partition stands there once.
    fn records_at(&self, at: &[(TopicPartition, i64)]) -> Result<Vec<Option<LastRecord>>>;

    /// For partitions in which a reader stands (partition, position, offset): whether it was given every record below the offset,
    /// which is none above the end of the log. A position alone does not say so: it may stay below records of aborted
    /// transactions as long as a transaction after them is open. False where a record is left, and an error if it cannot be
    /// known within a while.
    fn is_read_up(&self, at: &[(TopicPartition, i64, i64)]) -> Result<Vec<bool>>;

    /// The first offset from this one on that can be read: of a record, or the end. What is damaged before it is passed.
    fn next_readable(&self, partition: &TopicPartition, from: i64) -> Result<i64>;

    /// Begins to read partitions, each at its offset. Records of aborted transactions are not delivered. A partition that is
    /// not there, or goes away, may look like one to which nothing comes: [`Log::partitions`] knows.
    fn read(&self, from: &[(TopicPartition, i64)]) -> Result<Box<dyn Reader>>;
}

/// Reads on where the last batch ended.
pub trait Reader: Send {
    /// The next batch; `None` if nothing came within `wait`, also while the brokers are away. A batch may have positions and no records: a partition
    /// moved over control records or an aborted transaction. After an error the reader is of no further use; what came before
    /// the error was given before it, of a damaged batch ([`Fault::Damaged`]) and of what comes after it nothing.
    fn next(&mut self, wait: Duration) -> Result<Option<RawBatch>>;
}

/// Bytes of many records in one buffer: value `i` is `data[offsets[i]..offsets[i + 1]]`, and absent unless `present[i]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BytesColumn {
    /// All values, one behind the other.
    pub data: Vec<u8>,
    /// Begins with 0; then the end of each value.
    pub offsets: Vec<i32>,
    /// Whether value `i` is there at all. Empty bytes are there.
    pub present: Vec<bool>,
}

impl Default for BytesColumn {
    fn default() -> BytesColumn {
        BytesColumn { data: Vec::new(), offsets: vec![0], present: Vec::new() }
    }
}

impl BytesColumn {
    /// Makes room for so many values and bytes.
    pub fn reserve(&mut self, values: usize, bytes: usize) {
        self.data.reserve(bytes);
        self.offsets.reserve(values);
        self.present.reserve(values);
    }

    /// Appends a value. Fails when 2 GiB are full.
    pub fn push(&mut self, value: Option<&[u8]>) -> Result<()> {
        self.data.extend_from_slice(value.unwrap_or_default());
        let end = i32::try_from(self.data.len()).map_err(|_| Error::bug("a batch of more than 2 GiB"))?;
        self.offsets.push(end);
        self.present.push(value.is_some());
        Ok(())
    }

    /// Value `i`.
    pub fn get(&self, i: usize) -> Option<&[u8]> {
        self.present[i].then(|| &self.data[self.offsets[i] as usize..self.offsets[i + 1] as usize])
    }
}

/// A batch of records of one topic as they came, of any of its partitions that the reader reads. All columns have one
/// length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawBatch {
    /// For each record the place of its partition in the list that was given to [`Log::read`].
    pub partitions: Vec<i32>,
    /// Offsets.
    pub offsets: Vec<i64>,
    /// Kafka timestamps in milliseconds since 1970; -1 if there is none.
    pub timestamps_ms: Vec<i64>,
    /// Keys.
    pub keys: BytesColumn,
    /// Values; an absent one is a tombstone.
    pub values: BytesColumn,
    /// Headers as JSON text, one for each record, where the reader was made to give them; else none at all.
    pub headers: BytesColumn,
    /// Where the partitions that moved stand behind this batch.
    pub moved: Vec<Moved>,
}

impl RawBatch {
    /// Makes room for so many records and bytes.
    pub fn reserve(&mut self, records: usize, key_bytes: usize, value_bytes: usize) {
        self.partitions.reserve(records);
        self.offsets.reserve(records);
        self.timestamps_ms.reserve(records);
        self.keys.reserve(records, key_bytes);
        self.values.reserve(records, value_bytes);
    }

    /// Records.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether there is no record in it (positions may still have moved).
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.keys.data.len() + self.values.data.len() + self.headers.data.len()
    }
}

/// Where a partition stands behind a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Its place in the list that was given to [`Log::read`].
    pub partition: i32,
    /// The consumer's position straight after the batch was taken: past control records too, so it may be far above the
    /// last record's offset + 1.
    pub position: i64,
    /// Leader epoch of the last record, where known.
    pub leader_epoch: Option<i32>,
    /// The row of the batch's last record of this partition; `None` if it has none.
    pub last_row: Option<usize>,
}

// ------------------------------------------------------------------------------------------------------------- S3

/// A store of objects that are written once: S3.
pub trait Objects: Send + Sync {
    /// Writes an object that does not exist yet, whole or not at all. The key is never used by anybody else.
    fn put(&self, key: &str, body: Bytes) -> Result<()>;

    /// The bytes of an object; `None` if there is none.
    fn get(&self, key: &str) -> Result<Option<Bytes>>;

    /// Removes objects, in as few requests as there can be; no error for those that are not there. After an error some of them may be
    /// gone.
    fn delete(&self, keys: &[&str]) -> Result<()>;

    /// Every key below a folder, as it comes; those that are written or removed meanwhile may be among them or not.
    fn list(&self, folder: &str, each: &mut dyn FnMut(&str) -> Result<()>) -> Result<()>;

    /// What stands directly below a folder, in order: the names of objects, and with a slash at the end those of folders. Nothing
    /// if there is no such folder. What is written before the question is among them.
    fn children(&self, folder: &str) -> Result<Vec<String>>;

    /// The address under which the warehouse reads a key, like `s3://bucket/prefix/key`.
    fn url(&self, key: &str) -> String;
}

// ------------------------------------------------------------------------------------------------------- Redshift

/// A column of a target table, as the catalog has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetColumn {
    /// Its name, in lower case.
    pub name: String,
    /// Its type.
    pub kind: ColumnKind,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// Whether it has a default, which COPY takes where the column is not in its list.
    pub has_default: bool,
}

/// A type, as a target's column has it and as a job file declares it for a column of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ColumnKind {
    /// 16 bits.
    SmallInt,
    /// 32 bits.
    Integer,
    /// 64 bits.
    BigInt,
    /// So many digits, and so many of them behind the point.
    Decimal(u8, u8),
    /// 32-bit floating point.
    Real,
    /// 64-bit floating point.
    Double,
    /// True or false.
    Boolean,
    /// Text of at most so many single-byte characters.
    Char(u32),
    /// UTF-8 text of at most so many bytes.
    Varchar(u32),
    /// At most so many bytes.
    Varbyte(u32),
    /// A day.
    Date,
    /// What a clock on some wall shows, in microseconds.
    Timestamp,
    /// A moment in microseconds.
    TimestampTz,
    /// Anything else, by its name. COPY cannot fill it from Parquet, or is not known to.
    Other(String),
}

impl ColumnKind {
    /// Reads a type as Redshift's CREATE TABLE spells it, synonyms included.
    /// <https://docs.aws.amazon.com/redshift/latest/dg/c_Supported_data_types.html>
    pub fn parse(text: &str) -> Result<ColumnKind, String> {
        let folded = text.trim().to_lowercase();
        let (name, arguments) = match folded.split_once('(') {
            None => (folded.as_str(), Vec::new()),
            Some((name, rest)) => {
                let inside =
                    rest.trim_end().strip_suffix(')').ok_or_else(|| format!("{text:?} does not end with )"))?;
                let numbers = inside.split(',').map(|n| n.trim().parse::<u32>());
                (
                    name.trim_end(),
                    numbers.collect::<Result<_, _>>().map_err(|_| format!("{text:?}: not a whole number"))?,
                )
            }
        };
        let length = |most: u32| match arguments.as_slice() {
            [n] if (1..=most).contains(n) => Ok(*n),
            [] => Err(format!("{name} needs its length, like {name}(100)")),
            _ => Err(format!("a {name} has 1 to {most} bytes")),
        };
        let plain = |kind: ColumnKind| match arguments.is_empty() {
            true => Ok(kind),
            false => Err(format!("{name} takes no numbers")),
        };
        match name {
            "smallint" | "int2" => plain(ColumnKind::SmallInt),
            "integer" | "int" | "int4" => plain(ColumnKind::Integer),
            "bigint" | "int8" => plain(ColumnKind::BigInt),
            "decimal" | "numeric" => match arguments.as_slice() {
                [p] if (1..=38).contains(p) => Ok(ColumnKind::Decimal(*p as u8, 0)),
                [p, s] if (1..=38).contains(p) && *s <= 37 && s <= p => Ok(ColumnKind::Decimal(*p as u8, *s as u8)),
                // Bare, it is (18, 0), which is never what was meant.
                [] => Err(format!("{name} needs its precision and scale, like {name}(18, 2)")),
                _ => {
                    Err(format!("a {name} has 1 to 38 digits, and at most 37 and no more than those behind the point"))
                }
            },
            "real" | "float4" => plain(ColumnKind::Real),
            "double precision" | "double" | "float8" | "float" => plain(ColumnKind::Double),
            "boolean" | "bool" => plain(ColumnKind::Boolean),
            "char" | "character" | "nchar" | "bpchar" => length(4096).map(ColumnKind::Char),
            "varchar" | "character varying" | "nvarchar" => length(65_535).map(ColumnKind::Varchar),
            "varbyte" | "varbinary" | "binary varying" => length(16_777_216).map(ColumnKind::Varbyte),
            "date" => plain(ColumnKind::Date),
            "timestamp" | "timestamp without time zone" => plain(ColumnKind::Timestamp),
            "timestamptz" | "timestamp with time zone" => plain(ColumnKind::TimestampTz),
            _ => Ok(ColumnKind::Other(folded)),
        }
    }
}

impl std::fmt::Display for ColumnKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ColumnKind::SmallInt => f.write_str("smallint"),
            ColumnKind::Integer => f.write_str("integer"),
            ColumnKind::BigInt => f.write_str("bigint"),
            ColumnKind::Decimal(precision, scale) => write!(f, "decimal({precision},{scale})"),
            ColumnKind::Real => f.write_str("real"),
            ColumnKind::Double => f.write_str("double precision"),
            ColumnKind::Boolean => f.write_str("boolean"),
            ColumnKind::Char(bytes) => write!(f, "char({bytes})"),
            ColumnKind::Varchar(bytes) => write!(f, "varchar({bytes})"),
            ColumnKind::Varbyte(bytes) => write!(f, "varbyte({bytes})"),
            ColumnKind::Date => f.write_str("date"),
            ColumnKind::Timestamp => f.write_str("timestamp"),
            ColumnKind::TimestampTz => f.write_str("timestamptz"),
            ColumnKind::Other(name) => f.write_str(name),
        }
    }
}

/// The name of a table: schema and table, both in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// Its schema.
    pub schema: String,
    /// Its own name.
    pub table: String,
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// The columns of a job's dead letters: one row for each record that could not be loaded. `target` is empty where the
/// record did not decode, so that it concerns every target of its stream; `record_index` is the record's place in its message.
pub fn dead_letter_columns() -> Vec<TargetColumn> {
    let column = |name: &str, kind, not_null| TargetColumn { name: name.into(), kind, not_null, has_default: false };
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
    /// Of the start whose nonce it recorded; `None` while that had not taken the fence.
    pub generation: Option<Generation>,
    /// Of the start.
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
    /// By whose right.
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

    /// The columns of a table in their order; `None` if there is no such table, or it may not be seen.
    fn columns(&mut self, table: &TableName) -> Result<Option<Vec<TargetColumn>>>;

    /// Whether a load can work, without an effect: our user may insert into these tables, and a COPY of this file, which has the
    /// columns of the dead letters, goes into a temporary table.
    fn rehearse(&mut self, tables: &[TableName], copy: &CopyFrom) -> Result<()>;

    /// Loads, and reads back that it is in. An error that cannot say whether it happened is for [`Warehouse::resolve`].
    fn load(&mut self, load: &Load, progress: &mut dyn FnMut(LoadStep)) -> Result<Outcome>;

    /// Finds out what became of a load whose answer was lost: waits behind a barrier until its session is gone, then reads.
    fn resolve(&mut self, holder: &Holder, range: &Range) -> Result<Outcome>;

    /// Folds old epochs into one row, if there are any. It holds the fence for seconds; where that would take longer, nothing is done and
    /// the error says so ([`Fault::TooLong`]): fewer are to be tried. The session must be recorded.
    fn fold(&mut self, fold: &Fold) -> Result<Option<Folded>>;

    /// Forgets the sessions of processes that began before a moment, but for those that are shown to be open. How many.
    fn forget_sessions(&mut self, before: Micros) -> Result<u64>;

    /// Keeps the text of a plan under its hash, once.
    fn keep_plan(&mut self, hash: &str, text: &str) -> Result<()>;

    /// Leaves a halt for `status`.
    fn note_halt(&mut self, note: &HaltNote) -> Result<()>;
}
