//! The port of a log: topics, partitions, records in order. Kafka.

use std::{collections::BTreeMap, time::Duration};

use checkpoint::{
    LastRecord, TopicPartition,
    protocol::{SourceFacts, Start},
};

use crate::{Error, Result};

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
    /// the error was given before it, of a damaged batch ([`crate::Fault::Damaged`]) and of what comes after it nothing.
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
