//! Reads the newest records of a topic, of each of its partitions: bounded in records, bytes and time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use checkpoint::{TopicPartition, protocol::SourceFacts};
use connectors::{Error, Log, RawBatch, Read, ReadFrom};
use operators::{places::Place, trial::Sample};

/// How many of the newest records of a topic are read, spread over its partitions; at least one of each.
const RECORDS: usize = 1000;
/// The most bytes that are read of a topic, overshot by a batch.
const BYTES: usize = 32 << 20;
/// How long a topic is read at most.
const WITHIN: Duration = Duration::from_secs(5);
/// After how long without anything new what came is taken for all: what is left stands after a transaction that is open.
const QUIET: Duration = Duration::from_secs(1);
/// How much further back a partition is read whose newest offsets have no record.
const FURTHER: i64 = 50;

/// What was read of a topic.
pub struct TopicSample {
    /// The stream that it belongs to, by number.
    pub stream: usize,
    /// Its name.
    pub topic: String,
    /// The records.
    pub samples: Vec<Sample>,
    /// Why there are none, if there are none.
    pub nothing: &'static str,
    /// The partitions that open transactions hold up, and where: records from that offset on cannot be read.
    pub held_up: Vec<(i32, i64)>,
    /// What reading it ended in, if that was an error.
    pub error: Option<Error>,
}

/// A partition, the first offset that is read of it, and the one after the last.
type Window = (TopicPartition, i64, i64);

/// Reads a topic with these partitions.
pub fn read(log: &dyn Log, stream: usize, topic: &str, partitions: &BTreeMap<i32, SourceFacts>) -> TopicSample {
    let newest = (RECORDS / partitions.len().max(1)).max(1) as i64;
    let back = |offsets: i64| -> Vec<Window> {
        let window = |(p, facts): (&i32, &SourceFacts)| {
            (TopicPartition::new(topic, *p), facts.low.max(facts.last_stable - offsets), facts.last_stable)
        };
        partitions.iter().map(window).filter(|(_, from, end)| from < end).collect()
    };
    let mut reading = Reading { log, samples: Vec::new(), bytes: 0, seen: BTreeSet::new(), since: Instant::now() };
    let first = back(newest);
    let is_empty = first.is_empty();
    let mut error = reading.read(&first).err();
    // Offsets of transaction markers and aborted records are no records.
    let mut further = back(newest * FURTHER);
    further.retain(|(partition, from, _)| {
        let is_further = first.iter().any(|(other, later, _)| other == partition && from < later);
        is_further && !reading.seen.contains(partition)
    });
    if error.is_none() && !further.is_empty() {
        error = reading.read(&further).err();
    }
    let held_up = held_up(partitions);
    let nothing = match (is_empty, held_up.is_empty()) {
        (true, true) => "it is empty",
        (true, false) => "all its records are of transactions that are open, or come after them",
        (false, _) => {
            "its newest offsets have no record: they are of transactions that were aborted, or were compacted"
        }
    };
    TopicSample { stream, topic: topic.into(), samples: reading.samples, nothing, held_up, error }
}

/// Where open transactions begin.
fn held_up(partitions: &BTreeMap<i32, SourceFacts>) -> Vec<(i32, i64)> {
    let held_up = partitions.iter().filter(|(_, facts)| facts.last_stable < facts.high_watermark);
    held_up.map(|(partition, facts)| (*partition, facts.last_stable)).collect()
}

/// What was read so far.
struct Reading<'a> {
    log: &'a dyn Log,
    samples: Vec<Sample>,
    bytes: usize,
    /// Partitions of which there is a record.
    seen: BTreeSet<TopicPartition>,
    since: Instant,
}

impl Reading<'_> {
    fn read(&mut self, windows: &[Window]) -> Result<(), Error> {
        if windows.is_empty() {
            return Ok(());
        }
        let from: Vec<ReadFrom> = windows.iter().map(|(p, from, _)| ReadFrom::offset(p.clone(), *from)).collect();
        let place = |(partition, start, _): &Window| Place {
            partition: partition.clone(),
            topic_id: String::new(),
            stream: 0,
            start: *start,
            leader_epoch: None,
            until: None,
        };
        let places: Arc<[Place]> = windows.iter().map(place).collect();
        let mut reader = self.log.read(&from)?;
        for (place, (_, _, end)) in windows.iter().enumerate() {
            reader.allow(place, Some(*end))?;
        }
        let mut done = vec![false; windows.len()];
        let (mut records, mut newest) = (0, None::<Instant>);
        while self.since.elapsed() < WITHIN && self.bytes < BYTES && records < RECORDS.max(windows.len()) {
            let batch: RawBatch = match reader.next(Duration::from_millis(200))? {
                Some(Read::Batch(batch)) => batch,
                Some(Read::Lost { error, .. }) => return Err(error),
                None if newest.is_some_and(|newest| newest.elapsed() >= QUIET) => break,
                None => continue,
            };
            for run in &batch.runs {
                let place = run.place as usize;
                if let (Some(done), Some((partition, _, end))) = (done.get_mut(place), windows.get(place)) {
                    *done = run.position >= *end;
                    self.seen.extend(run.first_offset.map(|_| partition.clone()));
                }
            }
            if !batch.is_empty() {
                newest = Some(Instant::now());
                records += batch.len();
                self.bytes += batch.bytes();
                self.samples.push(Sample::new(batch, places.clone()));
            }
            if done.iter().all(|done| *done) {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use connectors::memory::MemoryLog;

    use super::*;

    fn facts(log: &MemoryLog, topic: &str) -> BTreeMap<i32, SourceFacts> {
        log.partitions(topic).unwrap().unwrap()
    }

    #[test]
    fn the_newest_of_every_partition() {
        let log = MemoryLog::default();
        log.create("t", 3);
        for n in 0..1500 {
            log.send("t", 0, &n.to_string());
        }
        log.send("t", 2, "one");
        let read = read(&log, 7, "t", &facts(&log, "t"));
        assert!(read.error.is_none());
        let mut values: Vec<Vec<u8>> = Vec::new();
        for sample in &read.samples {
            values.extend((0..sample.len()).filter_map(|record| sample.value(record)).map(<[u8]>::to_vec));
        }
        values.sort();
        assert_eq!(values.len(), 334, "a third of them, and the one of the other partition");
        assert!(values.contains(&b"1499".to_vec()) && values.contains(&b"1167".to_vec()));
        assert!(values.contains(&b"one".to_vec()) && !values.contains(&b"1166".to_vec()));
        log.create("empty", 1);
        let read = super::read(&log, 0, "empty", &facts(&log, "empty"));
        assert!(read.samples.is_empty() && read.nothing.contains("empty"));
    }
}
