//! Fetch: a batch that is offered before, between and after each command, and one that comes twice.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use checkpoint::{
    Epoch, LastRecord, Tally, TopicPartition,
    protocol::{SourceFacts, Start},
};
use connectors::{Error, Fault, Log, RawBatch, Read, ReadFrom, Reader, Run, StartAt, retry::Policy};
use operators::{
    Raw,
    ending::{Ending, Reason},
    fetch::{FetchOptions, fetch},
    held::Held,
    places::Place,
    signals::{Close, ReadReport, Stat},
};

use crate::harness::{Alone, Input, Output};

/// A log whose batches the test hands over, one by one, or errors instead of them.
struct ByHand {
    came: Arc<Mutex<Receiver<connectors::Result<RawBatch>>>>,
    handed: Arc<AtomicUsize>,
    /// Where each reader began.
    opened: Arc<Mutex<Vec<Vec<i64>>>>,
    /// The first offset that there is, of each partition.
    low: Arc<AtomicI64>,
}

impl Log for ByHand {
    fn partitions(&self, _: &str) -> connectors::Result<Option<BTreeMap<i32, SourceFacts>>> {
        let low = self.low.load(Ordering::SeqCst);
        let facts = SourceFacts { topic_id: "id".into(), low, last_stable: 1_000, high_watermark: 1_000, last: None };
        Ok(Some([(0, facts.clone()), (1, facts)].into()))
    }

    fn topic_id(&self, _: &str) -> connectors::Result<Option<String>> {
        Err(Error::bug("not asked here"))
    }

    fn starts(&self, _: &str, _: StartAt) -> connectors::Result<BTreeMap<i32, Start>> {
        Err(Error::bug("not asked here"))
    }

    fn records_at(&self, _: &[(TopicPartition, i64)]) -> connectors::Result<Vec<Option<LastRecord>>> {
        Err(Error::bug("not asked here"))
    }

    fn is_read_up(&self, _: &[(TopicPartition, i64, i64)]) -> connectors::Result<Vec<bool>> {
        Err(Error::bug("not asked here"))
    }

    /// A damaged batch has ten records.
    fn next_readable(&self, _: &TopicPartition, from: i64) -> connectors::Result<i64> {
        Ok(from + 10)
    }

    fn first_timestamps(&self, _: &[(TopicPartition, i64)]) -> connectors::Result<Vec<Option<i64>>> {
        Err(Error::bug("not asked here"))
    }

    fn read(&self, from: &[ReadFrom]) -> connectors::Result<Box<dyn Reader>> {
        self.opened.lock().unwrap().push(from.iter().map(|from| from.offset).collect());
        Ok(Box::new(Hand { came: self.came.clone(), handed: self.handed.clone(), given: false }))
    }
}

struct Hand {
    came: Arc<Mutex<Receiver<connectors::Result<RawBatch>>>>,
    handed: Arc<AtomicUsize>,
    given: bool,
}

impl Reader for Hand {
    fn allow(&mut self, _: usize, _: Option<i64>) -> connectors::Result<()> {
        Err(Error::bug("not asked here"))
    }

    fn next(&mut self, wait: Duration) -> connectors::Result<Option<Read>> {
        // It is asked for another: the one before lies where fetch will find it.
        if std::mem::take(&mut self.given) {
            self.handed.fetch_add(1, Ordering::SeqCst);
        }
        match self.came.lock().unwrap().recv_timeout(wait) {
            Ok(Ok(batch)) => {
                self.given = true;
                Ok(Some(Read::Batch(batch)))
            }
            Ok(Err(error)) => Err(error),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                thread::sleep(wait);
                Ok(None)
            }
        }
    }
}

/// Fetch of two partitions of one topic, from offset 0.
struct Fetching {
    alone: Alone,
    commands: Input<Vec<(usize, Close)>>,
    staged: Input<Vec<u64>>,
    rows: Output<Raw>,
    reports: Output<Vec<ReadReport>>,
    stats: Output<Vec<Stat>>,
    log: Sender<connectors::Result<RawBatch>>,
    handed: Arc<AtomicUsize>,
    opened: Arc<Mutex<Vec<Vec<i64>>>>,
    low: Arc<AtomicI64>,
    ended: Reason,
    held: Held,
    offered: usize,
}

const START: u64 = 3;
/// Few pauses, and short ones.
const RETRY: Policy = Policy {
    first: Duration::from_millis(1),
    longest: Duration::from_millis(1),
    within: Duration::from_secs(60),
    attempts: 4,
};

impl Fetching {
    fn new() -> Fetching {
        Fetching::with_budget(1 << 20)
    }

    fn with_budget(budget_bytes: u64) -> Fetching {
        let (log, came) = channel();
        let (handed, opened, low) = (Arc::<AtomicUsize>::default(), Arc::default(), Arc::<AtomicI64>::default());
        let came = Arc::new(Mutex::new(came));
        let by_hand = ByHand { came, handed: handed.clone(), opened: Arc::clone(&opened), low: low.clone() };
        let place = |partition| Place {
            partition: TopicPartition::new("t", partition),
            topic_id: "id".into(),
            stream: 0,
            start: 0,
            leader_epoch: None,
            until: None,
        };
        let (ended, held) = (Reason::default(), Held::default());
        let given = held.clone();
        let options = FetchOptions {
            first: Epoch(START),
            places: [place(0), place(1)].into(),
            targets: Arc::new([1]),
            budget_bytes,
            retry: RETRY,
            ended: ended.clone(),
        };
        let (alone, (commands, staged, rows, reports, stats)) = Alone::build(|scope| {
            let (commands, told) = Input::new(scope);
            let (staged, done) = Input::new(scope);
            let mut fetched = fetch(scope, told, done, Arc::new(by_hand), options, given, Arc::new(|_| {}));
            let rows = Output::of(fetched.streams.pop().unwrap());
            (commands, staged, rows, Output::of(fetched.reports), Output::of(fetched.stats))
        });
        Fetching { alone, commands, staged, rows, reports, stats, log, handed, opened, low, ended, held, offered: 0 }
    }

    /// Lays a batch where fetch finds it with its next step, if it still `reads`.
    fn offer(&mut self, batch: RawBatch, reads: bool) {
        let sent = self.log.send(Ok(batch));
        if !reads {
            return;
        }
        sent.unwrap();
        self.offered += 1;
        let start = Instant::now();
        while self.handed.load(Ordering::SeqCst) < self.offered {
            assert!(start.elapsed() < Duration::from_secs(60), "nobody reads");
            thread::sleep(Duration::from_micros(100));
        }
    }

    fn close(&mut self, epoch: u64, last: bool) {
        self.close_for(epoch, last, None);
    }

    fn close_for(&mut self, epoch: u64, last: bool, ending: Option<Ending>) {
        self.commands.give(epoch, vec![(0, Close { epoch, closed_at: epoch as i64, last, ending })]);
    }

    /// Why it says that it cannot read on, once it does.
    fn ending(&mut self) -> Ending {
        let mut found = None;
        let stats = self.stats.of_same();
        self.alone.until(|| {
            found = found.take().or_else(|| stats.take_each().into_iter().find_map(|(_, stat)| stat.ending));
            found.is_some()
        });
        found.unwrap()
    }
}

/// Records of one partition from an offset on, and the position after them.
fn records(partition: i32, offsets: std::ops::Range<i64>) -> RawBatch {
    let mut batch = RawBatch::default();
    for offset in offsets.clone() {
        batch.partitions.push(partition);
        batch.offsets.push(offset);
        batch.timestamps_ms.push(0);
        batch.keys.push(None).unwrap();
        batch.values.push(Some(b"{}")).unwrap();
    }
    let last_row = batch.len().checked_sub(1);
    let first_offset = batch.offsets.first().copied();
    batch.runs =
        vec![Run { place: partition, position: offsets.end, first_offset, last_row, answered: true, ..Run::default() }];
    batch
}

/// What came out: by epoch the offsets of the records, by partition, and the spans.
fn whole(fetching: &Fetching) -> BTreeMap<u64, u64> {
    let mut records: BTreeMap<u64, BTreeMap<i32, Vec<i64>>> = BTreeMap::new();
    for (epoch, rows) in fetching.rows.take() {
        for (place, offset) in rows.origin.records() {
            records.entry(epoch).or_default().entry(place).or_default().push(offset);
        }
    }
    let mut reports: BTreeMap<u64, ReadReport> = BTreeMap::new();
    for (epoch, report) in fetching.reports.take_each() {
        assert!(reports.insert(epoch, report).is_none(), "epoch {epoch} has two reports");
    }
    for epoch in records.keys() {
        assert!(reports.contains_key(epoch), "nobody reports epoch {epoch}, which has records");
    }
    let mut ends = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for (epoch, report) in reports {
        let of_epoch = records.remove(&epoch).unwrap_or_default();
        assert_eq!(report.spans.len(), 2, "each partition reports");
        let left = of_epoch.iter().flat_map(|(place, offsets)| offsets.iter().map(|offset| (*place, *offset)));
        let read = report.read.iter().find(|(stream, _)| *stream == 0).map_or(Tally::default(), |(_, tally)| *tally);
        assert_eq!(read, Tally::of(left), "what left is what is reported");
        for span in report.spans {
            let (start, place) = (ends.insert(span.partition.clone(), span.end), span.partition.partition);
            assert_eq!(span.start, start.unwrap_or(0), "spans follow each other");
            let found = of_epoch.get(&place).cloned().unwrap_or_default();
            assert_eq!(found, (span.start..span.end).collect::<Vec<_>>(), "epoch {epoch}");
        }
        counts.insert(epoch, of_epoch.values().map(|offsets| offsets.len() as u64).sum());
    }
    counts
}

/// A job is told to stop: a batch comes before, between and after everything that fetch is told.
#[test]
fn a_batch_at_any_moment_of_a_stop_is_reported_or_never_leaves() {
    // Before which command each of two batches comes, and how far fetch gets between what happens.
    let closes = 3;
    for first in 0..=closes {
        for second in first..=closes {
            for steps in [0, 1, 2, 32] {
                let mut fetching = Fetching::new();
                for moment in 0..=closes {
                    for (_, batch) in [(first, records(0, 0..3)), (second, records(1, 0..2))]
                        .into_iter()
                        .filter(|(at, _)| *at == moment)
                    {
                        fetching.offer(batch, moment < closes);
                        (0..steps).for_each(|_| fetching.alone.step());
                    }
                    if moment < closes {
                        fetching.close(START + moment as u64, moment + 1 == closes);
                        (0..steps).for_each(|_| fetching.alone.step());
                    }
                }
                fetching.commands.close();
                fetching.alone.settle();
                let ends = (fetching.rows.frontier(), fetching.reports.frontier(), fetching.stats.frontier());
                assert_eq!(ends, (None, None, None), "it has ended");
                let epochs = whole(&fetching);
                assert_eq!(epochs.len(), closes, "each epoch is reported");
                if steps == 32 {
                    let came = [(first, 3), (second, 2)].into_iter().filter(|(moment, _)| *moment < closes);
                    assert_eq!(epochs.values().sum::<u64>(), came.map(|(_, records)| records).sum::<u64>());
                }
            }
        }
    }
}

/// The client must not do that. If it does, nothing of it is read.
#[test]
fn a_batch_that_is_handed_over_twice_ends_the_process() {
    for (first, second) in [(0..3, 0..3), (0..3, 2..4), (0..1, 0..1)] {
        for steps in [0, 32] {
            let mut fetching = Fetching::new();
            fetching.offer(records(0, first.clone()), true);
            (0..steps).for_each(|_| fetching.alone.step());
            fetching.offer(records(0, second.clone()), true);
            assert_eq!(fetching.alone.dies(), "the job must not go on");
            assert!(fetching.reports.take().is_empty());
        }
    }
    // After an epoch was closed.
    let mut fetching = Fetching::new();
    fetching.offer(records(0, 0..3), true);
    fetching.alone.settle();
    fetching.close(START, false);
    fetching.alone.settle();
    fetching.offer(records(0, 0..3), true);
    assert_eq!(fetching.alone.dies(), "the job must not go on");
}

/// Retention was faster. What was read is reported and leaves; nothing after it does.
#[test]
fn where_the_log_begins_after_what_was_read_the_job_drains() {
    let mut fetching = Fetching::new();
    fetching.offer(records(0, 0..3), true);
    fetching.low.store(7, Ordering::SeqCst);
    fetching.log.send(Err(Error::new(Fault::Refused, "there is no such offset"))).unwrap();
    let lost = |partition, from| Ending::RecordsLost { partition: TopicPartition::new("t", partition), from, to: 7 };
    assert_eq!(fetching.ending(), lost(0, 3), "from where it stands");
    let _ = fetching.log.send(Ok(records(1, 0..5))); // nobody takes it
    fetching.close_for(START, true, Some(lost(0, 3)));
    fetching.alone.settle();
    assert_eq!(whole(&fetching), [(START, 3)].into());
    assert_eq!(fetching.ended.get(), Some(lost(0, 3)));
}

/// What was damaged on its way comes again whole.
#[test]
fn a_batch_that_was_damaged_once_is_read_again() {
    for fault in [Fault::Damaged { place: 0, offset: 3 }, Fault::Outage, Fault::Strange] {
        let mut fetching = Fetching::new();
        fetching.offer(records(0, 0..3), true);
        fetching.offer(records(1, 0..1), true);
        fetching.alone.settle();
        for at in [3, 5, 7] {
            let fault = if let Fault::Damaged { .. } = fault { Fault::Damaged { place: 0, offset: at } } else { fault };
            fetching.log.send(Err(Error::new(fault, "by chance"))).unwrap();
            fetching.offer(records(0, at..at + 2), true);
            fetching.alone.settle();
        }
        fetching.close(START, true);
        fetching.alone.settle();
        assert_eq!(whole(&fetching), [(START, 10)].into());
        assert_eq!(*fetching.opened.lock().unwrap(), [[0, 0], [3, 1], [5, 1], [7, 1]], "each where it stood");
    }
}

#[test]
fn a_batch_that_stays_damaged_drains_the_job() {
    let mut fetching = Fetching::new();
    fetching.offer(records(0, 0..3), true);
    for _ in 0..2 {
        let damaged = Error::new(Fault::Damaged { place: 0, offset: 4 }, "its checksum is wrong");
        fetching.log.send(Err(damaged)).unwrap();
    }
    let damaged = Ending::Damaged {
        partition: TopicPartition::new("t", 0),
        from: 3,
        to: 14,
        offset: 4,
        why: "its checksum is wrong".into(),
    };
    assert_eq!(fetching.ending(), damaged);
    fetching.close_for(START, true, Some(damaged.clone()));
    fetching.alone.settle();
    assert_eq!(whole(&fetching), [(START, 3)].into());
    assert_eq!(fetching.ended.get(), Some(damaged));
}

#[test]
fn an_outage_that_outlasts_its_retries_ends_the_process() {
    let mut fetching = Fetching::new();
    for _ in 0..RETRY.attempts {
        fetching.log.send(Err(Error::new(Fault::Outage, "away"))).unwrap();
    }
    assert_eq!(fetching.alone.ends(), "cannot read on from Kafka");
    assert_eq!(fetching.opened.lock().unwrap().len(), RETRY.attempts as usize);
}

/// What is on its way counts until it is dropped, wherever that is.
#[test]
fn a_batch_waits_for_room() {
    let mut fetching = Fetching::with_budget(40);
    fetching.offer(records(0, 0..3), true);
    fetching.alone.settle();
    fetching.offer(records(0, 3..4), true);
    fetching.alone.settle();
    let first = fetching.rows.take();
    assert_eq!(first.len(), 1, "there is no room for the second batch");
    assert!(!fetching.stats.take_each().iter().any(|(_, stat)| stat.full), "a batch on its way goes on by itself");
    let same = first[0].1.clone();
    drop(first);
    fetching.alone.settle();
    assert!(fetching.rows.take().is_empty(), "a target has it still");
    drop(same);
    let rows = fetching.rows.of_same();
    fetching.alone.until(|| rows.take().len() == 1);
}

/// Files of the open epoch stay until it ends, so the clock is told; those of a closed one go.
#[test]
fn the_open_epoch_alone_can_use_the_budget_up() {
    for closed in [false, true] {
        let mut fetching = Fetching::with_budget(1000);
        fetching.offer(records(0, 0..3), true);
        fetching.alone.settle();
        drop(fetching.rows.take());
        let files = fetching.held.files.lease(1000);
        if closed {
            fetching.close(START, false);
        }
        fetching.offer(records(0, 3..4), true);
        fetching.alone.settle();
        thread::sleep(Duration::from_millis(20)); // it looks again every few milliseconds
        fetching.alone.settle();
        assert!(fetching.rows.take().is_empty());
        let full = fetching.stats.take_each().into_iter().any(|(epoch, stat)| stat.full && epoch == START);
        assert_eq!(full, !closed, "closed: {closed}");
        drop(files);
        // Feedback adds one.
        fetching.staged.advance(START + 2);
        let rows = fetching.rows.of_same();
        fetching.alone.until(|| rows.take().len() == 1);
    }
}
