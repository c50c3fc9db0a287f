//! Where one partition stands: what is loaded of it, how far Kafka says that it goes, and what holds it up.
//!
//! **Complete up to.** Each time Kafka is asked, the moment before the question is kept with the high watermark of the answer: what
//! was in the partition at that moment lies below that mark. Once the mark is loaded the tables have all that was there at that
//! moment. The time at which an epoch was closed does not say so: a reader may be far from the end, and records of a transaction that
//! is open are not given to it at all.

use std::{collections::VecDeque, time::Instant};

use checkpoint::{Micros, TopicPartition};

/// How many marks are kept. A partition that is far behind has more; then every second one is forgotten, which makes the answer
/// coarser and never wrong.
const MARKS: usize = 64;

/// How far a partition goes, as Kafka said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// What is below it can be read.
    pub last_stable: i64,
    /// What is below it is in the log, records of open transactions too.
    pub high_watermark: i64,
}

/// Where a partition stands.
pub(super) struct PartitionFacts {
    pub(super) partition: TopicPartition,
    pub(super) loaded: i64,
    /// The timestamp of the newest loaded record, in milliseconds since 1970.
    pub(super) loaded_ms: Option<i64>,
    /// Where reading ends, with `--until-caught-up`.
    until: Option<i64>,
    ends: Option<Ends>,
    marks: Marks,
    open: Option<Open>,
    /// When it was last seen that nothing waits; `None` if never.
    pub(super) empty_at: Option<Instant>,
    /// When it was last loaded further, or nothing waited; at first when it was first looked at.
    pub(super) progress_at: Instant,
}

/// A transaction that is not at its end, and was not either when Kafka was asked before.
struct Open {
    /// Where its first record is.
    offset: i64,
    looks: u32,
    /// The timestamp of that record, or when it was first seen to be open.
    since: Micros,
    is_asked: bool,
}

impl PartitionFacts {
    pub(super) fn new(partition: TopicPartition, start: i64, until: Option<i64>) -> PartitionFacts {
        PartitionFacts {
            partition,
            loaded: start,
            loaded_ms: None,
            until,
            ends: None,
            marks: Marks::default(),
            open: None,
            empty_at: None,
            progress_at: Instant::now(),
        }
    }

    /// Remembers that nothing waits, if so.
    pub(super) fn look(&mut self, read: i64, now: Instant) {
        if self.unloaded(read) == Some(0) {
            self.empty_at = Some(now);
            self.progress_at = now;
        }
    }

    /// Kafka said how far it goes, and was asked at this moment or later.
    pub(super) fn ends(&mut self, ends: Ends, asked_at: Micros) {
        self.ends = Some(ends);
        self.marks.push(asked_at, ends.high_watermark);
        self.marks.forget(self.loaded);
        let Ends { last_stable: offset, high_watermark } = ends;
        self.open = match self.open.take() {
            _ if offset >= high_watermark => None,
            Some(open) if open.offset == offset => Some(Open { looks: open.looks.saturating_add(1), ..open }),
            _ => Some(Open { offset, looks: 1, since: asked_at, is_asked: false }),
        };
    }

    /// Where the transaction begins that holds it up, and since when that is open. One that was met once is most likely at its end, and
    /// one whose records were read is: Kafka gives none of a transaction that is open.
    pub(super) fn held_up(&self, read: i64) -> Option<(i64, Micros)> {
        let is_passed = |open: &Open| open.offset < read.max(self.loaded);
        self.open.as_ref().filter(|open| open.looks > 1 && !is_passed(open)).map(|open| (open.offset, open.since))
    }

    /// The offset of a record of which it was not asked yet how old it is.
    pub(super) fn to_ask(&self) -> Option<i64> {
        self.open.as_ref().filter(|open| open.looks > 1 && !open.is_asked).map(|open| open.offset)
    }

    /// The record at this offset is so old; `None` where it has no timestamp.
    pub(super) fn is_old(&mut self, offset: i64, timestamp: Option<Micros>) {
        if let Some(open) = self.open.as_mut().filter(|open| open.offset == offset) {
            (open.is_asked, open.since) = (true, timestamp.map_or(open.since, |at| at.min(open.since)));
        }
    }

    /// Offsets that are not loaded; unknown until Kafka has said how far it goes.
    pub(super) fn unloaded(&self, read: i64) -> Option<u64> {
        let end = self.until.or(self.ends.map(|ends| ends.high_watermark));
        end.map(|end| (end.max(read) - self.loaded).max(0) as u64)
    }

    /// Up to when the tables have what was in it. Unknown until all is loaded that was there when Kafka was first asked.
    pub(super) fn complete_up_to(&self) -> Option<Micros> {
        self.marks.up_to(self.loaded)
    }
}

/// High watermarks with the moments before they were asked for. Both only grow.
#[derive(Default)]
struct Marks(VecDeque<(Micros, i64)>);

impl Marks {
    fn push(&mut self, at: Micros, high_watermark: i64) {
        if let Some((newest, mark)) = self.0.back_mut() {
            // A clock that was put back, or an answer of a broker that lags, says nothing new.
            if at < *newest || high_watermark < *mark {
                return;
            }
            if high_watermark == *mark {
                *newest = at;
                return;
            }
        }
        if self.0.len() >= MARKS {
            let mut number = 0;
            self.0.retain(|_| {
                number += 1;
                number % 2 == 1
            });
        }
        self.0.push_back((at, high_watermark));
    }

    /// The newest moment whose mark is loaded.
    fn up_to(&self, loaded: i64) -> Option<Micros> {
        self.reached(loaded).checked_sub(1).map(|newest| self.0[newest].0)
    }

    /// Of the marks that are loaded only the newest is of use.
    fn forget(&mut self, loaded: i64) {
        self.0.drain(..self.reached(loaded).saturating_sub(1));
    }

    fn reached(&self, loaded: i64) -> usize {
        self.0.partition_point(|(_, high_watermark)| *high_watermark <= loaded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> PartitionFacts {
        PartitionFacts::new(TopicPartition::new("t", 0), 10, None)
    }

    fn said(partition: &mut PartitionFacts, last_stable: i64, high_watermark: i64, at: i64) {
        partition.ends(Ends { last_stable, high_watermark }, Micros(at));
    }

    #[test]
    fn complete_up_to_the_newest_moment_whose_high_watermark_is_loaded() {
        let mut p = partition();
        assert_eq!(p.complete_up_to(), None, "Kafka has not answered");
        said(&mut p, 15, 15, 1);
        assert_eq!(p.complete_up_to(), None, "more was there than is loaded");
        said(&mut p, 20, 20, 2);
        for (loaded, expected) in [(14, None), (15, Some(1)), (19, Some(1)), (20, Some(2)), (25, Some(2))] {
            p.loaded = loaded;
            assert_eq!(p.complete_up_to(), expected.map(Micros), "{loaded} loaded");
        }
        said(&mut p, 25, 25, 3);
        said(&mut p, 25, 25, 4);
        assert_eq!(p.complete_up_to(), Some(Micros(4)), "nothing came meanwhile");
        said(&mut p, 24, 24, 5);
        said(&mut p, 26, 26, 3);
        assert_eq!(p.complete_up_to(), Some(Micros(4)), "a broker that lags, and a clock that was put back");
    }

    #[test]
    fn an_open_transaction_holds_up() {
        let mut p = partition();
        said(&mut p, 10, 10, 1);
        assert_eq!((p.unloaded(10), p.held_up(10), p.complete_up_to()), (Some(0), None, Some(Micros(1))));
        said(&mut p, 10, 14, 2);
        assert_eq!((p.unloaded(10), p.held_up(10), p.to_ask()), (Some(4), None, None), "it may be at its end by now");
        said(&mut p, 10, 15, 7);
        assert_eq!((p.unloaded(10), p.held_up(10), p.to_ask()), (Some(5), Some((10, Micros(2))), Some(10)));
        assert_eq!(p.complete_up_to(), Some(Micros(1)), "what came later cannot be loaded");
        p.is_old(10, Some(Micros(0)));
        assert_eq!((p.held_up(10), p.to_ask()), (Some((10, Micros(0))), None), "it is asked once");
        // A producer whose clock is ahead cannot make it younger than it was seen to be.
        p.is_old(10, Some(Micros(99)));
        assert_eq!(p.held_up(10), Some((10, Micros(0))));
        // What is after its beginning was read, or loaded: it is at its end, although Kafka was not asked again.
        assert_eq!(p.held_up(15), None);
        p.loaded = 15;
        assert_eq!(p.held_up(10), None);
        p.loaded = 10;
        // The next transaction is another one.
        said(&mut p, 12, 15, 12);
        assert_eq!(p.held_up(10), None);
        said(&mut p, 15, 15, 17);
        p.loaded = 15;
        assert_eq!((p.held_up(15), p.unloaded(15), p.complete_up_to()), (None, Some(0), Some(Micros(17))));
    }

    #[test]
    fn far_behind_it_keeps_few_marks_and_stays_right() {
        let mut p = partition();
        for at in 1..=100_000 {
            said(&mut p, 10 + at, 10 + at, at);
        }
        assert!(p.marks.0.len() <= MARKS);
        for loaded in [11, 500, 77_777, 100_009, 100_010] {
            p.loaded = loaded;
            let Some(Micros(at)) = p.complete_up_to() else { panic!("{loaded}: unknown") };
            assert!(10 + at <= loaded, "{loaded}: {at}");
        }
        assert_eq!(p.complete_up_to(), Some(Micros(100_000)));
    }
}
