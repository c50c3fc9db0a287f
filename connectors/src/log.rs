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
    /// For every partition of a topic its id and where it begins and ends: what can be read, and what is in it.
    /// `None` if there is no such topic.
    fn partitions(&self, topic: &str) -> Result<Option<BTreeMap<i32, SourceFacts>>>;

    /// Kafka's id of a topic, as it is now; empty where the broker has none, `None` if there is no such topic. One request.
    fn topic_id(&self, topic: &str) -> Result<Option<String>>;

    /// Where each partition of a topic would begin.
    fn starts(&self, topic: &str, at: StartAt) -> Result<BTreeMap<i32, Start>>;

    /// For each partition the record at an offset, in this order; `None` where there is none (any more). One reader for all, so each
    /// partition stands there once.
    fn records_at(&self, at: &[(TopicPartition, i64)]) -> Result<Vec<Option<LastRecord>>>;

    /// For partitions in which a reader stands (partition, position, offset): whether it was given every record below the offset,
    /// and the offset is at most the end of the log. A position alone does not say so: it may stay below records of aborted
    /// transactions as long as a transaction after them is open. False where a record is left, and an error if it cannot be
    /// known within a while.
    fn is_read_up(&self, at: &[(TopicPartition, i64, i64)]) -> Result<Vec<bool>>;

    /// The first offset from this one on that can be read: of a record, or the end. What is damaged before it is passed.
    fn next_readable(&self, partition: &TopicPartition, from: i64) -> Result<i64>;

    /// For each partition the timestamp of the first record at or after an offset, in milliseconds since 1970, also where its transaction
    /// is open or was aborted; `None` where there is no record, or it has none.
    fn first_timestamps(&self, at: &[(TopicPartition, i64)]) -> Result<Vec<Option<i64>>>;

    /// Begins to read partitions, each at its offset. Records of aborted transactions are not delivered. A partition that is
    /// not there, or goes away, may look like one to which nothing comes: [`Log::partitions`] knows.
    fn read(&self, from: &[ReadFrom]) -> Result<Box<dyn Reader>>;
}

/// A partition that is to be read, and from where on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadFrom {
    /// The partition.
    pub partition: TopicPartition,
    /// Kafka's id of its topic, empty where it is not known. A reader that asks by id refuses another topic of the same name; one
    /// that asks by name (librdkafka) does not notice, and [`Log::topic_id`] does.
    pub topic_id: String,
    /// The first offset that is to be given.
    pub offset: i64,
    /// The leader epoch of the record before it, where it is known. A reader that compares it refuses a log that was cut off and written
    /// anew; librdkafka is not told.
    pub leader_epoch: Option<i32>,
}

impl ReadFrom {
    /// From an offset on, of whatever topic has this name.
    pub fn offset(partition: TopicPartition, offset: i64) -> ReadFrom {
        ReadFrom { partition, topic_id: String::new(), offset, leader_epoch: None }
    }
}

/// Reads on where the last batch ended.
pub trait Reader: Send {
    /// What comes next; `None` if nothing came within `wait`, also while the brokers are away. A batch may have runs and no records: a
    /// partition moved over control records or an aborted transaction, or did not move and was answered. After an error the reader
    /// is of no further use; what came before the error was given before it.
    fn next(&mut self, wait: Duration) -> Result<Option<Read>>;

    /// Gives nothing of a partition at or above this offset from here on, until it is allowed to; `None` for no bound. Its position stays
    /// at or below the bound as well. What was given already stays given. Places are those of [`Log::read`]; an error is the end of the
    /// reader.
    fn allow(&mut self, place: usize, until: Option<i64>) -> Result<()>;
}

/// What a reader gives.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and nearly all are batches")]
pub enum Read {
    /// Records, and where their partitions stand.
    Batch(RawBatch),
    /// A partition that gives nothing any more; the others go on. What came before the error was given before it, of a damaged batch
    /// ([`crate::Fault::Damaged`]) and of what comes after it nothing.
    Lost {
        /// Its place in the list that was given to [`Log::read`].
        place: usize,
        /// What it ended in.
        error: Error,
    },
}

/// Bytes of many records in one buffer: value `i` is `data[offsets[i]..offsets[i + 1]]`, and absent unless `present[i]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BytesColumn {
    /// All values, one after the other.
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
    /// The place of each record's partition in the list that was given to [`Log::read`].
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
    /// Where its partitions stand after this batch: one for each.
    pub runs: Vec<Run>,
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

    /// These of its records, in this order, and no runs.
    ///
    /// # Errors
    /// A row that is named so often that its bytes are more than 2 GiB.
    pub fn only(&self, rows: impl Iterator<Item = usize>) -> Result<RawBatch> {
        let mut some = RawBatch::default();
        for row in rows {
            some.partitions.push(self.partitions[row]);
            some.offsets.push(self.offsets[row]);
            some.timestamps_ms.push(self.timestamps_ms[row]);
            some.keys.push(self.keys.get(row))?;
            some.values.push(self.values.get(row))?;
            if !self.headers.present.is_empty() {
                some.headers.push(self.headers.get(row))?;
            }
        }
        Ok(some)
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.keys.data.len() + self.values.data.len() + self.headers.data.len()
    }
}

/// The records of one partition in a batch, and where it stands after them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// Its place in the list that was given to [`Log::read`].
    pub place: i32,
    /// The offset of its first record in the batch; `None` if it has none.
    pub first_offset: Option<i64>,
    /// The consumer's position straight after the batch was taken: past control records too, so it may be far above the
    /// last record's offset + 1.
    pub position: i64,
    /// Leader epoch of the last record, where known.
    pub leader_epoch: Option<i32>,
    /// The row of the batch's last record of this partition; `None` if it has none.
    pub last_row: Option<usize>,
    /// The last stable offset, as far as it is known: it may have grown since.
    pub last_stable: Option<i64>,
    /// The high watermark, as far as it is known.
    pub high_watermark: Option<i64>,
    /// Whether its leader has answered since the last run of this partition. So a partition that stands at its last stable offset and
    /// was answered has nothing more; one that was not answered may have.
    pub answered: bool,
}
