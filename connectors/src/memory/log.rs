//! A log in memory: topics to which a test appends, control records and aborted ones included.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use checkpoint::{
    LastRecord, TopicPartition, manifest,
    protocol::{SourceFacts, Start},
};

use super::trouble::{Bar, lock};
use crate::{Error, Fault, Log, Moved, RawBatch, Reader, Result, StartAt};

/// What stands at an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A record that a reader sees.
    Record {
        /// Its key.
        key: Option<Vec<u8>>,
        /// Its value.
        value: Option<Vec<u8>>,
        /// Its timestamp in milliseconds since 1970.
        timestamp_ms: i64,
    },
    /// A control record, or one of an aborted transaction: nobody sees it.
    Unseen,
    /// A batch of one record that cannot be read.
    Damaged,
    /// A record of an aborted transaction that a reader's position passes only with what comes after it.
    Aborted,
    /// The value of a record of a transaction that is not at its end. The log ends before it.
    Open(Vec<u8>),
}

/// The last stable offset.
fn end_of(entries: &[Entry]) -> usize {
    entries.iter().position(|entry| matches!(entry, Entry::Open(_))).unwrap_or(entries.len())
}

#[derive(Default)]
struct Topic {
    id: String,
    partitions: Vec<(i64, Vec<Entry>)>,
}

type Topics = Arc<Mutex<BTreeMap<String, Topic>>>;

/// Topics in memory.
#[derive(Clone, Default)]
pub struct MemoryLog(Topics, Bar);

impl MemoryLog {
    /// Lets every question fail with this from now on, or none any more. A reader sees no outage: nothing comes.
    pub fn bar(&self, fault: Option<Fault>) {
        self.1.set(fault);
    }

    /// Makes a topic, or makes it anew.
    pub fn create(&self, topic: &str, partitions: usize) {
        let mut topics = lock(&self.0);
        let id = format!("id-{}-{}", topic, topics.values().map(|t| t.id.len()).sum::<usize>());
        topics.insert(topic.into(), Topic { id, partitions: vec![Default::default(); partitions] });
    }

    /// Appends to a partition.
    pub fn append(&self, topic: &str, partition: i32, entry: Entry) {
        if let Some((_, entries)) = lock(&self.0).get_mut(topic).and_then(|t| t.partitions.get_mut(partition as usize))
        {
            entries.push(entry);
        }
    }

    /// Ends the open transactions of a partition: they are committed.
    pub fn commit(&self, topic: &str, partition: i32) {
        let mut topics = lock(&self.0);
        let entries = topics.get_mut(topic).and_then(|t| t.partitions.get_mut(partition as usize));
        for entry in entries.into_iter().flat_map(|(_, entries)| entries) {
            if let Entry::Open(value) = entry {
                *entry = Entry::Record { key: None, value: Some(std::mem::take(value)), timestamp_ms: 0 };
            }
        }
    }

    /// How many records a reader sees among these offsets, tombstones included.
    pub fn seen(&self, partition: &TopicPartition, start: i64, end: i64) -> usize {
        let topics = lock(&self.0);
        let entries = topics.get(&*partition.topic).and_then(|t| t.partitions.get(partition.partition as usize));
        let entries = entries.map_or(&[][..], |(_, entries)| &entries[start as usize..end as usize]);
        entries.iter().filter(|e| matches!(e, Entry::Record { .. })).count()
    }

    /// Appends a record without a key.
    pub fn send(&self, topic: &str, partition: i32, value: &str) {
        let value = Some(value.as_bytes().to_vec());
        self.append(topic, partition, Entry::Record { key: None, value, timestamp_ms: 0 });
    }
}

impl Log for MemoryLog {
    fn partitions(&self, topic: &str) -> Result<Option<BTreeMap<i32, SourceFacts>>> {
        self.1.pass()?;
        Ok(lock(&self.0).get(topic).map(|topic| {
            let facts = |(low, entries): &(i64, Vec<Entry>)| SourceFacts {
                topic_id: topic.id.clone(),
                low: *low,
                high: end_of(entries) as i64,
                last: None,
            };
            topic.partitions.iter().enumerate().map(|(p, partition)| (p as i32, facts(partition))).collect()
        }))
    }

    fn topic_id(&self, topic: &str) -> Result<Option<String>> {
        self.1.pass()?;
        Ok(lock(&self.0).get(topic).map(|topic| topic.id.clone()))
    }

    fn starts(&self, topic: &str, at: StartAt) -> Result<BTreeMap<i32, Start>> {
        let facts =
            self.partitions(topic)?.ok_or_else(|| Error::new(Fault::Missing, format!("there is no topic {topic}")))?;
        let topics = lock(&self.0);
        let first_at = |partition: i32, ms: i64| {
            let (_, entries) = &topics.get(topic)?.partitions[partition as usize];
            entries.iter().position(|e| matches!(e, Entry::Record { timestamp_ms, .. } if *timestamp_ms >= ms))
        };
        let start = |(partition, facts): (i32, SourceFacts)| {
            let offset = match at {
                StartAt::Earliest => facts.low,
                StartAt::Latest => facts.high,
                StartAt::Time(ms) => first_at(partition, ms).map_or(facts.high, |o| o as i64),
            };
            (partition, Start { topic_id: facts.topic_id, offset })
        };
        Ok(facts.into_iter().map(start).collect())
    }

    fn records_at(&self, at: &[(TopicPartition, i64)]) -> Result<Vec<Option<LastRecord>>> {
        self.1.pass()?;
        let topics = lock(&self.0);
        let record = |(partition, offset): &(TopicPartition, i64)| {
            let (low, entries) = find(&topics, partition)?;
            Ok(match entries.get(*offset as usize).filter(|_| low <= offset) {
                Some(Entry::Record { key, value, timestamp_ms }) => Some(LastRecord {
                    offset: *offset,
                    timestamp_ms: *timestamp_ms,
                    fingerprint: manifest::fingerprint(key.as_deref(), value.as_deref()),
                }),
                _ => None,
            })
        };
        at.iter().map(record).collect()
    }

    fn is_read_up(&self, at: &[(TopicPartition, i64, i64)]) -> Result<Vec<bool>> {
        self.1.pass()?;
        let topics = lock(&self.0);
        let is_read_up = |(partition, from, until): &(TopicPartition, i64, i64)| {
            let (_, entries) = find(&topics, partition)?;
            let mut left = entries.iter().take(*until as usize).skip(*from as usize);
            Ok(!left.any(|entry| matches!(entry, Entry::Record { .. })))
        };
        at.iter().map(is_read_up).collect()
    }

    fn next_readable(&self, partition: &TopicPartition, from: i64) -> Result<i64> {
        self.1.pass()?;
        let topics = lock(&self.0);
        let (_, entries) = find(&topics, partition)?;
        let end = end_of(entries);
        let mut left = entries[..end].iter().enumerate().skip(from as usize);
        Ok(left.find(|(_, entry)| matches!(entry, Entry::Record { .. })).map_or(end, |(at, _)| at) as i64)
    }

    fn read(&self, from: &[(TopicPartition, i64)]) -> Result<Box<dyn Reader>> {
        Ok(Box::new(MemoryReader { topics: self.0.clone(), bar: self.1.clone(), at: from.to_vec(), next: 0 }))
    }
}

/// The first offset of a partition, and what stands in it.
fn find<'t>(topics: &'t BTreeMap<String, Topic>, partition: &TopicPartition) -> Result<&'t (i64, Vec<Entry>)> {
    let topic = topics.get(&*partition.topic);
    let found = topic.and_then(|topic| topic.partitions.get(partition.partition as usize));
    found.ok_or_else(|| Error::new(Fault::Missing, format!("there is no {partition}")))
}

struct MemoryReader {
    topics: Topics,
    bar: Bar,
    at: Vec<(TopicPartition, i64)>,
    next: usize,
}

impl Reader for MemoryReader {
    fn next(&mut self, wait: Duration) -> Result<Option<RawBatch>> {
        match self.bar.pass() {
            Err(error) if error.fault == Fault::Outage => {
                std::thread::sleep(wait);
                return Ok(None);
            }
            other => other?,
        }
        for _ in 0..self.at.len() {
            let place = self.next;
            self.next = (self.next + 1) % self.at.len();
            let (partition, offset) = &mut self.at[place];
            let topics = lock(&self.topics);
            let (low, entries) = find(&topics, partition)?;
            let entries = &entries[..end_of(entries)];
            if !(*low..=entries.len() as i64).contains(offset) {
                return Err(Error::new(Fault::Refused, format!("{partition} has no offset {offset}")));
            }
            let mut batch = RawBatch::default();
            let mut last_row = None;
            // Few at a time, so that a reader behind this meets more than one batch.
            let seen = entries.iter().enumerate().skip(*offset as usize).filter(|(_, e)| **e != Entry::Aborted);
            for (at, entry) in seen.take(100) {
                if *entry == Entry::Damaged {
                    if batch.moved.is_empty() {
                        let fault = Fault::Damaged { place, offset: at as i64 };
                        return Err(Error::new(fault, "its checksum is wrong"));
                    }
                    break;
                }
                if let Entry::Record { key, value, timestamp_ms } = entry {
                    last_row = Some(batch.len());
                    batch.partitions.push(place as i32);
                    batch.offsets.push(at as i64);
                    batch.timestamps_ms.push(*timestamp_ms);
                    batch.keys.push(key.as_deref())?;
                    batch.values.push(value.as_deref())?;
                }
                *offset = at as i64 + 1;
                batch.moved =
                    vec![Moved { partition: place as i32, position: *offset, leader_epoch: Some(0), last_row }];
            }
            if !batch.moved.is_empty() {
                return Ok(Some(batch));
            }
        }
        std::thread::sleep(wait.min(Duration::from_millis(5)));
        Ok(None)
    }
}
