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
//!
//! A topic of two records, read to its end. The clock closes epochs over a loop:
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use checkpoint::{Epoch, TopicPartition};
//! use connectors::{Log, memory::MemoryLog};
//! use operators::{
//!     clock, clock::ClockOptions, ending::Reason, fetch, fetch::FetchOptions, held::Held, outage::OUTAGE, places::Place,
//! };
//! use timely::dataflow::operators::{Capture, ConnectLoop, Feedback, capture::Event, vec::ToStream};
//!
//! let log = MemoryLog::default();
//! log.create("clicks", 1);
//! log.send("clicks", 0, r#"{"id":1}"#);
//! log.send("clicks", 0, r#"{"id":2}"#);
//! let partition = TopicPartition::new("clicks", 0);
//! let topic_id = log.topic_id("clicks").unwrap().unwrap();
//! let place = Place { partition, topic_id, stream: 0, start: 0, leader_epoch: None, until: Some(2) };
//!
//! let ended = Reason::default();
//! let ending = ended.clone();
//! let options = FetchOptions {
//!     first: Epoch(0),
//!     places: [place].into(),
//!     targets: [1].into(),
//!     budget_bytes: 1 << 20,
//!     retry: OUTAGE,
//!     ended,
//! };
//! let ticking = ClockOptions {
//!     first: Epoch(0),
//!     interval: Duration::from_secs(60),
//!     max_bytes: 1 << 30,
//!     max_rows: 1 << 20,
//!     until_caught_up: true,
//!     stop: Arc::default(),
//!     ending,
//!     threads: 1,
//! };
//! let (rows, reports) = timely::example(move |scope| {
//!     let (back, commands) = scope.feedback(1);
//!     let (staged, loaded) = ([].to_stream(scope), [].to_stream(scope));
//!     let mut fetched = fetch(scope, commands, staged, Arc::new(log), options, Held::default(), Arc::new(|_| {}));
//!     clock(scope, fetched.stats, loaded, ticking, Arc::new(|_| {})).connect_loop(back);
//!     (fetched.streams.remove(0).capture(), fetched.reports.capture())
//! });
//!
//! // Both records are of epoch 0, whose span is as long.
//! let records = rows.into_iter().map(|event| if let Event::Messages(_, raw) = event { raw.len() } else { 0 });
//! assert_eq!(records.sum::<usize>(), 2);
//! let mut told = reports.into_iter().filter_map(|event| if let Event::Messages(_, told) = event { Some(told) } else { None });
//! let report = told.next().unwrap().remove(0);
//! assert_eq!((report.spans[0].start, report.spans[0].end, report.last), (0, 2, true));
//! ```

mod consumer;
mod positions;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use checkpoint::{Epoch, Tally};
use connectors::{Log, retry::Policy};
use crossbeam_channel::{Receiver, bounded};
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
    Time,
    ending::{Ending, Reason},
    events::{Event, Watch},
    failure::{Failure, fail},
    held::Held,
    places::Place,
    rows::Raw,
    signals::{Close, ReadReport, Stat},
    threads::named,
};
use consumer::{Arrived, Came, Consumer, Wake};
use positions::Positions;

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

/// What fetch must know.
#[derive(Clone)]
pub struct FetchOptions {
    /// The first epoch.
    pub first: Epoch,
    /// All partitions of the job, sorted. Partition i is read by worker i modulo workers.
    pub places: Arc<[Place]>,
    /// How many targets each stream feeds.
    pub targets: Arc<[usize]>,
    /// How many bytes this worker may hold.
    pub budget_bytes: u64,
    /// How reading is tried again: [`crate::outage::OUTAGE`].
    pub retry: Policy,
    /// Where it is left why the job ended by itself.
    pub ended: Reason,
}

/// The outputs of fetch.
pub struct Fetched<'s> {
    /// Raw batches, by stream.
    pub streams: Vec<Stream<'s, Time, Raw>>,
    /// What was read, for seal.
    pub reports: Stream<'s, Time, Vec<ReadReport>>,
    /// What the clock is told.
    pub stats: Stream<'s, Time, Vec<Stat>>,
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
        data_outputs.push(OutputBuilder::<_, NoopBuilder<Raw>>::from(output));
        streams.push(stream);
    }
    let (output, reports) = builder.new_output();
    let mut report_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<ReadReport>>>::from(output);
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
        let spawned = named(format!("consumer-{me}"), move || {
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
                    let report = ReadReport { closed_at, last, spans, read: read.into_iter().collect() };
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
                let Arrived { stream, mut raw, bytes: size, moved: arrivals } = match came {
                    Came::Batch(arrived) => *arrived,
                    Came::Failed(failure) => fail(failure),
                    Came::Over(ending) => {
                        (over, source) = (Some(ending), None);
                        break;
                    }
                };
                let at = arrivals.iter().map(|arrival| (arrival.place, arrival.position)).collect();
                let entered = positions.enter(&options.places, raw.origin.records(), arrivals);
                let (step, tally) = entered.unwrap_or_else(|failure| fail(failure));
                in_flight.insert(epoch);
                raw.lease = Some(Arc::new(held.batches.lease(weight(size, options.targets[stream]))));
                records += tally.count;
                bytes += size;
                offsets += step;
                watch(Event::Fetched { records: tally.count, offsets: step, positions: at });
                if !raw.is_empty() {
                    read.entry(stream).or_default().add(tally);
                    give(&mut data_outputs[stream], &capabilities[stream], &mut raw);
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

fn give(output: &mut OutputBuilder<Time, NoopBuilder<Raw>>, at: &Capability<Time>, raw: &mut Raw) {
    output.activate().session_with_builder(at).give_container(raw);
}
