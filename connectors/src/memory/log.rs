//! A log in memory: topics to which a test appends, control records and aborted ones included.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use checkpoint::{
    LastRecord, TopicPartition, manifest,
    protocol::{SourceFacts, Start},
};

use super::trouble::{Bar, lock};
use crate::{Error, Fault, Log, RawBatch, Read, ReadFrom, Reader, Result, Run, StartAt};

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
                last_stable: end_of(entries) as i64,
                high_watermark: entries.len() as i64,
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
                StartAt::Latest => facts.last_stable,
                StartAt::Time(ms) => first_at(partition, ms).map_or(facts.last_stable, |o| o as i64),
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

    fn first_timestamps(&self, at: &[(TopicPartition, i64)]) -> Result<Vec<Option<i64>>> {
        self.1.pass()?;
        let topics = lock(&self.0);
        let first = |(partition, offset): &(TopicPartition, i64)| {
            let (_, entries) = find(&topics, partition)?;
            let timestamp_ms = |entry: &Entry| match entry {
                Entry::Record { timestamp_ms, .. } => Some(*timestamp_ms),
                Entry::Aborted | Entry::Open(_) => Some(0),
                Entry::Unseen | Entry::Damaged => None,
            };
            Ok(entries.iter().skip(*offset as usize).find_map(timestamp_ms))
        };
        at.iter().map(first).collect()
    }

    fn read(&self, from: &[ReadFrom]) -> Result<Box<dyn Reader>> {
        let at = |from: &ReadFrom| At {
            partition: from.partition.clone(),
            offset: from.offset,
            until: None,
            is_lost: false,
        };
        let at = from.iter().map(at).collect();
        Ok(Box::new(MemoryReader { topics: self.0.clone(), bar: self.1.clone(), at, next: 0, told: Instant::now() }))
    }
}

/// The first offset of a partition, and what stands in it.
fn find<'t>(topics: &'t BTreeMap<String, Topic>, partition: &TopicPartition) -> Result<&'t (i64, Vec<Entry>)> {
    let topic = topics.get(&*partition.topic);
    let found = topic.and_then(|topic| topic.partitions.get(partition.partition as usize));
    found.ok_or_else(|| Error::new(Fault::Missing, format!("there is no {partition}")))
}

/// How often a partition that does not move says that it was answered.
const TELL_EVERY: Duration = Duration::from_millis(500);

struct MemoryReader {
    topics: Topics,
    bar: Bar,
    at: Vec<At>,
    next: usize,
    /// When those that do not move were told of.
    told: Instant,
}

/// Where a partition stands.
struct At {
    partition: TopicPartition,
    offset: i64,
    until: Option<i64>,
    is_lost: bool,
}

impl Reader for MemoryReader {
    fn next(&mut self, wait: Duration) -> Result<Option<Read>> {
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
            let at = &mut self.at[place];
            if at.is_lost {
                continue;
            }
            match read_on(&lock(&self.topics), place, at) {
                Ok(batch) if batch.runs.is_empty() => {}
                Ok(batch) => return Ok(Some(Read::Batch(batch))),
                Err(error) => {
                    at.is_lost = true;
                    return Ok(Some(Read::Lost { place, error }));
                }
            }
        }
        std::thread::sleep(wait.min(Duration::from_millis(5)));
        if self.told.elapsed() < TELL_EVERY {
            return Ok(None);
        }
        self.told = Instant::now();
        let topics = lock(&self.topics);
        let there = self.at.iter().enumerate().filter(|(_, at)| !at.is_lost);
        // All topics at once: without records it does not matter that a batch is of one.
        let runs = there.filter_map(|(place, at)| {
            let (_, entries) = find(&topics, &at.partition).ok()?;
            Some(Run { position: at.offset, leader_epoch: None, ..run(place, entries) })
        });
        Ok(Some(Read::Batch(RawBatch { runs: runs.collect(), ..RawBatch::default() })))
    }

    fn allow(&mut self, place: usize, until: Option<i64>) -> Result<()> {
        self.at[place].until = until;
        Ok(())
    }
}

/// A run of a partition without records.
fn run(place: usize, entries: &[Entry]) -> Run {
    Run {
        place: place as i32,
        leader_epoch: Some(0),
        last_stable: Some(end_of(entries) as i64),
        high_watermark: Some(entries.len() as i64),
        answered: true,
        ..Run::default()
    }
}

/// What comes next of one partition; a batch without a run if nothing does.
fn read_on(topics: &BTreeMap<String, Topic>, place: usize, at: &mut At) -> Result<RawBatch> {
    let (low, all) = find(topics, &at.partition)?;
    let entries = &all[..end_of(all)];
    if !(*low..=entries.len() as i64).contains(&at.offset) {
        return Err(Error::new(Fault::Refused, format!("{} has no offset {}", at.partition, at.offset)));
    }
    let mut batch = RawBatch::default();
    let (from, mut last_row) = (at.offset as usize, None);
    // Few at a time, so that a reader after this meets more than one batch.
    let seen = entries.iter().enumerate().skip(from).filter(|(_, e)| **e != Entry::Aborted);
    for (offset, entry) in seen.take(100) {
        let offset = offset as i64;
        if at.until.is_some_and(|until| offset >= until) {
            break;
        }
        if *entry == Entry::Damaged {
            if batch.runs.is_empty() {
                return Err(Error::new(Fault::Damaged { place, offset }, "its checksum is wrong"));
            }
            break;
        }
        if let Entry::Record { key, value, timestamp_ms } = entry {
            last_row = Some(batch.len());
            batch.partitions.push(place as i32);
            batch.offsets.push(offset);
            batch.timestamps_ms.push(*timestamp_ms);
            batch.keys.push(key.as_deref())?;
            batch.values.push(value.as_deref())?;
        }
        at.offset = offset + 1;
        let first_offset = batch.offsets.first().copied();
        batch.runs = vec![Run { position: at.offset, first_offset, last_row, ..run(place, all) }];
    }
    Ok(batch)
}
