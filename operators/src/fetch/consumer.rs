//! The consumer thread of a worker: reads until nobody needs it, and blocks when the operator does not take what it has.
//!
//! What it does after an error is decided by [`remedy`]:
//!
//! * an outage, or a damaged batch that is met for the first time: the reader is opened anew where it stood, so that secrets are read
//!   anew and a batch that was damaged on its way comes again;
//! * a damaged batch that is damaged again: the log is. The reader passes it and goes on; we must not. What was read is all there is;
//! * the log refuses a position: it is asked what is there instead;
//! * anything else ends the process.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use checkpoint::{
    LastRecord, TopicPartition, manifest,
    protocol::{self, Halt},
};
use connectors::{
    Error, Fault, Log, RawBatch, Read, ReadFrom, Reader, Run,
    retry::{Policy, Retry},
};
use crossbeam_channel::Sender;
use timely::scheduling::SyncActivator;

use super::positions::Arrival;
use crate::{
    ending::Ending,
    events::{Event, Task, Watch},
    failure::Failure,
    outage::{try_again, until_known},
    places::Place,
    rows::{Origin, Raw},
};

/// How long it waits for records before it looks whether it is still needed.
const WAIT: Duration = Duration::from_millis(50);
/// How long nothing comes before a partition that is short of where it is to be read is asked about; each further question waits
/// twice as long.
const ASK_AFTER: Duration = Duration::from_secs(1);
const ASK_AFTER_MAX: Duration = Duration::from_secs(30);
/// A reader that was opened anew and has had no error for so long is well, also if nothing came.
const WELL_AFTER: Duration = Duration::from_secs(60);
/// What a record weighs beside its bytes: offset, timestamp, place and ends.
const BYTES_PER_RECORD: u64 = 32;

/// What it hands over. The last two are its last words.
pub(super) enum Came {
    Batch(Box<Arrived>),
    /// It cannot read on, and what it read is good.
    Over(Ending),
    Failed(Failure),
}

/// A batch.
pub(super) struct Arrived {
    pub(super) stream: usize,
    pub(super) raw: Raw,
    pub(super) bytes: u64,
    pub(super) moved: Vec<Arrival>,
}

/// Wakes the operator, once for each time it empties the queue.
#[derive(Clone)]
pub(super) struct Wake {
    wake: SyncActivator,
    pending: Arc<AtomicBool>,
}

impl Wake {
    pub(super) fn new(wake: SyncActivator) -> Wake {
        Wake { wake, pending: Arc::default() }
    }

    /// The operator is about to empty the queue.
    pub(super) fn reset(&self) {
        self.pending.store(false, Ordering::SeqCst);
    }

    /// False if the dataflow is gone.
    fn up(&self) -> bool {
        self.pending.swap(true, Ordering::SeqCst) || self.wake.activate().is_ok()
    }
}

/// What is done after an error.
#[derive(Debug, PartialEq, Eq)]
enum Remedy {
    /// The reader is opened anew where it stood.
    ReadAnew,
    /// The log is damaged here.
    Pass { place: usize, offset: i64 },
    /// The log is asked what became of it.
    Ask,
    /// Nothing helps.
    Fail,
}

/// Pure. `met` says which partition was damaged before, and where it stood then.
fn remedy(fault: Fault, stands: impl Fn(usize) -> i64, met: Option<(usize, i64)>) -> Remedy {
    match fault {
        Fault::Damaged { place, offset } if met == Some((place, stands(place))) => Remedy::Pass { place, offset },
        Fault::Damaged { .. } | Fault::Outage | Fault::Strange | Fault::TooLong => Remedy::ReadAnew,
        Fault::Refused => Remedy::Ask,
        Fault::Denied
        | Fault::Settings
        | Fault::Mismatch
        | Fault::Missing
        | Fault::NoDatabase
        | Fault::Foreign
        | Fault::Corrupt
        | Fault::Machine
        | Fault::Bug => Remedy::Fail,
    }
}

/// The thread.
pub(super) struct Consumer {
    log: Arc<dyn Log>,
    places: Arc<[Place]>,
    /// The numbers of its partitions, twice: as the engine and as batches have them.
    mine: Vec<usize>,
    mine_i32: Vec<i32>,
    /// Where each of them stands, and the leader epoch of the last record before that.
    at: Vec<(TopicPartition, i64)>,
    leader_epochs: Vec<Option<i32>>,
    reader: Option<Box<dyn Reader>>,
    policy: Policy,
    /// While it is tried again, and when the reader was opened last.
    retry: Option<Retry>,
    opened: Instant,
    /// The damage that was met last: the partition, and where it stood.
    met: Option<(usize, i64)>,
    task: Task,
    watch: Watch,
}

impl Consumer {
    pub(super) fn new(
        log: Arc<dyn Log>,
        places: Arc<[Place]>,
        mine: Vec<usize>,
        policy: Policy,
        watch: Watch,
    ) -> Consumer {
        let at = mine.iter().map(|p| (places[*p].partition.clone(), places[*p].start)).collect();
        let leader_epochs = mine.iter().map(|p| places[*p].leader_epoch).collect();
        let mine_i32 = mine.iter().map(|p| *p as i32).collect();
        let (reader, retry, met) = (None, None, None);
        let (opened, task) = (Instant::now(), Task::new());
        Consumer { log, places, mine, mine_i32, at, leader_epochs, reader, policy, retry, opened, met, task, watch }
    }

    /// Reads until nobody needs it.
    pub(super) fn run(mut self, to: &Sender<Came>, wake: &Wake, needed: &dyn Fn() -> bool) {
        let mut doubts = Doubts::new(self.mine.iter().map(|p| self.places[*p].until));
        while needed() {
            let next = match self.next() {
                Ok(None) => None,
                Ok(Some(Read::Batch(mut batch))) => {
                    // That one was answered which has nothing new nobody here needs to know.
                    batch.runs.retain(|run| run.first_offset.is_some() || run.position > self.at[run.place as usize].1);
                    doubts.look(&batch.runs, &self.at);
                    for run in &batch.runs {
                        let place = run.place as usize;
                        self.at[place].1 = run.position;
                        self.leader_epochs[place] = run.leader_epoch.or(self.leader_epochs[place]);
                    }
                    (!batch.runs.is_empty()).then(|| Came::Batch(Box::new(self.arrived(batch))))
                }
                // All are read anew: what is done about an error is the same for all.
                Ok(Some(Read::Lost { error, .. })) | Err(error) => match self.after(error) {
                    None => continue,
                    last => last,
                },
            };
            let is_last = matches!(next, Some(Came::Over(_) | Came::Failed(_)));
            let settled = if is_last { Vec::new() } else { self.settle(&mut doubts) };
            let settled = (!settled.is_empty()).then(|| Came::Batch(Box::new(self.read_up(&settled))));
            for next in next.into_iter().chain(settled) {
                // If nobody listens nobody needs to know.
                if to.send(next).is_err() || !wake.up() || is_last {
                    return;
                }
            }
        }
    }

    fn doing() -> String {
        "reading from Kafka".into()
    }

    /// The next batch, of a reader that is opened where there is none.
    fn next(&mut self) -> connectors::Result<Option<Read>> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => {
                self.opened = Instant::now();
                self.log.read(&self.from())?
            }
        };
        let read = reader.next(WAIT)?;
        // Where a partition is lost the reader is opened anew.
        self.reader = if matches!(read, Some(Read::Lost { .. })) { None } else { Some(reader) };
        let is_well = match &read {
            Some(Read::Batch(batch)) => batch.runs.iter().any(|run| run.answered),
            Some(Read::Lost { .. }) => false,
            None => self.opened.elapsed() >= WELL_AFTER,
        };
        if self.retry.is_some() && is_well {
            self.retry = None;
            let (doing, done) = (Consumer::doing(), Consumer::doing());
            (self.watch)(Event::Recovered { doing, task: self.task, done });
        }
        Ok(read)
    }

    /// Where each partition is read on.
    fn from(&self) -> Vec<ReadFrom> {
        let of_mine = self.at.iter().zip(&self.leader_epochs).zip(&self.mine);
        let from = of_mine.map(|(((partition, offset), leader_epoch), place)| ReadFrom {
            partition: partition.clone(),
            topic_id: self.places[*place].topic_id.clone(),
            offset: *offset,
            leader_epoch: *leader_epoch,
        });
        from.collect()
    }

    /// What is done about an error: the last words, or nothing if reading goes on.
    fn after(&mut self, error: Error) -> Option<Came> {
        let failed = |source| Some(Came::Failed(Failure::Port { doing: "cannot read on from Kafka".into(), source }));
        match remedy(error.fault, |place| self.at[place].1, self.met) {
            Remedy::Fail => failed(error),
            Remedy::Ask => Some(self.stopped(error)),
            Remedy::Pass { place, offset } => {
                let (partition, from) = self.at[place].clone();
                let ask = || self.log.next_readable(&partition, offset);
                match try_again("asking Kafka what can be read after damaged records", self.policy, &self.watch, ask) {
                    Ok(to) => Some(Came::Over(Ending::Damaged { partition, from, to, offset, why: error.what })),
                    Err(error) => failed(error),
                }
            }
            Remedy::ReadAnew => {
                let retry = self.retry.get_or_insert_with(|| Retry::new(self.policy));
                let pause = match error.fault {
                    Fault::Damaged { place, .. } => {
                        self.met = Some((place, self.at[place].1));
                        retry.pause()
                    }
                    _ => retry.after(&error),
                };
                let Some(pause) = pause else { return failed(error) };
                let (doing, task, left) = (Consumer::doing(), self.task, retry.left());
                let (why, advice) = (error.to_string(), error.remedy);
                (self.watch)(Event::Retrying { doing, task, why, advice, pause, left });
                thread::sleep(pause);
                None
            }
        }
    }

    /// Why reading stopped. The log refuses to go on where there are no records any more; what is there instead it is asked.
    fn stopped(&self, error: Error) -> Came {
        let failed = |source| Came::Failed(Failure::Port { doing: "cannot read on from Kafka".into(), source });
        let mut topics = BTreeMap::new();
        for ((partition, position), place) in self.at.iter().zip(&self.mine) {
            let topic = &partition.topic;
            if !topics.contains_key(topic) {
                // It may be in the middle of being made anew.
                match until_known(|| self.log.partitions(topic)) {
                    Ok(Some(facts)) => topics.insert(topic.clone(), facts),
                    Ok(None) => return Came::Over(Ending::TopicGone { topic: topic.to_string() }),
                    Err(error) => return failed(error),
                };
            }
            let Some(facts) = topics[topic].get(&partition.partition) else {
                return Came::Failed(Failure::Halt(Halt::PartitionGone(partition.clone())));
            };
            let verdict = protocol::check_topic(topic, &self.places[*place].topic_id, &facts.topic_id)
                .and_then(|()| protocol::check_position(partition, *position, facts));
            match verdict {
                Ok(()) => {}
                Err(Halt::RecordsLost { partition, from, to }) => {
                    return Came::Over(Ending::RecordsLost { partition, from, to });
                }
                Err(halt) => return Came::Failed(Failure::Halt(halt)),
            }
        }
        failed(error)
    }

    /// Those that turn out to be read up, once none of those that are short has moved for a while.
    fn settle(&self, doubts: &mut Doubts) -> Vec<usize> {
        // What is wrong with the log the reader says first.
        let is_same = |i: usize| match self.log.topic_id(&self.at[i].0.topic) {
            Ok(Some(id)) => checkpoint::cut::same_topic(&id, &self.places[self.mine[i]].topic_id),
            _ => false,
        };
        doubts.settle(&*self.log, &self.at, &is_same)
    }

    /// Says of partitions that nothing is left in them below where they are to be read.
    fn read_up(&self, settled: &[usize]) -> Arrived {
        let moved = settled.iter().map(|i| Arrival {
            place: self.mine[*i],
            position: self.at[*i].1,
            leader_epoch: None,
            last: None,
            read_up: true,
        });
        let moved: Vec<Arrival> = moved.collect();
        let stream = moved.first().map_or(0, |m| self.places[m.place].stream);
        Arrived { stream, raw: Raw::default(), bytes: 0, moved }
    }

    fn arrived(&self, batch: RawBatch) -> Arrived {
        let moved = batch.runs.iter().map(|moved| Arrival {
            place: self.mine[moved.place as usize],
            position: moved.position,
            leader_epoch: moved.leader_epoch,
            last: moved.last_row.map(|row| LastRecord {
                offset: batch.offsets[row],
                timestamp_ms: batch.timestamps_ms[row],
                fingerprint: manifest::fingerprint(batch.keys.get(row), batch.values.get(row)),
            }),
            read_up: false,
        });
        let moved: Vec<Arrival> = moved.collect();
        let stream = moved.first().map_or(0, |m| self.places[m.place].stream);
        let bytes = batch.bytes() as u64 + batch.len() as u64 * BYTES_PER_RECORD;
        let raw = Raw::new(Origin::new(batch, &self.mine_i32));
        Arrived { stream, raw, bytes, moved }
    }
}

/// Partitions that are short of where they are to be read although nothing comes of them. A reader's position passes records of aborted
/// transactions only with what comes after them, and below an open transaction nothing does. The log knows whether
/// anything is left; the position stays what the reader says.
struct Doubts {
    /// How far each partition is to be read, until it is known to be read up.
    until: Vec<Option<i64>>,
    since: Instant,
    ask_after: Duration,
}

impl Doubts {
    fn new(until: impl Iterator<Item = Option<i64>>) -> Doubts {
        Doubts { until: until.collect(), since: Instant::now(), ask_after: ASK_AFTER }
    }

    fn is_short(&self, i: usize, at: &[(TopicPartition, i64)]) -> bool {
        self.until[i].is_some_and(|until| at[i].1 < until)
    }

    /// These have moved from where they stood.
    fn look(&mut self, moved: &[Run], at: &[(TopicPartition, i64)]) {
        if moved.iter().any(|moved| self.is_short(moved.place as usize, at)) {
            (self.since, self.ask_after) = (Instant::now(), ASK_AFTER);
        }
    }

    /// See [`Consumer::settle`].
    fn settle(&mut self, log: &dyn Log, at: &[(TopicPartition, i64)], is_same: &dyn Fn(usize) -> bool) -> Vec<usize> {
        let short: Vec<usize> = (0..at.len()).filter(|i| self.is_short(*i, at)).collect();
        if short.is_empty() || self.since.elapsed() < self.ask_after {
            return Vec::new();
        }
        let question = short.iter().filter_map(|i| Some((at[*i].0.clone(), at[*i].1, self.until[*i]?)));
        // Without an answer nothing is known.
        let answer = log.is_read_up(&question.collect::<Vec<_>>()).unwrap_or_default();
        // Nor of a topic that is another one by now: the id is asked for after the answer.
        let settled = short.into_iter().zip(answer).filter_map(|(i, yes)| (yes && is_same(i)).then_some(i));
        let settled: Vec<usize> = settled.collect();
        settled.iter().for_each(|i| self.until[*i] = None);
        (self.since, self.ask_after) = (Instant::now(), (self.ask_after * 2).min(ASK_AFTER_MAX));
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_damage_that_is_met_again_where_it_was_is_the_logs() {
        let damaged = |place, offset| Fault::Damaged { place, offset };
        let stands = |place: usize| [10, 20][place];
        for (fault, met, expected) in [
            (Fault::Outage, None, Remedy::ReadAnew),
            (Fault::Strange, None, Remedy::ReadAnew),
            (damaged(0, 12), None, Remedy::ReadAnew),
            (damaged(0, 12), Some((0, 10)), Remedy::Pass { place: 0, offset: 12 }),
            (damaged(1, 20), Some((0, 10)), Remedy::ReadAnew),
            (damaged(0, 12), Some((0, 9)), Remedy::ReadAnew),
            (Fault::Refused, Some((0, 10)), Remedy::Ask),
            (Fault::Denied, None, Remedy::Fail),
            (Fault::Missing, None, Remedy::Fail),
            (Fault::Bug, None, Remedy::Fail),
        ] {
            assert_eq!(remedy(fault, stands, met), expected, "{fault:?} after {met:?}");
        }
    }
}
