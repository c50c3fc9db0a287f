//! A reader that is told where partitions end, for questions about what lies before: it lives for one question.
//!
//! librdkafka gives an end-of-partition event when all below the last stable offset was fetched, also where that is nothing but
//! records of aborted transactions, of which a reader sees nothing. The event moves a consumer's position one too far, so
//! that of this one is never asked for.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use checkpoint::{LastRecord, TopicPartition, manifest};
use rdkafka::{TopicPartitionList, consumer::Consumer};

use super::{
    assigned::{Assigned, End},
    client::{Client, UNCOMMITTED, assign},
    error::{Asked, Said, failed},
    native::{self, Broken},
    settings::Settings,
};
use crate::{Error, Fault, RawBatch, Result};

pub(super) struct EndReader {
    // Dropped before the client.
    queue: native::Queue,
    client: Client,
    assigned: Assigned,
    lost: BTreeSet<usize>,
    /// What came after the batches that were given last. It is said once, so it must not be forgotten.
    broken: Option<Error>,
}

impl EndReader {
    /// Begins at these offsets.
    pub(super) fn open(settings: &Settings, from: &[(TopicPartition, i64)]) -> Result<EndReader> {
        EndReader::with(settings, from, &[])
    }

    /// The same with these properties of a client.
    fn with(settings: &Settings, from: &[(TopicPartition, i64)], properties: &[(&str, &str)]) -> Result<EndReader> {
        let client = Client::with(settings, &[&[("enable.partition.eof", "true")], properties].concat())?;
        assign(&client, from.iter().map(|(partition, offset)| (partition, *offset)))?;
        let assigned = Assigned::new(from.iter().map(|(p, _)| p.clone()).collect());
        let queue = native::Queue::new(&client.consumer, false)?;
        Ok(EndReader { queue, client, assigned, lost: BTreeSet::new(), broken: None })
    }

    /// Batches of one topic each, and ends. A batch says nothing of positions. An error is given after what came before
    /// it, and is the end.
    pub(super) fn take(&mut self, wait: Duration, most: usize) -> Result<(Vec<RawBatch>, Vec<End>)> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        let (batches, ends, broken) = self.take_all(wait, most)?;
        let is_empty = ends.is_empty() && batches.iter().all(RawBatch::is_empty);
        match broken.into_iter().next().map(|broken| broken.error) {
            Some(error) if is_empty => Err(error),
            error => {
                self.broken = error;
                Ok((batches, ends))
            }
        }
    }

    fn take_all(&mut self, wait: Duration, most: usize) -> Result<(Vec<RawBatch>, Vec<End>, Vec<Broken>)> {
        let (mut batches, mut ends) = (vec![RawBatch::default(); self.assigned.groups()], Vec::new());
        let broken = self.queue.take(wait, most, &self.assigned, &mut batches, Some(&mut ends), &mut self.lost)?;
        if let Some(said) = self.client.said().filter(Said::is_final) {
            return Err(said.refusal(&Asked::records(None)));
        }
        Ok((batches, ends, broken))
    }

    /// Reads no more of these partitions.
    fn leave<'p>(&self, partitions: impl Iterator<Item = &'p TopicPartition>) -> Result<()> {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&partition.topic, partition.partition);
        }
        self.client.consumer.pause(&list).map_err(|e| failed(&Asked::of_client("pause"), e, None))
    }
}

/// How many messages are taken at once where the last records of many partitions are asked for.
const MANY: usize = 1000;

/// [`crate::Log::records_at`]. One reader for all: the first thing that comes of a partition decides.
pub(super) fn records_at(settings: &Settings, at: &[(TopicPartition, i64)]) -> Result<Vec<Option<LastRecord>>> {
    let mut known: Vec<Option<Option<LastRecord>>> = vec![None; at.len()];
    // Many at a time. Where there is an error that may be of the moment, the rest is read one at a time, by another reader.
    for most in [MANY, 1] {
        let left: Vec<usize> = (0..at.len()).filter(|place| known[*place].is_none()).collect();
        let asked: Vec<(TopicPartition, i64)> = left.iter().map(|place| at[*place].clone()).collect();
        for (place, found) in left.into_iter().zip(some_records_at(settings, &asked, most)?) {
            known[place] = found;
        }
    }
    if let Some(place) = known.iter().position(Option::is_none) {
        let (partition, offset) = &at[place];
        let within = settings.answer_within;
        let what = format!("Kafka FETCH {partition}: no answer for the record at offset {offset} within {within:?}");
        return Err(Error::new(Fault::Outage, what));
    }
    Ok(known.into_iter().flatten().collect())
}

/// The same until nothing came for too long, or an error came; then some are not known.
fn some_records_at(
    settings: &Settings,
    at: &[(TopicPartition, i64)],
    most: usize,
) -> Result<Vec<Option<Option<LastRecord>>>> {
    let mut known: Vec<Option<Option<LastRecord>>> = vec![None; at.len()];
    if at.is_empty() {
        return Ok(known);
    }
    let mut reader = EndReader::open(settings, at)?;
    let (mut left, mut since, within) = (at.len(), Instant::now(), settings.answer_within);
    while left > 0 && since.elapsed() < within {
        let (batches, ends, broken) = reader.take_all(Duration::from_millis(100), most)?;
        let mut decided: Vec<usize> = Vec::new();
        let mut decide = |place: usize, record: Option<LastRecord>| {
            if known[place].is_none() {
                known[place] = Some(record);
                decided.push(place);
            }
        };
        for batch in &batches {
            for (row, (place, offset)) in batch.partitions.iter().zip(&batch.offsets).enumerate() {
                let place = *place as usize;
                let record = || LastRecord {
                    offset: *offset,
                    timestamp_ms: batch.timestamps_ms[row],
                    fingerprint: manifest::fingerprint(batch.keys.get(row), batch.values.get(row)),
                };
                decide(place, (*offset == at[place].1).then(record));
            }
        }
        // All that there is was read, and it is not there. A log that ends below it may be a broker's that lags.
        ends.iter().filter(|(place, end)| *end > at[*place].1).for_each(|(place, _)| decide(*place, None));
        let mut is_broken = false;
        for Broken { place, error } in broken {
            match place {
                // Below the first offset there is: gone by retention.
                Some(place) if error.fault == Fault::Refused => decide(place, None),
                _ if most > 1 => is_broken = true,
                _ => return Err(error),
            }
        }
        if is_broken {
            return Ok(known);
        }
        if !decided.is_empty() {
            (left, since) = (left - decided.len(), Instant::now());
            reader.leave(decided.iter().map(|place| &at[*place].0))?;
        }
    }
    Ok(known)
}

/// [`crate::Log::is_read_up`].
pub(super) fn are_read_up(settings: &Settings, at: &[(TopicPartition, i64, i64)]) -> Result<Vec<bool>> {
    let from: Vec<(TopicPartition, i64)> = at.iter().map(|(partition, from, _)| (partition.clone(), *from)).collect();
    let mut reader = EndReader::open(settings, &from)?;
    let mut known: Vec<Option<bool>> = vec![None; at.len()];
    let (since, within) = (Instant::now(), settings.answer_within);
    while since.elapsed() < within {
        let (batches, ends) = reader.take(Duration::from_millis(100), 1000)?;
        let rows = batches.iter().flat_map(|batch| batch.partitions.iter().zip(&batch.offsets));
        // The first record or end of a partition that decides stays.
        for (place, offset) in rows {
            let (_, _, until) = at[*place as usize];
            known[*place as usize].get_or_insert(*offset >= until);
        }
        for (place, end) in ends {
            // One below `until` is from a broker that does not know yet how far the log goes.
            if end >= at[place].2 {
                known[place].get_or_insert(true);
            }
        }
        if let Some(known) = known.iter().copied().collect() {
            return Ok(known);
        }
    }
    let what = format!("Kafka FETCH: no answer within {within:?} whether {} partitions are read up", at.len());
    Err(Error::new(Fault::Outage, what))
}

/// [`crate::Log::first_timestamps`].
pub(super) fn first_timestamps(settings: &Settings, at: &[(TopicPartition, i64)]) -> Result<Vec<Option<i64>>> {
    if at.is_empty() {
        return Ok(Vec::new());
    }
    let mut reader = EndReader::with(settings, at, UNCOMMITTED)?;
    let mut known: Vec<Option<Option<i64>>> = vec![None; at.len()];
    let (since, within) = (Instant::now(), settings.answer_within);
    while since.elapsed() < within {
        let (batches, ends) = reader.take(Duration::from_millis(100), MANY)?;
        let mut decided = Vec::new();
        let rows = batches.iter().flat_map(|batch| batch.partitions.iter().zip(&batch.timestamps_ms));
        let rows = rows.map(|(place, timestamp_ms)| (*place as usize, (*timestamp_ms >= 0).then_some(*timestamp_ms)));
        for (place, first) in rows.chain(ends.iter().map(|(place, _)| (*place, None))) {
            if known[place].is_none() {
                known[place] = Some(first);
                decided.push(&at[place].0);
            }
        }
        if let Some(known) = known.iter().copied().collect() {
            return Ok(known);
        }
        reader.leave(decided.into_iter())?;
    }
    let what = format!("no answer within {within:?} since when records of {} partitions wait", at.len());
    Err(Error::new(Fault::Outage, what))
}

/// What stands at an offset, or first after it.
enum There {
    /// A record, or the end of the partition, at this offset.
    Readable(i64),
    /// A damaged batch that begins here.
    Damaged(i64),
}

/// [`crate::Log::next_readable`]. librdkafka says of a damaged batch where it begins, and not where it ends; and after one it may go on
/// anywhere, because the end stands in what it does not read. But from any offset within the batch it meets the same batch. So its
/// end is searched for: by steps that double, and then by halves.
pub(super) fn next_readable(settings: &Settings, partition: &TopicPartition, from: i64) -> Result<i64> {
    let mut at = from;
    loop {
        let batch = match look(settings, partition, at)? {
            There::Readable(offset) => return Ok(offset),
            There::Damaged(batch) => batch,
        };
        let is_same = |offset: i64| Ok(matches!(look(settings, partition, offset)?, There::Damaged(b) if b == batch));
        // Of the batch, and the first that is known not to be.
        let (mut inside, mut step) = (at, 1);
        while is_same(at + step)? {
            (inside, step) = (at + step, step * 2);
        }
        let mut outside = at + step;
        while outside - inside > 1 {
            let middle = inside + (outside - inside) / 2;
            match is_same(middle)? {
                true => inside = middle,
                false => outside = middle,
            }
        }
        at = outside;
    }
}

fn look(settings: &Settings, partition: &TopicPartition, from: i64) -> Result<There> {
    let mut reader = EndReader::open(settings, &[(partition.clone(), from)])?;
    let (since, within) = (Instant::now(), settings.answer_within);
    while since.elapsed() < within {
        let (batches, ends) = match reader.take(Duration::from_millis(100), 1) {
            Err(error) => match error.fault {
                Fault::Damaged { offset, .. } => return Ok(There::Damaged(offset)),
                _ => return Err(error),
            },
            Ok(taken) => taken,
        };
        let first = batches.iter().flat_map(|batch| batch.offsets.first()).min();
        if let Some(found) = first.copied().or(ends.first().map(|(_, end)| *end)) {
            return Ok(There::Readable(found));
        }
    }
    let what = format!("Kafka FETCH {partition}: no answer within {within:?} what can be read from offset {from} on");
    Err(Error::new(Fault::Outage, what))
}
