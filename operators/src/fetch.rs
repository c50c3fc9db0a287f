//! Raw batches out of Kafka, each in the epoch that is open when it arrives.
//!
//! * Input: commands of the clock, and the frontier of staged epochs; both over feedback loops that have no path to the
//!   outputs, so they hold nothing back.
//! * Output: for each stream raw batches; the spans of each epoch; statistics for the clock.
//! * Time: a source. It holds a capability at the open epoch on each output and moves them on at "close"; at the last one
//!   it drops them.
//! * State: for each of its partitions where the open epoch began and where it stands. A span ends at the consumer's
//!   position as it was taken *with* the last batch that entered the epoch: never at "last record + 1", which a control
//!   record at the end leaves behind for ever, and never at a position asked for later, when the consumer is ahead. And for
//!   each stream which records left in the open epoch.
//! * Bound: it gives a batch while what its worker holds ([`Held`]) is below the budget. What is staged is on S3 and held no longer;
//!   how many epochs may wait there is for the clock to say. Where the files of the open epoch alone use the budget up, it tells the
//!   clock. Between it and its consumer thread stand [`BATCHES_AHEAD`] batches; after that librdkafka's own bounded queue.
//! * Failure: where the log cannot be read on for good, the job drains ([`crate::ending`]); an outage is waited for
//!   ([`consumer`]); any other error of the log ends the process.

mod consumer;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    thread,
    time::Duration,
};

use checkpoint::{Epoch, LastRecord, Span, Tally, TopicPartition, protocol::Halt};
use connectors::{Log, retry::Policy};
use crossbeam_channel::{Receiver, bounded};
use serde::{Deserialize, Serialize};
use timely::{
    container::{CapacityContainerBuilder, NoopBuilder},
    dataflow::{
        Scope, Stream,
        channels::pact::Pipeline,
        operators::{
            Capability,
            generic::{OutputBuilder, builder_rc::OperatorBuilder},
        },
    },
};

use crate::{
    Rows, Time,
    clock::Close,
    ending::{Ending, Reason},
    events::{Event, Watch},
    failure::{Failure, fail},
    held::Held,
};
use consumer::{Arrival, Arrived, Came, Consumer, Wake};

/// Batches that wait between the consumer thread and the operator.
const BATCHES_AHEAD: usize = 2;
/// Batches that one activation handles before it lets other operators run.
const BATCHES_PER_TURN: usize = 8;
/// How long it waits before it looks again whether there is room. Files leave in the middle of an epoch, and nobody says so.
const LOOK_AFTER: Duration = Duration::from_millis(5);

/// Pure: for how much a batch counts while it is on its way to the files of so many targets: its bytes, the columns that are made of
/// them, and what single targets make of those, which share what they do not change.
pub fn weight(bytes: u64, targets: usize) -> u64 {
    bytes * 2 + bytes * targets as u64 / 4
}

/// A partition of the job, and where this run reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The partition.
    pub partition: TopicPartition,
    /// Kafka's id of its topic.
    pub topic_id: String,
    /// The stream that it feeds, by number.
    pub stream: usize,
    /// Where the first epoch of this run begins.
    pub start: i64,
    /// How far it is to be read, with `--until-caught-up`.
    pub until: Option<i64>,
}

/// What fetch must know.
#[derive(Clone)]
pub struct FetchOptions {
    /// The first epoch.
    pub first: Epoch,
    /// All partitions of the job, sorted. Partition i is read by worker i modulo workers.
    pub places: Arc<[Place]>,
    /// Of each stream how many targets it feeds.
    pub targets: Arc<[usize]>,
    /// How many bytes this worker may hold.
    pub budget_bytes: u64,
    /// How reading is tried again: [`crate::outage::OUTAGE`].
    pub retry: Policy,
    /// Where it is left why the job ended by itself.
    pub ended: Reason,
}

/// What a worker tells the clock, at the epoch that is open for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stat {
    /// Which.
    pub worker: usize,
    /// Records since the last one.
    pub rows: u64,
    /// How far its partitions moved since the last one.
    pub offsets: u64,
    /// Bytes since the last one.
    pub bytes: u64,
    /// Whether any position moved.
    pub moved: bool,
    /// Whether the open epoch alone has used up the budget.
    pub full: bool,
    /// Whether every partition has been read as far as it is to be.
    pub reached: bool,
    /// Why it cannot read on.
    pub ending: Option<Ending>,
}

/// What a worker read in an epoch: the spans of all its partitions, moved or not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// As the clock decided, in microseconds since 1970.
    pub closed_at: i64,
    /// It is the last epoch of this run, closed whether anything moved or not.
    pub last: bool,
    /// One for each of its partitions.
    pub spans: Vec<Span>,
    /// The records that left, by the number of their stream.
    pub read: Vec<(usize, Tally)>,
}

/// The outputs of fetch.
pub struct Fetched<'s> {
    /// Raw batches, by stream.
    pub streams: Vec<Stream<'s, Time, Rows>>,
    /// For seal.
    pub reports: Stream<'s, Time, Vec<Report>>,
    /// For the clock.
    pub stats: Stream<'s, Time, Vec<Stat>>,
}

/// Where a partition stands: the span of the open epoch so far.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Progress {
    start: i64,
    end: i64,
    /// Records come from here on: the end, but while a batch enters.
    next: i64,
    leader_epoch: Option<i32>,
    last: Option<LastRecord>,
    read_up: bool,
}

/// The positions of a worker's partitions. Pure: what a span is, is decided here.
#[derive(Default)]
struct Positions(BTreeMap<usize, Progress>);

impl Positions {
    fn new(places: impl Iterator<Item = (usize, i64)>) -> Positions {
        let new = |start| Progress { start, end: start, next: start, leader_epoch: None, last: None, read_up: false };
        Positions(places.map(|(place, start)| (place, new(start))).collect())
    }

    fn of(&mut self, place: usize) -> Result<&mut Progress, Failure> {
        self.0.get_mut(&place).ok_or_else(|| Failure::Bug("a batch of a partition of another worker".into()))
    }

    /// A batch entered the open epoch. How far it moved, and which records it has: each above the one before it in its
    /// partition, and none below where the partition stands.
    fn enter(
        &mut self,
        places: &[Place],
        records: impl Iterator<Item = (i32, i64)>,
        moved: Vec<Arrival>,
    ) -> Result<(u64, Tally), Failure> {
        let mut tally = Tally::default();
        // Records of a partition come in runs.
        let mut run: Option<(i32, i64)> = None;
        for (place, offset) in records {
            let next = match run {
                Some((same, next)) if same == place => next,
                _ => {
                    self.leave(run)?;
                    self.of(place as usize)?.next
                }
            };
            if offset < next {
                let partition = places[place as usize].partition.clone();
                return Err(Failure::Halt(Halt::ReadTwice { partition, offset, position: next }));
            }
            run = Some((place, offset + 1));
            tally.record(place, offset);
        }
        self.leave(run)?;
        let mut offsets = 0;
        for arrival in moved {
            let progress = self.of(arrival.place)?;
            let step = u64::try_from(arrival.position - progress.end)
                .map_err(|_| Failure::Bug(format!("position {} after {}", arrival.position, progress.end)))?;
            offsets += step;
            if progress.next <= arrival.position {
                progress.next = arrival.position;
            }
            progress.end = arrival.position;
            progress.leader_epoch = arrival.leader_epoch.or(progress.leader_epoch);
            progress.last = arrival.last.or(progress.last.take());
            progress.read_up |= arrival.read_up;
        }
        match self.0.values().find(|progress| progress.next != progress.end) {
            None => Ok((offsets, tally)),
            Some(ahead) => Err(Failure::Bug(format!("a record at {} and the position {}", ahead.next - 1, ahead.end))),
        }
    }

    /// The end of a run of records of one partition.
    fn leave(&mut self, run: Option<(i32, i64)>) -> Result<(), Failure> {
        if let Some((place, next)) = run {
            self.of(place as usize)?.next = next;
        }
        Ok(())
    }

    /// The spans of the open epoch; the next one starts where they end.
    fn close(&mut self, places: &[Place]) -> Vec<Span> {
        let spans = self.0.iter_mut().map(|(place, progress)| {
            let span = Span {
                partition: places[*place].partition.clone(),
                topic_id: places[*place].topic_id.clone(),
                start: progress.start,
                end: progress.end,
                leader_epoch: progress.leader_epoch.take(),
                last: progress.last.take(),
            };
            progress.start = progress.end;
            span
        });
        spans.collect()
    }

    fn reached(&self, places: &[Place]) -> bool {
        self.0
            .iter()
            .all(|(place, progress)| progress.read_up || places[*place].until.is_none_or(|until| progress.end >= until))
    }
}

/// Builds fetch.
pub fn fetch<'s>(
    scope: Scope<'s, Time>,
    commands: Stream<'s, Time, Vec<(usize, Close)>>,
    staged: Stream<'s, Time, Vec<u64>>,
    log: Arc<dyn Log>,
    options: FetchOptions,
    held: Held,
    watch: Watch,
) -> Fetched<'s> {
    let (me, workers) = (scope.index(), scope.peers());
    let mut builder = OperatorBuilder::new("Fetch".into(), scope);
    // Outputs first: an output that is made after an input would be connected to it.
    let (mut data_outputs, mut streams) = (Vec::new(), Vec::new());
    let streams_count = options.targets.len();
    for _ in 0..streams_count {
        let (output, stream) = builder.new_output();
        data_outputs.push(OutputBuilder::<_, NoopBuilder<Rows>>::from(output));
        streams.push(stream);
    }
    let (output, reports) = builder.new_output();
    let mut report_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Report>>>::from(output);
    let (output, stats) = builder.new_output();
    let mut stat_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Stat>>>::from(output);
    let mut commands = builder.new_input_connection(commands, Pipeline, Vec::new());
    let mut staged = builder.new_input_connection(staged, Pipeline, Vec::new());
    let address = builder.operator_info().address;
    let again = scope.activator_for(address.clone());
    let wake = Wake::new(scope.worker().sync_activator_for(address.to_vec()));

    let mine: Vec<usize> = (0..options.places.len()).filter(|place| place % workers == me).collect();
    let (sender, arrivals) = bounded::<Came>(BATCHES_AHEAD);
    let needed = Arc::new(());
    if !mine.is_empty() {
        let consumer = Consumer::new(log, options.places.clone(), mine.clone(), options.retry, watch.clone());
        let (needed, wake) = (Arc::downgrade(&needed), wake.clone());
        let spawned = thread::Builder::new().name(format!("consumer-{me}")).spawn(move || {
            consumer.run(&sender, &wake, &|| needed.strong_count() > 0);
        });
        if let Err(e) = spawned {
            fail(Failure::Bug(format!("cannot start a consumer thread: {e}")));
        }
    }

    builder.build(move |mut capabilities| {
        for capability in &mut capabilities {
            capability.downgrade(&options.first.0);
        }
        // In the order of the outputs: one for each stream, then reports, then statistics.
        let mut open_at = Some(capabilities);
        let mut positions = Positions::new(mine.iter().map(|place| (*place, options.places[*place].start)));
        // Epochs that have batches of ours and are not staged.
        let mut in_flight: BTreeSet<u64> = BTreeSet::new();
        let mut read: BTreeMap<usize, Tally> = BTreeMap::new();
        let mut source: Option<(Receiver<_>, Arc<()>)> = Some((arrivals, needed));
        let mut told: Option<(bool, bool)> = None;
        let mut over: Option<Ending> = None;
        again.activate(); // to tell the clock where we stand, also if nothing ever comes
        move |frontiers| {
            let mut todo = Vec::new();
            commands.for_each(|_, data| todo.extend(data.drain(..).map(|(_, close)| close)));
            staged.for_each(|_, data| data.clear());
            for Close { epoch, closed_at, last, ending } in todo {
                let open = open_at.as_ref().map(|capabilities| *capabilities[streams_count].time());
                let Some(capabilities) = open_at.as_mut().filter(|_| open == Some(epoch)) else {
                    fail(Failure::Bug(format!("close of epoch {epoch} in epoch {open:?}")));
                };
                if !mine.is_empty() {
                    let (spans, read) = (positions.close(&options.places), std::mem::take(&mut read));
                    let report = Report { closed_at, last, spans, read: read.into_iter().collect() };
                    report_output.activate().session(&capabilities[streams_count]).give(report);
                }
                if last {
                    if let Some(ending) = ending {
                        let why = ending.to_string();
                        // One of the workers of a process says so.
                        if options.ended.leave(ending) {
                            watch(Event::Draining { why });
                        }
                    }
                    open_at = None;
                    source = None; // the consumer thread sees it and ends
                    continue;
                }
                for capability in capabilities {
                    capability.downgrade(&(epoch + 1));
                }
                told = None; // the clock has forgotten whether we are full
            }
            let Some(capabilities) = &open_at else { return };
            let epoch = *capabilities[streams_count].time();
            // Feedback adds one: epoch e is staged once the frontier has passed e + 1.
            while in_flight.first().is_some_and(|e| !frontiers[1].less_equal(&(e + 1))) {
                in_flight.pop_first();
            }
            let (mut records, mut offsets, mut bytes) = (0, 0, 0);
            wake.reset(); // before the queue is emptied, or a wake-up is lost
            for turn in 0.. {
                if held.bytes() >= options.budget_bytes {
                    again.activate_after(LOOK_AFTER);
                    break;
                }
                if turn == BATCHES_PER_TURN {
                    again.activate();
                    break;
                }
                let Some(Ok(came)) = source.as_ref().map(|(arrivals, _)| arrivals.try_recv()) else { break };
                let Arrived { stream, mut rows, bytes: size, moved: arrivals } = match came {
                    Came::Batch(arrived) => *arrived,
                    Came::Failed(failure) => fail(failure),
                    Came::Over(ending) => {
                        (over, source) = (Some(ending), None);
                        break;
                    }
                };
                let at = arrivals.iter().map(|arrival| (arrival.place, arrival.position)).collect();
                let origins = rows.origin.iter().flat_map(|origin| origin.records());
                let entered = positions.enter(&options.places, origins, arrivals);
                let (step, tally) = entered.unwrap_or_else(|failure| fail(failure));
                in_flight.insert(epoch);
                rows.lease = Some(Arc::new(held.batches.lease(weight(size, options.targets[stream]))));
                records += tally.count;
                bytes += size;
                offsets += step;
                watch(Event::Fetched { records: tally.count, offsets: step, positions: at });
                if !rows.is_empty() {
                    read.entry(stream).or_default().add(tally);
                    give(&mut data_outputs[stream], &capabilities[stream], &mut rows);
                }
            }
            // Batches on their way become files or go; files of epochs that are closed go.
            let full = held.files.bytes() >= options.budget_bytes && in_flight.iter().all(|e| *e == epoch);
            let (moved, reached) = (offsets > 0, positions.reached(&options.places));
            if moved || over.is_some() || told != Some((full, reached)) {
                told = Some((full, reached));
                let stat =
                    Stat { worker: me, rows: records, offsets, bytes, moved, full, reached, ending: over.take() };
                stat_output.activate().session(&capabilities[streams_count + 1]).give(stat);
            }
        }
    });
    Fetched { streams, reports, stats }
}

fn give(output: &mut OutputBuilder<Time, NoopBuilder<Rows>>, at: &Capability<Time>, rows: &mut Rows) {
    output.activate().session_with_builder(at).give_container(rows);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(until: Option<i64>) -> Place {
        Place { partition: TopicPartition::new("t", 0), topic_id: "id".into(), stream: 0, start: 5, until }
    }

    fn arrival(position: i64, last: Option<i64>) -> Arrival {
        let last = last.map(|offset| LastRecord { offset, timestamp_ms: 0, fingerprint: String::new() });
        Arrival { place: 0, position, leader_epoch: None, last, read_up: false }
    }

    /// Enters a batch of the only partition, with records at these offsets.
    fn enter(positions: &mut Positions, records: &[i64], arrival: Arrival) -> Result<(u64, Tally), Failure> {
        positions.enter(&[place(None)], records.iter().map(|offset| (0, *offset)), vec![arrival])
    }

    #[test]
    fn a_span_ends_at_the_position_and_not_after_the_last_record() {
        let places = [place(Some(12))];
        let mut positions = Positions::new([(0, 5)].into_iter());
        let (step, tally) = enter(&mut positions, &[5, 8], arrival(10, Some(8))).unwrap();
        assert_eq!((step, tally), (5, Tally::of([(0, 5), (0, 8)])));
        assert!(!positions.reached(&places));
        let (step, tally) = enter(&mut positions, &[], arrival(12, None)).unwrap();
        assert_eq!((step, tally), (2, Tally::default()), "control records alone");
        assert!(positions.reached(&places));
        let spans = positions.close(&places);
        assert_eq!((spans[0].start, spans[0].end, spans[0].last.as_ref().map(|l| l.offset)), (5, 12, Some(8)));
        let spans = positions.close(&places);
        assert_eq!(
            (spans[0].start, spans[0].end, spans[0].last.clone()),
            (12, 12, None),
            "an epoch in which it did not move"
        );
    }

    #[test]
    fn a_partition_in_which_nothing_is_left_is_reached_where_it_stands() {
        let places = [place(Some(12))];
        let mut positions = Positions::new([(0, 5)].into_iter());
        assert_eq!(enter(&mut positions, &[7], arrival(8, Some(7))).unwrap().0, 3);
        assert!(!positions.reached(&places));
        assert_eq!(enter(&mut positions, &[], Arrival { read_up: true, ..arrival(8, None) }).unwrap().0, 0);
        assert!(positions.reached(&places));
        let span = positions.close(&places).remove(0);
        assert_eq!(
            (span.start, span.end, span.last.map(|l| l.offset)),
            (5, 8, Some(7)),
            "the position is the reader's"
        );
        assert!(positions.reached(&places), "in the next epoch as well");
    }

    #[test]
    fn a_position_that_goes_back_is_a_bug() {
        let new = || Positions::new([(0, 5)].into_iter());
        let is_bug = |result| matches!(result, Err(Failure::Bug(_)));
        assert!(is_bug(enter(&mut new(), &[], arrival(4, None))));
        assert!(is_bug(enter(&mut new(), &[], Arrival { place: 1, ..arrival(9, None) })));
        assert!(is_bug(enter(&mut new(), &[5, 6], arrival(6, Some(6)))), "it stands before its own record");
        assert!(is_bug(new().enter(&[place(None)], [(0, 5)].into_iter(), vec![])), "a record, and it did not move");
    }

    #[test]
    fn a_record_that_comes_again_is_refused() {
        for (again, offset) in [(vec![7, 8], 7), (vec![10, 10], 10), (vec![11, 10], 10), (vec![0], 0)] {
            let mut positions = Positions::new([(0, 5)].into_iter());
            enter(&mut positions, &[5, 6, 9], arrival(10, Some(9))).unwrap();
            let result = enter(&mut positions, &again, arrival(12, None));
            let Err(Failure::Halt(Halt::ReadTwice { offset: found, .. })) = result else { panic!("{again:?}") };
            assert_eq!(found, offset, "{again:?}");
        }
        // In a batch that goes from one partition to another and back.
        let places = [place(None), place(None)];
        let all = |records: &[(i32, i64)]| {
            let moved = (0..2).map(|place| Arrival { place, ..arrival(20, None) }).collect();
            Positions::new([(0, 5), (1, 0)].into_iter()).enter(&places, records.iter().copied(), moved)
        };
        assert!(all(&[(0, 5), (1, 0), (0, 6), (1, 3)]).is_ok());
        let result = all(&[(0, 6), (1, 0), (0, 5)]);
        assert!(matches!(result, Err(Failure::Halt(Halt::ReadTwice { offset: 5, position: 7, .. }))));
    }
}
