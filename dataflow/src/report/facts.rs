//! What is known of a running job: counted as it happens, read now and then.
//!
//! What happens with every batch is counted without a lock, and a [`Snapshot`] changes nothing: whoever wants to know how fast something
//! goes keeps the snapshots that it took ([`super::rates`]). A snapshot is data, so that a process can hand it to another.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use checkpoint::{Epoch, Micros, TopicPartition};
use connectors::LoadStep;
use operators::{
    events::{Event, Task},
    places::Place,
};
use serde::{Deserialize, Serialize};

use super::{
    meter::{Meter, Worked},
    partition::{Ends, PartitionFacts},
    state::{self, ANSWER_HOLDS, Seen},
};
use crate::state::State;

/// From when on it is worth a word that another system has not answered: what comes and goes is not.
pub(super) const LONG: Duration = Duration::from_secs(5);

/// Everything that is known. Counters for what happens with every batch, a lock for what is rare.
pub struct Facts {
    stop: Arc<AtomicBool>,
    /// Whether the job ends by itself.
    drains: AtomicBool,
    /// Whether another process loads, and this one has met it.
    only_reads: AtomicBool,
    /// The longest an epoch stays open.
    pub interval: Duration,
    /// How long nothing may be loaded, or wait, until the job is behind.
    pub patience: Duration,
    /// Where the time goes.
    pub meter: Arc<Meter>,
    offsets: AtomicU64,
    records: AtomicU64,
    rows: AtomicU64,
    dead_letters: AtomicU64,
    /// With `--until-caught-up`, how many offsets there are to read.
    total: Option<u64>,
    /// How far each partition was read, by the number of its place. It is at least so long.
    read: Vec<AtomicI64>,
    rare: Mutex<Rare>,
}

struct Rare {
    /// The partitions by the number of their place, which is the order of their names.
    partitions: Vec<PartitionFacts>,
    /// Whether Kafka has said where the topics end.
    ends_known: bool,
    /// When Kafka last said how far the topics go; a start has asked it.
    answered_at: Instant,
    /// What other systems keep from being done, by the kind of work.
    outages: BTreeMap<String, Outage>,
    /// What other systems were asked for, by the kind of work and since when.
    asked: BTreeMap<String, BTreeMap<Task, Instant>>,
    /// The load that is under way: its first epoch, what it has come to, and when.
    loading: Option<(Epoch, LoadStep, Instant)>,
    /// When the epoch that has records is closed, at the latest.
    due_at: Option<Instant>,
    last: Option<Loaded>,
    /// Values that a policy changed, by stream or table, and column; one count for each worker.
    changed: BTreeMap<(String, String), Vec<Arc<AtomicU64>>>,
}

/// Work of one kind that fails.
struct Outage {
    /// When some of it failed first.
    since: Instant,
    tries: BTreeMap<Task, Try>,
}

/// A piece of work that is tried again.
struct Try {
    why: String,
    advice: Option<String>,
    next: Instant,
    until: Instant,
}

/// The newest load, as it is known here.
struct Loaded {
    epoch: Epoch,
    rows: u64,
    took: Duration,
    at: Instant,
}

/// The newest load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastLoad {
    /// Its last epoch.
    pub epoch: u64,
    /// Its rows.
    pub rows: u64,
    /// How long it took.
    pub took_ms: u64,
    /// How long ago it was read back.
    pub ago_ms: u64,
}

/// A partition that an open transaction holds up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldUp {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// Where the transaction begins: from there on nothing can be read.
    pub offset: i64,
    /// Since when it is open, in microseconds since 1970.
    pub since_us: i64,
    /// How many other partitions are held up as well, each for a shorter time.
    pub others: usize,
}

/// What is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retrying {
    /// Why it failed, the last time.
    pub why: String,
    /// What somebody may do about it.
    pub advice: Option<String>,
    /// How long ago it failed first.
    pub since_ago_ms: u64,
    /// The time until the next try; 0 while it is tried.
    pub next_in_ms: u64,
    /// How long it is still tried before the process gives up.
    pub left_ms: u64,
}

/// What another system was asked for and has not answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unanswered {
    /// The kind of work.
    pub doing: String,
    /// For how long the oldest of its questions waits.
    pub ago_ms: u64,
}

/// A load that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loading {
    /// Its first epoch.
    pub epoch: u64,
    /// What it waits for.
    pub waits_for: String,
    /// For how long.
    pub ago_ms: u64,
}

/// A column of which a policy changed values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedColumn {
    /// The stream or the table.
    pub place: String,
    /// The column.
    pub column: String,
    /// How many values.
    pub values: u64,
}

/// How far a topic is ahead of the tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicLag {
    /// Its name.
    pub topic: String,
    /// Offsets that are not loaded, up to the high watermarks: records of open transactions are among them. Unknown until Kafka has
    /// answered.
    pub unloaded: Option<u64>,
    /// How old the records are that wait in the partition that is furthest behind. At most as old as the newest loaded one, or as long
    /// as something has been waiting; but never younger than what an open transaction holds up.
    pub behind_ms: Option<u64>,
}

/// The job at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The state in one word.
    pub state: State,
    /// What is tried again, by the kind of work.
    pub retrying: BTreeMap<String, Retrying>,
    /// What other systems were asked for, and have not answered for long.
    pub unanswered: Vec<Unanswered>,
    /// For how long Kafka has not said how far its topics go, if that is too long for anything it said to hold now.
    pub silent_ms: Option<u64>,
    /// The load that is under way.
    pub loading: Option<Loading>,
    /// The time until the epoch that has records is closed, at the latest.
    pub due_in_ms: Option<u64>,
    /// Records read since the start.
    pub records: u64,
    /// Offsets read since the start, control records included.
    pub offsets: u64,
    /// With `--until-caught-up`, how many offsets there are to read.
    pub total: Option<u64>,
    /// Rows loaded since the start.
    pub rows: u64,
    /// Dead letters since the start.
    pub dead_letters: u64,
    /// The columns of which a policy changed values since the start, by stream or table.
    pub changed: Vec<ChangedColumn>,
    /// How far each topic is ahead, by name; none where another process loads.
    pub topics: Vec<TopicLag>,
    /// Up to when the tables have what was in all topics, in microseconds since 1970; unknown until all is loaded that was there at the
    /// start.
    pub complete_up_to_us: Option<i64>,
    /// The partition that is held up longest by an open transaction.
    pub held_up: Option<HeldUp>,
    /// The newest load since the start.
    pub last: Option<LastLoad>,
    /// Where the time went since the start.
    pub worked: Worked,
}

impl Rare {
    /// A partition, and the number of its place.
    fn standing(&mut self, partition: &TopicPartition) -> Option<(usize, &mut PartitionFacts)> {
        let place = self.partitions.binary_search_by(|standing| standing.partition.cmp(partition)).ok()?;
        Some((place, self.partitions.get_mut(place)?))
    }
}

/// Up to when the tables have what was in all of them.
fn complete_up_to(partitions: &[PartitionFacts]) -> Option<Micros> {
    let all: Option<Vec<Micros>> = partitions.iter().map(PartitionFacts::complete_up_to).collect();
    all?.into_iter().min()
}

impl Snapshot {
    /// Offsets that are not loaded, over all topics.
    pub fn unloaded(&self) -> Option<u64> {
        self.topics.iter().map(|topic| topic.unloaded).sum()
    }

    /// The age of the topic that is furthest behind.
    pub fn behind(&self) -> Option<Duration> {
        self.topics.iter().filter_map(|topic| topic.behind_ms).max().map(Duration::from_millis)
    }
}

impl Facts {
    /// The facts before anything happened.
    pub fn new(
        places: &[Place],
        workers: usize,
        interval: Duration,
        until_caught_up: bool,
        stop: Arc<AtomicBool>,
    ) -> Facts {
        let to_read = |place: &Place| Some((place.until? - place.start).max(0) as u64);
        let standing = |place: &Place| PartitionFacts::new(place.partition.clone(), place.start, place.until);
        let rare = Rare {
            partitions: places.iter().map(standing).collect(),
            ends_known: until_caught_up,
            answered_at: Instant::now(),
            outages: BTreeMap::new(),
            asked: BTreeMap::new(),
            loading: None,
            due_at: None,
            last: None,
            changed: BTreeMap::new(),
        };
        Facts {
            stop,
            drains: AtomicBool::new(false),
            only_reads: AtomicBool::new(false),
            interval,
            patience: interval * 3 + Duration::from_secs(15),
            meter: Arc::new(Meter::new(workers)),
            offsets: AtomicU64::default(),
            records: AtomicU64::default(),
            rows: AtomicU64::default(),
            dead_letters: AtomicU64::default(),
            total: until_caught_up.then(|| places.iter().filter_map(to_read).sum()),
            read: places.iter().map(|place| place.start.into()).collect(),
            rare: Mutex::new(rare),
        }
    }

    /// From here on it reads for another process, which loads, and which alone knows how far the tables are.
    pub fn only_reads(&self) {
        self.only_reads.store(true, Ordering::Relaxed);
    }

    fn read_up_to(&self, place: usize) -> i64 {
        self.read.get(place).map_or(0, |read| read.load(Ordering::Relaxed))
    }

    fn rare(&self) -> MutexGuard<'_, Rare> {
        self.rare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an event.
    pub fn happened(&self, event: &Event) {
        match event {
            Event::Fetched { records, offsets, positions } => {
                self.records.fetch_add(*records, Ordering::Relaxed);
                self.offsets.fetch_add(*offsets, Ordering::Relaxed);
                for (place, position) in positions {
                    if let Some(read) = self.read.get(*place) {
                        read.store(*position, Ordering::Relaxed);
                    }
                }
            }
            Event::Step { first, step } => self.rare().loading = Some((*first, *step, Instant::now())),
            Event::Opened { within } => self.rare().due_at = Some(Instant::now() + *within),
            Event::Folded { .. } | Event::Unfolded { .. } | Event::Unseen { .. } => {}
            Event::Changed { place, column, values } => {
                let column = (place.clone(), column.clone());
                self.rare().changed.entry(column).or_default().push(values.clone());
            }
            Event::Loaded { last, rows, dead_letters, took, spans, .. } => {
                self.rows.fetch_add(*rows, Ordering::Relaxed);
                self.dead_letters.fetch_add(*dead_letters, Ordering::Relaxed);
                let now = Instant::now();
                let mut rare = self.rare();
                rare.loading = None;
                rare.last = Some(Loaded { epoch: *last, rows: *rows, took: *took, at: now });
                for span in spans {
                    if let Some((place, standing)) = rare.standing(&span.partition) {
                        standing.loaded = span.end;
                        standing.progress_at = now;
                        standing.loaded_ms = span.last.as_ref().map(|last| last.timestamp_ms).or(standing.loaded_ms);
                        standing.look(self.read_up_to(place), now);
                    }
                }
            }
            Event::Retrying { doing, task, why, advice, pause, left } => {
                let (now, mut rare) = (Instant::now(), self.rare());
                let new = || Outage { since: now, tries: BTreeMap::new() };
                let outage = rare.outages.entry(doing.clone()).or_insert_with(new);
                let again = Try { why: why.clone(), advice: advice.clone(), next: now + *pause, until: now + *left };
                outage.tries.insert(*task, again);
            }
            Event::Recovered { doing, task, .. } => {
                let mut rare = self.rare();
                if let Some(outage) = rare.outages.get_mut(doing) {
                    outage.tries.remove(task);
                }
                rare.outages.retain(|_, outage| !outage.tries.is_empty());
            }
            Event::Asked { doing, task } => {
                self.rare().asked.entry(doing.clone()).or_default().insert(*task, Instant::now());
            }
            Event::Answered { doing, task } => {
                self.rare().asked.get_mut(doing).and_then(|asked| asked.remove(task));
            }
            Event::Draining { .. } => self.drains.store(true, Ordering::Relaxed),
            Event::Works(stage) => self.meter.works(*stage),
            Event::Rests => self.meter.rests(),
        }
    }

    /// The newest epoch that this start has loaded.
    pub fn last_loaded(&self) -> Option<Epoch> {
        self.rare().last.as_ref().map(|last| last.epoch)
    }

    /// Kafka answered for all topics, at this moment.
    pub fn answered(&self, at: Instant) {
        self.rare().answered_at = at;
    }

    /// Kafka said where the topics end; it was asked at this moment or later.
    pub fn ends(&self, ends: &[(TopicPartition, Ends)], asked_at: Micros) {
        let now = Instant::now();
        let mut rare = self.rare();
        rare.ends_known = true;
        for (partition, ends) in ends {
            if let Some((place, standing)) = rare.standing(partition) {
                standing.look(self.read_up_to(place), now); // before it has more
                standing.ends(*ends, asked_at);
            }
        }
    }

    /// The first offsets of open transactions of which it is not known yet how old they are.
    pub fn to_ask(&self) -> Vec<(TopicPartition, i64)> {
        let rare = self.rare();
        rare.partitions.iter().filter_map(|p| p.to_ask().map(|offset| (p.partition.clone(), offset))).collect()
    }

    /// The timestamp of the record at this offset, if it has one.
    pub fn is_old(&self, partition: &TopicPartition, offset: i64, timestamp: Option<Micros>) {
        if let Some((_, standing)) = self.rare().standing(partition) {
            standing.is_old(offset, timestamp);
        }
    }

    /// Up to when the tables have what was in all topics.
    pub fn complete_up_to(&self) -> Option<Micros> {
        complete_up_to(&self.rare().partitions)
    }

    /// The job now. `now_ms` is the time of day, in milliseconds since 1970. Looking changes nothing.
    pub fn snapshot(&self, now: Instant, now_ms: i64) -> Snapshot {
        let rare = self.rare();
        let last = rare.last.as_ref().map(|last| LastLoad {
            epoch: last.epoch.0,
            rows: last.rows,
            took_ms: last.took.as_millis() as u64,
            ago_ms: now.saturating_duration_since(last.at).as_millis() as u64,
        });
        let only_reads = self.only_reads.load(Ordering::Relaxed);
        let silent = Some(now.saturating_duration_since(rare.answered_at));
        let silent = silent.filter(|silent| !only_reads && *silent > ANSWER_HOLDS);
        let ms_ago = |at: Instant| now.saturating_duration_since(at).as_millis() as u64;
        let ms_until = |at: Instant| at.saturating_duration_since(now).as_millis() as u64;
        let mut snapshot = Snapshot {
            state: State::Starting,
            retrying: (rare.outages.iter())
                .filter_map(|(doing, Outage { since, tries })| {
                    // The one that is tried next speaks for all; the process gives up with the first.
                    let Try { why, advice, next, .. } = tries.values().min_by_key(|again| again.next)?;
                    let until = tries.values().map(|again| again.until).min()?;
                    let (since_ago_ms, next_in_ms, left_ms) = (ms_ago(*since), ms_until(*next), ms_until(until));
                    let (why, advice) = (why.clone(), advice.clone());
                    Some((doing.clone(), Retrying { why, advice, since_ago_ms, next_in_ms, left_ms }))
                })
                .collect(),
            unanswered: (rare.asked.iter())
                .filter(|(doing, _)| !rare.outages.contains_key(*doing)) // which says it all
                .filter_map(|(doing, asked)| Some((doing, ms_ago(*asked.values().min()?))))
                .filter(|(_, ago_ms)| *ago_ms >= LONG.as_millis() as u64)
                .map(|(doing, ago_ms)| Unanswered { doing: doing.clone(), ago_ms })
                .collect(),
            silent_ms: silent.map(|silent| silent.as_millis() as u64),
            loading: (rare.loading.as_ref()).map(|(epoch, step, at)| Loading {
                epoch: epoch.0,
                waits_for: waits_for(*step).into(),
                ago_ms: ms_ago(*at),
            }),
            due_in_ms: rare.due_at.map(ms_until).filter(|ms| *ms > 0),
            records: self.records.load(Ordering::Relaxed),
            offsets: self.offsets.load(Ordering::Relaxed),
            total: self.total,
            rows: self.rows.load(Ordering::Relaxed),
            dead_letters: self.dead_letters.load(Ordering::Relaxed),
            changed: changed(&rare.changed),
            topics: if only_reads { Vec::new() } else { self.lags(&rare.partitions, now, now_ms) },
            complete_up_to_us: complete_up_to(&rare.partitions).map(|at| at.0),
            held_up: self.held_up(&rare.partitions),
            last,
            worked: self.meter.worked(),
        };
        snapshot.state = state::state(&Seen {
            stopping: self.stop.load(Ordering::Relaxed) || self.drains.load(Ordering::Relaxed),
            retrying: !snapshot.retrying.is_empty() || silent.is_some(),
            only_reads,
            unloaded: snapshot.unloaded().filter(|_| rare.ends_known),
            behind: snapshot.behind(),
            progress_ago: self.progress_ago(&rare.partitions, now),
            patience: self.patience,
        });
        snapshot
    }

    fn held_up(&self, partitions: &[PartitionFacts]) -> Option<HeldUp> {
        let of_one = |(place, standing): (usize, &PartitionFacts)| {
            let (offset, since) = standing.held_up(self.read_up_to(place))?;
            Some((since, standing.partition.clone(), offset))
        };
        let held: Vec<(Micros, TopicPartition, i64)> = partitions.iter().enumerate().filter_map(of_one).collect();
        let others = held.len().saturating_sub(1);
        let (since, TopicPartition { topic, partition }, offset) = held.into_iter().min()?;
        Some(HeldUp { topic: topic.to_string(), partition, offset, since_us: since.0, others })
    }

    /// For how long something has waited in a partition of which nothing was loaded: what is loaded of others is no help to it.
    fn progress_ago(&self, partitions: &[PartitionFacts], now: Instant) -> Duration {
        let waits =
            |(place, standing): &(usize, &PartitionFacts)| standing.unloaded(self.read_up_to(*place)) != Some(0);
        let waiting = partitions.iter().enumerate().filter(waits);
        waiting.map(|(_, standing)| now.saturating_duration_since(standing.progress_at)).max().unwrap_or_default()
    }

    fn lags(&self, partitions: &[PartitionFacts], now: Instant, now_ms: i64) -> Vec<TopicLag> {
        let mut lags: Vec<TopicLag> = Vec::new();
        for (place, standing) in partitions.iter().enumerate() {
            let read = self.read_up_to(place);
            let (partition, unloaded) = (&standing.partition, standing.unloaded(read));
            let age_of = |ms: i64| now_ms.saturating_sub(ms).max(0) as u64;
            let age = standing.loaded_ms.map(age_of);
            // What waits is younger than the newest loaded record, and than the moment at which nothing waited: in a partition
            // that has a record an hour, the first alone would be an hour.
            let waits = standing.empty_at.map(|at| now.saturating_duration_since(at).as_millis() as u64);
            let at_most = age.into_iter().chain(waits).min();
            // Of what is held up the age is known, whatever was loaded before it.
            let held = standing.held_up(read).map(|(_, since)| age_of(since.0 / 1000).min(waits.unwrap_or(u64::MAX)));
            let behind_ms = at_most.max(held).filter(|_| unloaded.is_some_and(|unloaded| unloaded > 0));
            match lags.last_mut().filter(|lag| lag.topic == *partition.topic) {
                Some(lag) => {
                    lag.unloaded = lag.unloaded.zip(unloaded).map(|(a, b)| a + b);
                    lag.behind_ms = lag.behind_ms.max(behind_ms);
                }
                None => lags.push(TopicLag { topic: partition.topic.to_string(), unloaded, behind_ms }),
            }
        }
        lags
    }
}

/// What a load that has come to a step waits for.
fn waits_for(step: LoadStep) -> &'static str {
    match step {
        LoadStep::Queued => "a place in the queue",
        LoadStep::Fenced => "COPY",
        LoadStep::Copied => "the manifest",
        LoadStep::Written => "COMMIT",
        LoadStep::Committed => "the read-back",
    }
}

fn changed(counts: &BTreeMap<(String, String), Vec<Arc<AtomicU64>>>) -> Vec<ChangedColumn> {
    let columns = counts.iter().map(|((place, column), counts)| {
        let values = counts.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        ChangedColumn { place: place.clone(), column: column.clone(), values }
    });
    columns.filter(|column| column.values > 0).collect()
}

/// A snapshot of a job of which nothing is known but its state.
#[cfg(test)]
pub fn snapshot_of(state: State) -> Snapshot {
    Snapshot {
        state,
        retrying: BTreeMap::new(),
        unanswered: Vec::new(),
        silent_ms: None,
        loading: None,
        due_in_ms: None,
        records: 0,
        offsets: 0,
        total: None,
        rows: 0,
        dead_letters: 0,
        changed: Vec::new(),
        topics: Vec::new(),
        complete_up_to_us: None,
        held_up: None,
        last: None,
        worked: Worked::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use checkpoint::{LastRecord, Span};

    fn place(partition: i32) -> Place {
        Place {
            partition: TopicPartition::new("t", partition),
            topic_id: String::new(),
            stream: 0,
            start: 10,
            leader_epoch: None,
            until: None,
        }
    }

    fn loaded(epoch: u64, partition: i32, start: i64, end: i64, timestamp_ms: i64) -> Event {
        let last = Some(LastRecord { offset: end - 1, timestamp_ms, fingerprint: String::new() });
        let partition = TopicPartition::new("t", partition);
        let span = Span { partition, topic_id: String::new(), start, end, leader_epoch: None, last };
        Event::Loaded {
            first: Epoch(epoch),
            last: Epoch(epoch),
            rows: 5,
            dead_letters: 0,
            records: 5,
            bytes: 1,
            took: Duration::from_millis(5),
            attempts: 1,
            spans: vec![span],
            targets: Vec::new(),
        }
    }

    fn end(partition: i32, end: i64) -> (TopicPartition, Ends) {
        (TopicPartition::new("t", partition), Ends { last_stable: end, high_watermark: end })
    }

    fn failed(doing: &str, task: Task, why: &str) -> Event {
        let (pause, left) = (Duration::from_secs(3), Duration::from_secs(1800));
        Event::Retrying { doing: doing.into(), task, why: why.into(), advice: None, pause, left }
    }

    fn retrying(doing: &str, why: &str) -> Event {
        failed(doing, Task::new(), why)
    }

    fn recovered(doing: &str, task: Task) -> Event {
        Event::Recovered { doing: doing.into(), task, done: "done".into() }
    }

    /// It has no loads, and asks Kafka for no ends; it stands still at most as long as the one that loads.
    #[test]
    fn a_process_that_only_reads_runs_as_soon_as_it_reads() {
        let stop = Arc::new(AtomicBool::new(false));
        let facts = Facts::new(&[Place { until: Some(20), ..place(0) }], 1, Duration::ZERO, true, stop.clone());
        facts.only_reads();
        let now = |later| facts.snapshot(Instant::now() + Duration::from_secs(later), 100_000);
        for later in [0, 3600] {
            assert_eq!((now(later).state, now(later).topics), (State::Running, Vec::new()));
        }
        facts.happened(&retrying("to upload", "503"));
        assert_eq!(now(0).state, State::Retrying);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(now(0).state, State::Draining);
    }

    #[test]
    fn lag_is_what_kafka_has_and_no_load_has() {
        let stop = Arc::new(AtomicBool::new(false));
        let facts = Facts::new(&[place(0), place(1)], 1, Duration::from_secs(1), false, stop.clone());
        let now = || facts.snapshot(Instant::now(), 100_000);
        assert_eq!((now().state, now().unloaded()), (State::Starting, None));
        let ends = |a, b| facts.ends(&[end(0, a), end(1, b)], Micros(1));
        ends(15, 10);
        assert_eq!((now().state, now().unloaded(), now().behind()), (State::Running, Some(5), None));
        facts.happened(&loaded(1, 0, 10, 13, 97_000));
        assert_eq!((now().unloaded(), now().behind()), (Some(2), Some(Duration::from_secs(3))));
        facts.happened(&loaded(2, 0, 13, 15, 98_000));
        assert_eq!((now().state, now().unloaded(), now().behind()), (State::Idle, Some(0), None));
        // What was read is there, also before Kafka is asked again.
        facts.happened(&Event::Fetched { records: 1, offsets: 1, positions: vec![(1, 11)] });
        assert_eq!((now().state, now().unloaded()), (State::Running, Some(1)));
        ends(15, 11);
        let task = Task::new();
        facts.happened(&failed("loading", task, "no answer"));
        assert_eq!(
            (now().state, now().retrying.into_values().map(|retrying| retrying.why).collect()),
            (State::Retrying, vec!["no answer".to_string()])
        );
        facts.happened(&recovered("loading", task));
        assert_eq!(now().state, State::Running);
        // An old record is loaded, all of that partition: what comes then is young.
        facts.happened(&loaded(3, 1, 10, 11, 20_000));
        assert_eq!(now().state, State::Idle);
        ends(15, 12);
        assert_eq!((now().state, now().unloaded()), (State::Running, Some(1)));
        stop.store(true, Ordering::Relaxed);
        assert_eq!(now().state, State::Draining);
    }

    /// That everything is loaded is what Kafka said a while ago; what it has now, nobody knows.
    #[test]
    fn nobody_is_idle_while_kafka_does_not_answer() {
        let facts = Facts::new(&[place(0)], 1, Duration::from_secs(1), false, Arc::default());
        facts.ends(&[end(0, 10)], Micros(1));
        let after = |seconds| facts.snapshot(Instant::now() + Duration::from_secs(seconds), 100_000);
        assert_eq!((after(0).state, after(0).silent_ms), (State::Idle, None));
        assert_eq!((after(9).state, after(9).silent_ms), (State::Idle, None));
        let silent = after(25);
        assert_eq!((silent.state, silent.silent_ms.map(|ms| ms / 1000)), (State::Retrying, Some(25)));
        facts.answered(Instant::now());
        assert_eq!(after(5).state, State::Idle);
    }

    #[test]
    fn what_is_tried_again_says_since_when_and_until_when() {
        let facts = Facts::new(&[place(0)], 1, Duration::from_secs(1), false, Arc::default());
        let task = Task::new();
        facts.happened(&failed("loading", task, "no answer"));
        facts.happened(&failed("loading", task, "refused"));
        let seen = facts.snapshot(Instant::now() + Duration::from_secs(2), 100_000).retrying.remove("loading").unwrap();
        let seconds = |ms: u64| ms.div_ceil(1000);
        assert_eq!((seen.why.as_str(), seconds(seen.next_in_ms), seconds(seen.left_ms)), ("refused", 1, 1798));
        assert!(seen.since_ago_ms >= 2000, "{seen:?}");
    }

    #[test]
    fn an_outage_is_over_once_the_last_of_what_it_keeps_is_done() {
        let facts = Facts::new(&[place(0)], 1, Duration::from_secs(1), false, Arc::default());
        let doing = "writing to s3://b/p";
        let [one, two] = [Task::new(), Task::new()];
        let kept = || facts.snapshot(Instant::now(), 100_000).retrying.into_keys().collect::<Vec<_>>();
        facts.happened(&failed(doing, one, "refused"));
        facts.happened(&failed(doing, two, "refused"));
        assert_eq!(kept(), [doing], "it is one");
        facts.happened(&recovered(doing, one));
        assert_eq!(kept(), [doing]);
        facts.happened(&recovered(doing, two));
        assert_eq!(kept(), [""; 0]);
    }

    #[test]
    fn a_question_that_is_not_answered_for_long_is_named() {
        let facts = Facts::new(&[place(0)], 1, Duration::from_secs(1), false, Arc::default());
        let doing = || "writing to s3://b/p".to_string();
        let [one, two] = [Task::new(), Task::new()];
        for task in [one, two] {
            facts.happened(&Event::Asked { doing: doing(), task });
        }
        facts.happened(&Event::Answered { doing: doing(), task: one });
        let after = |seconds| facts.snapshot(Instant::now() + Duration::from_secs(seconds), 100_000).unanswered;
        assert_eq!(after(3), []);
        let unanswered = after(12);
        assert_eq!((unanswered.len(), unanswered[0].ago_ms / 1000), (1, 12));
        assert_eq!(unanswered[0].doing, doing());
        let task = Task::new();
        facts.happened(&failed(&doing(), task, "refused"));
        assert_eq!(after(12), [], "an outage says it");
        facts.happened(&recovered(&doing(), task));
        facts.happened(&Event::Answered { doing: doing(), task: two });
        assert_eq!(after(12), []);
    }

    #[test]
    fn a_load_says_what_it_waits_for_and_an_epoch_when_it_is_due() {
        let facts = Facts::new(&[place(0)], 1, Duration::from_secs(1), false, Arc::default());
        facts.happened(&Event::Opened { within: Duration::from_secs(30) });
        facts.happened(&Event::Step { first: Epoch(7), step: LoadStep::Fenced });
        let after = |seconds| facts.snapshot(Instant::now() + Duration::from_secs(seconds), 100_000);
        let loading = after(8).loading.unwrap();
        assert_eq!((loading.epoch, loading.waits_for.as_str(), loading.ago_ms / 1000), (7, "COPY", 8));
        assert_eq!(after(8).due_in_ms.map(|ms| ms.div_ceil(1000)), Some(22));
        facts.happened(&loaded(7, 0, 10, 13, 97_000));
        assert_eq!((after(0).loading, after(31).due_in_ms), (None, None));
    }

    #[test]
    fn a_backlog_is_as_old_as_what_was_loaded_of_it() {
        let facts = Facts::new(&[place(0)], 1, Duration::from_secs(1), false, Arc::default());
        facts.ends(&[end(0, 50)], Micros(1));
        facts.happened(&loaded(1, 0, 10, 20, 20_000));
        let now = facts.snapshot(Instant::now(), 100_000);
        assert_eq!((now.state, now.behind()), (State::Behind, Some(Duration::from_secs(80))));
    }

    /// Nothing of it can be read: neither idle, nor complete, nor without lag.
    #[test]
    fn a_transaction_that_stays_open_is_seen() {
        let facts = Facts::new(&[place(0), place(1)], 1, Duration::from_secs(1), false, Arc::default());
        let open = |at| {
            let held = (TopicPartition::new("t", 1), Ends { last_stable: 10, high_watermark: 13 });
            facts.ends(&[end(0, 10), held], Micros(at));
        };
        let now = |later| facts.snapshot(Instant::now() + Duration::from_secs(later), 100_000);
        facts.ends(&[end(0, 10), end(1, 10)], Micros(1));
        assert_eq!((now(0).state, now(0).complete_up_to_us), (State::Idle, Some(1)));
        open(2);
        open(3);
        let seen = now(0);
        assert_eq!((seen.state, seen.unloaded(), seen.complete_up_to_us), (State::Running, Some(3), Some(1)));
        let held = HeldUp { topic: "t".into(), partition: 1, offset: 10, since_us: 2, others: 0 };
        assert_eq!(seen.held_up, Some(held.clone()));
        facts.answered(Instant::now() + Duration::from_secs(60));
        assert_eq!(now(60).state, State::Behind, "after a while somebody should look");
        assert_eq!(facts.to_ask(), [(TopicPartition::new("t", 1), 10)]);
        facts.is_old(&TopicPartition::new("t", 1), 10, Some(Micros(1)));
        assert_eq!((facts.to_ask(), now(0).held_up), (vec![], Some(HeldUp { since_us: 1, ..held })));
        facts.ends(&[end(0, 10), end(1, 14)], Micros(4));
        facts.happened(&loaded(1, 1, 10, 14, 99_000));
        assert_eq!((now(0).state, now(0).held_up, now(0).complete_up_to_us), (State::Idle, None, Some(4)));
    }

    /// It was open before the start, and other partitions load all the time.
    #[test]
    fn loads_of_others_do_not_hide_what_is_held_up() {
        let facts = Facts::new(&[place(0), place(1)], 1, Duration::from_secs(1), false, Arc::default());
        let held = || (TopicPartition::new("t", 0), Ends { last_stable: 10, high_watermark: 13 });
        for at in [3_000_000, 8_000_000] {
            facts.ends(&[held(), end(1, 11)], Micros(at));
        }
        let now = |s: u64| facts.snapshot(Instant::now() + Duration::from_secs(s), 8_000 + 1000 * s as i64);
        facts.happened(&loaded(1, 1, 10, 11, 8_000));
        assert_eq!((now(0).state, now(0).behind()), (State::Running, Some(Duration::from_secs(5))));
        facts.answered(Instant::now() + Duration::from_secs(75));
        assert_eq!((now(75).state, now(75).behind()), (State::Behind, Some(Duration::from_secs(80))));
        // Its record says that it is older than this process.
        facts.is_old(&TopicPartition::new("t", 0), 10, Some(Micros(-60_000_000)));
        assert_eq!((now(0).state, now(0).behind()), (State::Behind, Some(Duration::from_secs(68))));
        facts.happened(&Event::Fetched { records: 3, offsets: 4, positions: vec![(0, 14)] });
        assert_eq!((now(0).state, now(0).held_up, now(0).behind()), (State::Running, None, None), "it is at its end");
    }

    /// Its reader stands, and says nothing.
    #[test]
    fn loads_of_others_do_not_hide_a_partition_of_which_nothing_is_loaded() {
        let facts = Facts::new(&[place(0), place(1)], 1, Duration::from_secs(1), false, Arc::default());
        facts.ends(&[end(0, 20), end(1, 20)], Micros(1));
        let after = |seconds| facts.snapshot(Instant::now() + Duration::from_secs(seconds), 100_000).state;
        facts.rare().partitions[0].progress_at -= Duration::from_secs(60);
        facts.happened(&loaded(1, 1, 10, 15, 99_000));
        assert_eq!(after(0), State::Behind);
        facts.happened(&loaded(2, 0, 10, 15, 99_000));
        assert_eq!(after(0), State::Running);
    }

    #[test]
    fn a_snapshot_changes_nothing_and_is_data() {
        let facts = Facts::new(&[place(0)], 1, Duration::from_secs(1), false, Arc::default());
        facts.ends(&[end(0, 50)], Micros(1));
        facts.happened(&loaded(1, 0, 10, 20, 20_000));
        facts.happened(&retrying("loading", "no answer"));
        for values in [2, 0, 3] {
            let (place, column, values) = ("clicks".into(), "url".into(), Arc::new(values.into()));
            facts.happened(&Event::Changed { place, column, values });
        }
        facts.happened(&Event::Works(operators::events::Stage::Load));
        facts.happened(&Event::Rests);
        let at = Instant::now();
        let first = facts.snapshot(at, 100_000);
        assert_eq!(facts.snapshot(at, 100_000), first);
        assert_eq!(first.retrying.keys().collect::<Vec<_>>(), ["loading"]);
        assert_eq!(first.changed.iter().map(|changed| changed.values).collect::<Vec<_>>(), [5]);
        let text = serde_json::to_string(&first).unwrap();
        assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), first, "{text}");
    }
}
