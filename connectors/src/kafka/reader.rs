//! Reads some partitions, each from an offset on.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use rdkafka::{Offset, TopicPartitionList, consumer::Consumer};

use super::{
    answers::{self, Answer},
    assigned::Assigned,
    bounds::Bounds,
    client::{Client, assign},
    error::{Asked, Said, failed},
    native::{self, Broken},
    settings::Settings,
};
use crate::{Error, RawBatch, Read, ReadFrom, Reader, Result, Run, Trust};

/// The most records of a batch, and the fewest that are asked for.
const BATCH_RECORDS: usize = 8192;
const RECORDS_MIN: usize = 16;
/// What a record is taken to be before one was seen, in bytes.
const FIRST_GUESS_BYTES: usize = 4096;

/// Pure: how many records to ask for, so that a batch has about so many bytes. `average` is that of the last batch.
fn records_for(batch_bytes: usize, average: usize) -> usize {
    (batch_bytes / average.max(1)).clamp(RECORDS_MIN, BATCH_RECORDS)
}

/// Reads some partitions.
pub(super) struct KafkaReader {
    // Dropped before the client.
    queue: native::Queue,
    client: Client,
    assigned: Assigned,
    /// How far each partition was taken out of the client, and how far it was given: the same, but where there is a bound.
    taken: Vec<i64>,
    given: Vec<i64>,
    /// What is known of each partition.
    known: Vec<Answer>,
    bounds: Bounds,
    /// Partitions that give nothing any more.
    lost: BTreeSet<usize>,
    /// What was taken together: batches of one topic each, then errors.
    ready: VecDeque<Result<Read>>,
    /// How many bytes a batch is to have, and how many records that is, by the size of the last ones.
    batch_bytes: usize,
    ask_for: usize,
    /// Whether anybody was let in before.
    rights: Arc<Trust>,
}

impl KafkaReader {
    /// Begins at these offsets.
    pub(super) fn open(settings: &Settings, from: &[ReadFrom], rights: Arc<Trust>) -> Result<KafkaReader> {
        let client = Client::with(settings, &[("statistics.interval.ms", &answers::EVERY.as_millis().to_string())])?;
        assign(&client, from.iter().map(|from| (&from.partition, from.offset)))?;
        let positions: Vec<i64> = from.iter().map(|from| from.offset).collect();
        Ok(KafkaReader {
            queue: native::Queue::new(&client.consumer, settings.headers)?,
            client,
            taken: positions.clone(),
            given: positions,
            known: vec![Answer::default(); from.len()],
            assigned: Assigned::new(from.iter().map(|from| from.partition.clone()).collect()),
            bounds: Bounds::default(),
            lost: BTreeSet::new(),
            ready: VecDeque::new(),
            batch_bytes: settings.batch_bytes,
            ask_for: records_for(settings.batch_bytes, FIRST_GUESS_BYTES),
            rights,
        })
    }
}

impl Reader for KafkaReader {
    fn next(&mut self, wait: Duration) -> Result<Option<Read>> {
        match self.try_next(wait) {
            // Nobody was asked whether we are let in.
            Ok(None) => Ok(None),
            Ok(Some(Read::Lost { place, error })) => {
                self.rights.judge(Err(error)).or_else(|error| Ok(Some(Read::Lost { place, error })))
            }
            result => self.rights.judge(result),
        }
    }

    fn allow(&mut self, place: usize, until: Option<i64>) -> Result<()> {
        self.bounds.allow(place, until);
        Ok(())
    }
}

impl KafkaReader {
    fn try_next(&mut self, wait: Duration) -> Result<Option<Read>> {
        if self.ready.is_empty() && !self.bounds.is_empty() {
            self.release()?;
        }
        if let Some(read) = self.ready.pop_front() {
            return read.map(Some);
        }
        let mut batches = vec![RawBatch::default(); self.assigned.groups()];
        let broken = self.queue.take(wait, self.ask_for, &self.assigned, &mut batches, None, &mut self.lost)?;
        let (records, bytes) = batches.iter().fold((0, 0), |(n, b), batch| (n + batch.len(), b + batch.bytes()));
        if let Some(average) = bytes.checked_div(records) {
            self.ask_for = records_for(self.batch_bytes, average);
        }
        // Where something could not be read the consumer's position has passed it. Ours ends with the last record before that.
        let is_over = broken.iter().any(|broken| broken.place.is_none());
        for batch in &batches {
            let ends = batch.runs.iter().filter(|run| is_over || self.lost.contains(&(run.place as usize)));
            for (place, row) in ends.filter_map(|run| Some((run.place as usize, run.last_row?))) {
                self.taken[place] = batch.offsets[row] + 1;
            }
        }
        if !is_over {
            self.ask_positions()?;
        }
        if !self.bounds.is_empty() {
            for batch in &mut batches {
                let pause = self.bounds.hold_back(batch)?;
                self.pause(&pause)?;
            }
        }
        // Brokers that are away are waited for. Those that do not let us in will not do so later.
        if let Some(said) = self.client.said().filter(Said::is_final) {
            return Err(said.refusal(&Asked::records(None)));
        }
        self.hear();
        self.place(&mut batches)?;
        for Broken { place, error } in broken {
            self.ready.push_back(match place {
                Some(place) => Ok(Read::Lost { place, error }),
                None => Err(error),
            });
        }
        self.ready.pop_front().transpose()
    }

    /// Straight after the batches were taken, and before anything else can move it: what the consumer says now is where they
    /// end, control records included.
    fn ask_positions(&mut self) -> Result<()> {
        let positions = self.client.consumer.position().map_err(|e| failed(&Asked::of_client("position"), e, None))?;
        for element in positions.elements() {
            let Offset::Offset(position) = element.offset() else { continue }; // nothing came yet
            let Some(place) = self.assigned.place(element.topic(), element.partition()) else { continue };
            if self.lost.contains(&place) {
                continue;
            }
            let known = &mut self.taken[place];
            if position < *known {
                return Err(Error::bug(format!(
                    "{}: the position went back from {known} to {position}",
                    self.assigned.partitions[place]
                )));
            }
            *known = position;
        }
        Ok(())
    }

    /// Takes up what the client's statistics say, if there are new ones.
    fn hear(&mut self) {
        let Some(text) = self.client.statistics() else { return };
        for (place, answer) in answers::answers(&text, &self.assigned) {
            let known = &mut self.known[place];
            *known = Answer { is_new: answer.is_new || known.is_new, ..answer };
        }
    }

    /// Says where each partition stands that moved or was answered, and makes the batches ready.
    fn place(&mut self, batches: &mut Vec<RawBatch>) -> Result<()> {
        for place in 0..self.taken.len() {
            let position = self.bounds.position(place, self.taken[place]);
            let batch = &mut batches[self.assigned.group(place)];
            let run = match batch.runs.iter_mut().find(|run| run.place == place as i32) {
                Some(run) => run,
                None if position == self.given[place] && !self.known[place].is_new => continue,
                None => {
                    batch.runs.push(Run { place: place as i32, ..Run::default() });
                    let last = batch.runs.len() - 1;
                    &mut batch.runs[last]
                }
            };
            run.position = position;
            if run.last_row.is_some_and(|row| batch.offsets[row] >= position) {
                return Err(Error::bug(format!("{}: records without a position", self.assigned.partitions[place])));
            }
            let Answer { last_stable, high_watermark, is_new } = &mut self.known[place];
            (run.last_stable, run.high_watermark) = (*last_stable, *high_watermark);
            // Records are an answer as well.
            run.answered = std::mem::take(is_new) || run.first_offset.is_some();
            self.given[place] = position;
        }
        self.ready.extend(batches.drain(..).filter(|batch| !batch.runs.is_empty()).map(|b| Ok(Read::Batch(b))));
        Ok(())
    }

    /// Gives what was held and is allowed by now.
    fn release(&mut self) -> Result<()> {
        let (released, resume) = self.bounds.release()?;
        for batch in released {
            let mut batches = vec![RawBatch::default(); self.assigned.groups()];
            let group = batch.runs.first().map_or(0, |run| self.assigned.group(run.place as usize));
            batches[group] = batch;
            self.place(&mut batches)?;
        }
        // A bound between two records: positions alone.
        self.place(&mut vec![RawBatch::default(); self.assigned.groups()])?;
        let partitions = self.list(&resume);
        if !resume.is_empty() {
            self.client.consumer.resume(&partitions).map_err(|e| failed(&Asked::of_client("resume"), e, None))?;
        }
        Ok(())
    }

    fn pause(&self, places: &[usize]) -> Result<()> {
        if places.is_empty() {
            return Ok(());
        }
        self.client.consumer.pause(&self.list(places)).map_err(|e| failed(&Asked::of_client("pause"), e, None))
    }

    fn list(&self, places: &[usize]) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for place in places {
            let partition = &self.assigned.partitions[*place];
            list.add_partition(&partition.topic, partition.partition);
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_records_make_short_batches() {
        let mb = 1 << 20;
        assert_eq!(records_for(8 * mb, 300), BATCH_RECORDS);
        assert_eq!(records_for(mb, 1024), 1024);
        assert_eq!(records_for(64 << 10, mb), RECORDS_MIN);
        assert_eq!(records_for(mb, 0), BATCH_RECORDS, "tombstones alone");
    }
}
