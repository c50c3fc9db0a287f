//! Reads some partitions, each from an offset on.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use checkpoint::TopicPartition;
use rdkafka::{Offset, consumer::Consumer};

use super::{
    assigned::Assigned,
    client::{Client, assign},
    error::{Said, failed},
    native,
    settings::Settings,
};
use crate::{Error, Fault, Moved, RawBatch, Reader, Result, Trust};

/// The most records of a batch, and the fewest that are asked for.
const BATCH_RECORDS: usize = 8192;
const FEWEST_RECORDS: usize = 16;
/// What a record is taken to be before one was seen, in bytes.
const FIRST_GUESS_BYTES: usize = 4096;

/// Pure: how many records to ask for, so that a batch has about so many bytes. `average` is that of the last batch.
fn records_for(batch_bytes: usize, average: usize) -> usize {
    (batch_bytes / average.max(1)).clamp(FEWEST_RECORDS, BATCH_RECORDS)
}

/// Reads some partitions.
pub(super) struct KafkaReader {
    // Dropped before the client.
    queue: native::Queue,
    client: Client,
    assigned: Assigned,
    /// Where each partition stands behind the last batch.
    positions: Vec<i64>,
    /// Batches of one topic each that were taken together.
    ready: VecDeque<RawBatch>,
    /// What came after those.
    broken: Option<Error>,
    /// How many bytes a batch is to have, and how many records that is, by the size of the last ones.
    batch_bytes: usize,
    ask_for: usize,
    /// Whether anybody was let in before.
    rights: Arc<Trust>,
}

impl KafkaReader {
    /// Begins at these offsets.
    pub(super) fn open(settings: &Settings, from: &[(TopicPartition, i64)], rights: Arc<Trust>) -> Result<KafkaReader> {
        let client = Client::new(settings)?;
        assign(&client, from)?;
        Ok(KafkaReader {
            queue: native::Queue::new(&client.consumer, settings.headers)?,
            client,
            positions: from.iter().map(|(_, offset)| *offset).collect(),
            assigned: Assigned::new(from.iter().map(|(p, _)| p.clone()).collect()),
            ready: VecDeque::new(),
            broken: None,
            batch_bytes: settings.batch_bytes,
            ask_for: records_for(settings.batch_bytes, FIRST_GUESS_BYTES),
            rights,
        })
    }
}

impl Reader for KafkaReader {
    fn next(&mut self, wait: Duration) -> Result<Option<RawBatch>> {
        match self.try_next(wait) {
            // Nobody was asked whether we are let in.
            Ok(None) => Ok(None),
            result => self.rights.judge(result),
        }
    }
}

impl KafkaReader {
    fn try_next(&mut self, wait: Duration) -> Result<Option<RawBatch>> {
        if let Some(batch) = self.ready.pop_front() {
            return Ok(Some(batch));
        }
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        let mut batches = vec![RawBatch::default(); self.assigned.groups()];
        let broken = self.queue.take(wait, self.ask_for, &self.assigned, &mut batches, None)?;
        let (records, bytes) = batches.iter().fold((0, 0), |(n, b), batch| (n + batch.len(), b + batch.bytes()));
        if let Some(average) = bytes.checked_div(records) {
            self.ask_for = records_for(self.batch_bytes, average);
        }
        let error = broken.map(|broken| broken.error);
        match error {
            None => self.ask_positions(&mut batches)?,
            // The consumer's position has passed what it could not read. Ours ends with the last record that came before that.
            Some(_) => self.end_with_records(&mut batches),
        }
        self.broken = error;
        if let Some(moved) = batches.iter().flat_map(|b| &b.moved).find(|m| m.position < 0) {
            return Err(Error::bug(format!(
                "{}: records without a position",
                self.assigned.partitions[moved.partition as usize]
            )));
        }
        // Brokers that are away are waited for. Those that do not let us in will not do so later.
        if let Some(said) = self.client.said().filter(Said::is_denied) {
            return Err(Error::new(Fault::Denied, "cannot read").because(said));
        }
        self.ready.extend(batches.into_iter().filter(|batch| !batch.moved.is_empty()));
        match self.ready.pop_front() {
            Some(batch) => Ok(Some(batch)),
            None => self.broken.take().map_or(Ok(None), Err),
        }
    }

    /// Straight after the batches were taken, and before anything else can move it: what the consumer says now is where they
    /// end, control records included.
    fn ask_positions(&mut self, batches: &mut [RawBatch]) -> Result<()> {
        let what = || "cannot read the consumer's position".to_string();
        let positions = self.client.consumer.position().map_err(|e| failed(what(), e, None))?;
        for element in positions.elements() {
            let Offset::Offset(position) = element.offset() else { continue }; // nothing came yet
            let Some(place) = self.assigned.place(element.topic(), element.partition()) else { continue };
            let known = &mut self.positions[place];
            if position == *known {
                continue;
            }
            if position < *known {
                return Err(Error::bug(format!(
                    "{}: the position went back from {known} to {position}",
                    self.assigned.partitions[place]
                )));
            }
            *known = position;
            let batch = &mut batches[self.assigned.group(place)];
            match batch.moved.iter_mut().find(|m| m.partition == place as i32) {
                Some(moved) => moved.position = position,
                None => {
                    batch.moved.push(Moved { partition: place as i32, position, leader_epoch: None, last_row: None })
                }
            }
        }
        Ok(())
    }

    fn end_with_records(&mut self, batches: &mut [RawBatch]) {
        for batch in batches {
            for moved in &mut batch.moved {
                if let Some(row) = moved.last_row {
                    moved.position = batch.offsets[row] + 1;
                    self.positions[moved.partition as usize] = moved.position;
                }
            }
        }
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
        assert_eq!(records_for(64 << 10, mb), FEWEST_RECORDS);
        assert_eq!(records_for(mb, 0), BATCH_RECORDS, "tombstones alone");
    }
}
