//! Sealed epochs into the warehouse: one transaction for the oldest ones, several at once when it lags.
//!
//! * Input: sealed epochs, on worker 0. Output: the numbers of loaded epochs; their frontier is what clock and fetch look
//!   at.
//! * Time: it holds the capability of each epoch until the warehouse was read back and has it.
//! * State: the epochs that wait; at most [`crate::signals::OPEN_EPOCHS_MAX`], and their memory budget.
//! * A thread of its own talks to the warehouse, one load at a time. Epochs whose positions moved but that have no rows
//!   wait for the next load or for `idle_interval`, so that control records alone do not make a load.
//! * Between two loads it does the housework ([`super::history`]), and looks whether the targets are still what they were
//!   ([`super::look`]): if not, the job drains.
//! * Before a load Kafka is asked whether the topics are still those that were read. A consumer does not notice: it goes on in
//!   another topic of the same name, where it stood in the old one.
//! * Failure: what may pass by itself is tried again with the same files, a COPY that outlasts its statement's limit with fewer
//!   epochs; a lost COMMIT is resolved, never repeated blindly; everything else ends the process. A load that is refused because its
//!   table was changed says so: the next start takes the table as it is.
//!
//! An epoch without rows, into a warehouse in memory:
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use checkpoint::{
//!     Epoch, EpochRecord, Generation, History, Kind, Micros, Nonce, Span, TopicPartition, names::Staging, protocol::Holder,
//! };
//! use connectors::{
//!     Log, Process, Took, Warehouse,
//!     memory::{MemoryLog, MemoryObjects, MemoryWarehouse},
//! };
//! use operators::{
//!     ending::Reason,
//!     outage::OUTAGE,
//!     sink::{
//!         load::{LoadOptions, load},
//!         look::LOOK,
//!         seal::SealedEpoch,
//!     },
//! };
//! use timely::dataflow::operators::{Capture, capture::Extract, vec::ToStream};
//!
//! // Who loads: the holder of generation 1.
//! let (log, objects) = (MemoryLog::default(), MemoryObjects::default());
//! log.create("clicks", 1);
//! let mut warehouse = MemoryWarehouse::new([].into(), objects.clone());
//! warehouse.init("fence").unwrap();
//! let nonce = Nonce::new([1; 16]);
//! warehouse.record(&Process { host: "h".into(), id: 1, started_at: Micros(0) }, &nonce).unwrap();
//! assert_eq!(warehouse.take(Generation(0), &mut |_| {}).unwrap(), Took::Yes);
//! let (job, fence_id, generation) = ("clicks".into(), "fence".into(), Generation(1));
//! let staging = Staging { job, fence_id, generation, nonce: nonce.clone() };
//!
//! // What is loaded: epoch 0, over five control records.
//! let topic_id = log.topic_id("clicks").unwrap().unwrap();
//! let partition = TopicPartition::new("clicks", 0);
//! let span = Span { partition, topic_id, start: 0, end: 5, leader_epoch: None, last: None };
//! let record = EpochRecord {
//!     epoch: Epoch(0),
//!     kind: Kind::Data,
//!     closed_at: Micros(7),
//!     watermark: None,
//!     plan: "plan".into(),
//!     spans: vec![span],
//!     decision: None,
//!     counts: Default::default(),
//! };
//! let sealed = SealedEpoch { link: History::new("fence").link(record).unwrap(), files: Vec::new(), reasons: Default::default() };
//!
//! let options = LoadOptions {
//!     holder: Holder { generation, nonce },
//!     staging: Arc::new(staging),
//!     targets: [].into(),
//!     idle_interval: Duration::from_secs(60),
//!     log: Arc::new(log),
//!     retry: OUTAGE,
//!     keep: None,
//!     ending: Reason::default(),
//!     look: LOOK,
//! };
//! let seen = warehouse.clone();
//! let loaded = timely::execute_directly(move |worker| {
//!     let loaded = worker.dataflow(|scope| {
//!         let sealed = [sealed].to_stream(scope);
//!         load(scope, sealed, Some(Box::new(warehouse.clone())), Arc::new(objects), options, Arc::new(|_| {})).capture()
//!     });
//!     // The load is made by another thread.
//!     while worker.step_or_park(None) {}
//!     loaded
//! });
//!
//! assert_eq!(loaded.extract(), [(0, vec![0])]);
//! assert_eq!(seen.records()[0].epoch, Epoch(0));
//! ```

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use checkpoint::{
    Counts, Fate,
    names::Staging,
    protocol::{self, Holder, Outcome, Range},
};
use connectors::{
    CopyFrom, Fault, Happened, Load, Log, Objects, Warehouse,
    retry::{Policy, Retry},
};
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded, unbounded};
use serde::Serialize;
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{
        Scope, Stream,
        channels::pact::Pipeline,
        operators::{Capability, generic::operator::Operator},
    },
};

use super::{
    history::Housework,
    look::{Intervals, Look},
    seal::SealedEpoch,
    upload::put,
};
use crate::{
    Time,
    ending::{Ending, Reason},
    events::{Event, Stage, TargetCounts, Task, Watch, working},
    failure::{Failure, fail},
    outage::{try_again, until_known},
    reasons::Reasons,
    schema::{Mode, Target},
    signals::{OPEN_EPOCHS_MAX, Of, StagedFile},
    stamp::hold,
    threads::named,
};

/// When a start looks for the first time whether anything has grown old.
const HOUSEWORK_AFTER: Duration = Duration::from_secs(10);
/// The most bytes of files in one load, unless a single epoch has more.
const LOAD_BYTES: u64 = 4 << 30;

/// What load must know, beside the warehouse.
#[derive(Clone)]
pub struct LoadOptions {
    /// The right to load.
    pub holder: Holder,
    /// Where COPY manifests go.
    pub staging: Arc<Staging>,
    /// All targets, by number: in name order, the dead letters last.
    pub targets: Arc<[Arc<Target>]>,
    /// How long epochs without rows may wait.
    pub idle_interval: Duration,
    /// Where the records come from.
    pub log: Arc<dyn Log>,
    /// How a load is tried again: [`crate::outage::OUTAGE`].
    pub retry: Policy,
    /// How long old epochs are kept as they are; `None` for ever.
    pub keep: Option<Duration>,
    /// Where a reason to end is left.
    pub ending: Reason,
    /// How often it is looked whether the targets are still what they were.
    pub look: Intervals,
}

/// Builds load. `warehouse` is taken on worker 0 and dropped unused elsewhere.
pub fn load<'s>(
    scope: Scope<'s, Time>,
    sealed: Stream<'s, Time, Vec<SealedEpoch>>,
    warehouse: Option<Box<dyn Warehouse>>,
    objects: Arc<dyn Objects>,
    options: LoadOptions,
    watch: Watch,
) -> Stream<'s, Time, Vec<u64>> {
    sealed.unary_frontier::<CapacityContainerBuilder<Vec<u64>>, _, _, _>(Pipeline, "Load", move |capability, info| {
        drop(capability);
        let (to_thread, from_operator) = bounded::<SealedEpoch>(OPEN_EPOCHS_MAX as usize + 2);
        // Bounded by the epochs.
        let (to_operator, loaded) = unbounded::<Result<u64, Failure>>();
        if let Some(warehouse) = warehouse {
            let wake = scope.worker().sync_activator_for(info.address.to_vec());
            let spawned = named("load", move || {
                let housework = Housework::new(options.keep, Instant::now() + HOUSEWORK_AFTER);
                let look = Look::new(options.look, Instant::now());
                let mut loader = Loader {
                    warehouse,
                    objects,
                    options,
                    watch,
                    housework,
                    look,
                    is_retrying: false,
                    task: Task::new(),
                };
                let result = loader.run(&from_operator, &mut |epoch| {
                    let _ = to_operator.send(Ok(epoch)); // if nobody listens the process is ending
                    let _ = wake.activate();
                });
                if let Err(failure) = result {
                    let _ = to_operator.send(Err(failure));
                    let _ = wake.activate();
                }
            });
            if let Err(e) = spawned {
                fail(Failure::Bug(format!("cannot start the load thread: {e}")));
            }
        }
        let mut to_thread = Some(to_thread);
        let mut held: BTreeMap<Time, Capability<Time>> = BTreeMap::new();
        move |(input, frontier), output| {
            input.for_each(|capability, epochs: &mut Vec<SealedEpoch>| {
                for epoch in epochs.drain(..) {
                    held.insert(epoch.link.record.epoch.0, hold(&capability, 0));
                    if to_thread.as_ref().is_none_or(|to| to.try_send(epoch).is_err()) {
                        // A failed loader has left its reason, which comes first.
                        if let Some(Err(failure)) = loaded.try_iter().find(Result::is_err) {
                            fail(failure);
                        }
                        fail(Failure::Bug("more epochs than the clock allows".into()));
                    }
                }
            });
            for result in loaded.try_iter() {
                let epoch = result.unwrap_or_else(|failure| fail(failure));
                if let Some(capability) = held.remove(&epoch) {
                    output.session(&capability).give(epoch);
                }
            }
            if frontier.is_empty() {
                to_thread = None; // no epoch will follow: the thread loads what it has and ends
            }
        }
    })
}

/// What the load thread does, for whoever watches. The same for however many epochs it is tried with.
const LOADING: &str = "loading epochs into Redshift";

/// The load thread.
struct Loader {
    warehouse: Box<dyn Warehouse>,
    objects: Arc<dyn Objects>,
    options: LoadOptions,
    watch: Watch,
    housework: Housework,
    look: Look,
    /// Whether it was said that a load is tried again, and not yet that it is in.
    is_retrying: bool,
    task: Task,
}

/// What became of a load.
enum Tried {
    Loaded,
    /// It ran as long as a statement may: it did not happen, and less may pass.
    TooMany,
}

/// A COPY manifest, as Redshift reads it.
#[derive(Serialize)]
struct CopyManifest {
    entries: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    url: String,
    /// Without it a missing file is skipped in silence.
    mandatory: bool,
    meta: Meta,
}

#[derive(Serialize)]
struct Meta {
    /// Exact: Redshift reads the footer of a Parquet file from here.
    content_length: u64,
}

impl Loader {
    fn run(&mut self, incoming: &Receiver<SealedEpoch>, loaded: &mut dyn FnMut(u64)) -> Result<(), Failure> {
        let mut waiting: VecDeque<SealedEpoch> = VecDeque::new();
        let mut since = Instant::now();
        let mut ending = false;
        // Fewer after a load that took too long; twice as many after each one that did not.
        let mut most = OPEN_EPOCHS_MAX as usize;
        loop {
            if waiting.is_empty() {
                match incoming.recv_timeout(self.housework.rest(Instant::now())) {
                    Ok(epoch) => waiting.push_back(epoch),
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                    Err(RecvTimeoutError::Timeout) => {
                        self.housework.turn(&mut *self.warehouse, &self.watch);
                        continue;
                    }
                }
                since = Instant::now();
            }
            waiting.extend(incoming.try_iter());
            // So many that the clock would soon close no more.
            let crowded = waiting.len() >= OPEN_EPOCHS_MAX as usize / 2;
            let idle = !crowded && waiting.iter().all(|epoch| epoch.files.is_empty());
            let patience = self.options.idle_interval.saturating_sub(since.elapsed());
            if idle && !ending && !patience.is_zero() {
                match incoming.recv_timeout(patience) {
                    Ok(epoch) => waiting.push_back(epoch),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => ending = true,
                }
                continue;
            }
            let count = how_many(&waiting, most);
            let epochs = &waiting.make_contiguous()[..count];
            match self.load(epochs)? {
                Tried::Loaded => {
                    if !crowded && !ending {
                        self.look_at_targets(waiting.iter().take(count).any(has_set_aside));
                    }
                    waiting.drain(..count).for_each(|epoch| loaded(epoch.link.record.epoch.0));
                    most = (most * 2).min(OPEN_EPOCHS_MAX as usize);
                    // Who lags has better things to do, until the clock waits for nothing else.
                    if !crowded && !ending {
                        self.housework.turn(&mut *self.warehouse, &self.watch);
                    }
                }
                Tried::TooMany => most = count / 2,
            }
            since = Instant::now();
        }
    }

    /// Loads these epochs in one transaction, however often it takes.
    fn load(&mut self, epochs: &[SealedEpoch]) -> Result<Tried, Failure> {
        let (Some(first), Some(last)) = (epochs.first(), epochs.last()) else { return Ok(Tried::Loaded) };
        let (first, last) = (&first.link, &last.link);
        let range = Range { first: first.record.epoch, last: last.record.epoch, digest: last.digest.clone() };
        self.check_topics(epochs)?;
        let _working = working(&self.watch, Stage::Load);
        let (mut retry, mut attempts) = (Retry::new(self.options.retry), 0);
        loop {
            attempts += 1;
            let copies = self.write_copy_manifests(epochs, &range, attempts)?;
            let load = Load {
                holder: self.options.holder.clone(),
                range: range.clone(),
                links: epochs.iter().map(|epoch| epoch.link.clone()).collect(),
                copies,
                adopt: None,
            };
            let failed = match self.attempt(&load, &mut retry) {
                Ok(Outcome::Committed) => {
                    if std::mem::take(&mut self.is_retrying) {
                        let loaded = match range.first == range.last {
                            true => format!("epoch {} loaded", range.first),
                            false => format!("epochs {} to {} loaded", range.first, range.last),
                        };
                        let done = format!("{loaded} after {attempts} attempts");
                        (self.watch)(Event::Recovered { doing: LOADING.into(), task: self.task, done });
                    }
                    (self.watch)(self.loaded(epochs, &range, retry.elapsed(), attempts));
                    self.bear_witness(&range)?;
                    return Ok(Tried::Loaded);
                }
                Ok(Outcome::Fenced { by }) => return Err(Failure::Fenced { by }),
                Ok(Outcome::Halt(halt)) => return Err(Failure::Halt(halt)),
                Ok(Outcome::NotCommitted) => connectors::Error::new(Fault::Outage, "its transaction was rolled back"),
                Err(error) => error,
            };
            let is_too_long = failed.fault == Fault::TooLong && failed.happened == Happened::No;
            if is_too_long && epochs.len() > 1 {
                self.say_retrying("with fewer epochs: ", &failed, Duration::ZERO, &retry);
                return Ok(Tried::TooMany);
            }
            // Refused, or not understood: it may be that the table is not the one that the files were made for.
            if matches!(failed.fault, Fault::Refused | Fault::Strange)
                && let Ok(Some(what)) = self.look.ask(&mut *self.warehouse, &self.options.targets)
            {
                return Err(Failure::TablesChanged { what, source: failed });
            }
            // What may have happened is not done again.
            let pause = if failed.happened == Happened::No { retry.after(&failed) } else { None };
            let Some(pause) = pause else {
                let doing = match range.first == range.last {
                    true => format!("cannot load epoch {}", range.first),
                    false => format!("cannot load epochs {} to {}", range.first, range.last),
                };
                return Err(Failure::Port { doing, source: failed });
            };
            self.say_retrying("", &failed, pause, &retry);
            thread::sleep(pause);
        }
    }

    /// Loads once. If the answer to COMMIT is lost: finds out, and until that is known does nothing else.
    fn attempt(&mut self, load: &Load, retry: &mut Retry) -> connectors::Result<Outcome> {
        let watch = self.watch.clone();
        let first = load.range.first;
        let mut result = self.warehouse.load(load, &mut |step| watch(Event::Step { first, step }));
        let mut is_lost = false;
        loop {
            let error = match result {
                Err(error) if error.happened == Happened::Unknown => error,
                known => return known,
            };
            let pause = if is_lost { retry.after(&error) } else { Some(Duration::ZERO) };
            self.say_retrying("the answer to COMMIT is lost: ", &error, pause.unwrap_or_default(), retry);
            let Some(pause) = pause else { return Err(error) };
            thread::sleep(pause);
            is_lost = true;
            result = self.warehouse.resolve(&load.holder, &load.range).map_err(connectors::Error::unknown);
        }
    }

    /// Drains the job if a target is not what it was.
    fn look_at_targets(&mut self, has_set_aside: bool) {
        if !self.look.is_due(Instant::now(), has_set_aside) {
            return;
        }
        match self.look.ask(&mut *self.warehouse, &self.options.targets) {
            Ok(None) => {}
            Ok(Some(what)) => drop(self.options.ending.leave(Ending::TablesChanged { what })),
            Err(error) => (self.watch)(Event::Unseen { why: error.told() }),
        }
    }

    /// `how` stands before what failed.
    fn say_retrying(&mut self, how: &str, failed: &connectors::Error, pause: Duration, retry: &Retry) {
        self.is_retrying = true;
        let (why, advice) = (format!("{how}{failed}"), failed.remedy.clone());
        let (doing, task, left) = (LOADING.into(), self.task, retry.left());
        (self.watch)(Event::Retrying { doing, task, why, advice, pause, left });
    }

    /// Leaves a name that says what is in, where no change of the control tables changes it.
    fn bear_witness(&self, range: &Range) -> Result<(), Failure> {
        let key = self.options.staging.loaded(range.last);
        put(&*self.objects, &key, Default::default(), &self.watch)
            .map_err(|source| Failure::Port { doing: "cannot write the witness of a load".into(), source })
    }

    /// Whether what was read is of the topics that the cut speaks of.
    fn check_topics(&self, epochs: &[SealedEpoch]) -> Result<(), Failure> {
        let moved = epochs.iter().flat_map(|e| &e.link.record.spans).filter(|span| span.start < span.end);
        let known: BTreeSet<(&Arc<str>, &str)> =
            moved.map(|span| (&span.partition.topic, span.topic_id.as_str())).collect();
        for (topic, known) in known {
            let doing = "asking Kafka whether its topics are still the same";
            // A topic that is gone for good was read before, and is loaded. But a broker that does not know it may not know yet
            // that it was made anew.
            let ask = || self.options.log.topic_id(topic);
            let found = until_known(|| try_again(doing, self.options.retry, &self.watch, ask)).map_err(|source| {
                let doing = format!("cannot ask Kafka whether topic {topic} is still the same");
                Failure::Port { doing, source }
            })?;
            if let Some(found) = found {
                protocol::check_topic(topic, known, &found)?;
            }
        }
        Ok(())
    }

    /// What was loaded, for whoever watches.
    fn loaded(&self, epochs: &[SealedEpoch], range: &Range, took: Duration, attempts: u32) -> Event {
        let (mut rows, mut dead_letters, mut records) = (0, 0, 0);
        let (mut streams, mut targets) = (BTreeSet::new(), Vec::new());
        for target in self.options.targets.iter() {
            let mut counts = Counts::default();
            epochs.iter().filter_map(|e| e.link.record.counts.get(&target.name())).for_each(|c| counts.add(c));
            match target.stream {
                None => dead_letters += counts.loaded,
                Some(stream) => {
                    rows += counts.loaded;
                    // Each target of a stream counts all its records.
                    records += if streams.insert(stream) { counts.records_read } else { 0 };
                    let of = [Of::Stream(stream), Of::Target(target.number)];
                    let mut reasons = Reasons::default();
                    let all = epochs.iter().flat_map(|e| of.iter().filter_map(|of| e.reasons.get(of)));
                    all.for_each(|some| reasons.merge(some));
                    let rejected = counts.of(Fate::Undecoded) + counts.of(Fate::DeadLetter);
                    targets.push(TargetCounts { target: target.name(), read: counts.records_read, rejected, reasons });
                }
            }
        }
        let bytes = epochs.iter().flat_map(|e| &e.files).map(|f| f.bytes).sum();
        let spans = epochs.iter().flat_map(|e| e.link.record.spans.iter().cloned()).collect();
        let (first, last) = (range.first, range.last);
        Event::Loaded { first, last, rows, dead_letters, records, bytes, took, attempts, spans, targets }
    }

    /// One COPY for each target that has rows, in name order.
    fn write_copy_manifests(
        &self,
        epochs: &[SealedEpoch],
        range: &Range,
        attempt: u32,
    ) -> Result<Vec<CopyFrom>, Failure> {
        let mut copies = Vec::new();
        for target in self.options.targets.iter() {
            let files: Vec<&StagedFile> =
                epochs.iter().flat_map(|e| &e.files).filter(|f| f.target == target.number).collect();
            if files.is_empty() {
                continue;
            }
            let mut counts = Counts::default();
            let of_target = epochs.iter().filter_map(|e| e.link.record.counts.get(&target.name()));
            of_target.for_each(|c| counts.add(c));
            let entry = |file: &&StagedFile| Entry {
                url: self.objects.url(&file.key),
                mandatory: true,
                meta: Meta { content_length: file.bytes },
            };
            let manifest = CopyManifest { entries: files.iter().map(entry).collect() };
            let body = serde_json::to_vec(&manifest).map_err(|e| Failure::Bug(format!("a COPY manifest: {e}")))?;
            let key = self.options.staging.copy_manifest(range.first, range.last, target.number, attempt);
            put(&*self.objects, &key, body.into(), &self.watch)
                .map_err(|source| Failure::Port { doing: "cannot stage a COPY manifest".into(), source })?;
            copies.push(match target.mode {
                Mode::Append => CopyFrom {
                    table: target.table.clone(),
                    target: target.name(),
                    columns: target.columns.at(range.first.0).iter().map(|c| c.name.clone()).collect(),
                    manifest_url: self.objects.url(&key),
                    counts,
                },
            });
        }
        Ok(copies)
    }
}

/// Whether records of an epoch were set aside after they had been decoded: a value may have been too long for its column.
fn has_set_aside(epoch: &SealedEpoch) -> bool {
    epoch.link.record.counts.values().any(|counts| counts.of(Fate::DeadLetter) > 0)
}

/// How many of the waiting epochs go into one load, of which there may be so many.
fn how_many(waiting: &VecDeque<SealedEpoch>, most: usize) -> usize {
    let mut bytes = 0;
    let fits = waiting.iter().take(most).take_while(|epoch| {
        bytes += epoch.files.iter().map(|f| f.bytes).sum::<u64>();
        bytes <= LOAD_BYTES
    });
    fits.count().max(1)
}
