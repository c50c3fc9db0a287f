//! The share of records that cannot be loaded among the newest ones. Pure.

use std::collections::{BTreeMap, HashSet, VecDeque};

/// Over how many of the newest records the share of dead letters is taken.
pub const WINDOW: u64 = 10_000;
/// How many records must have been seen before there is a share.
const ENOUGH: u64 = 1_000;

/// The share of bad ones among the newest records. Pure.
pub(crate) struct Limit {
    above: f64,
    window: VecDeque<Counted>,
    seen: u64,
    bad: u64,
}

/// A record: the place of its partition, and its offset.
pub(crate) type Record = (i32, i64);

/// A batch of the window. Decode sees several before query and fit reject records of the first.
#[derive(Default)]
struct Counted {
    records: u64,
    /// The first and the last offset in it, by place.
    spans: BTreeMap<i32, (i64, i64)>,
    /// A record that fails for several targets is one.
    bad: HashSet<Record>,
}

impl Limit {
    pub(crate) fn new(above: f64) -> Limit {
        Limit { above, window: VecDeque::new(), seen: 0, bad: 0 }
    }

    pub(crate) fn saw(&mut self, records: impl Iterator<Item = Record>) {
        let mut batch = Counted::default();
        for (place, offset) in records {
            batch.records += 1;
            let span = batch.spans.entry(place).or_insert((offset, offset));
            *span = (span.0.min(offset), span.1.max(offset));
        }
        self.seen += batch.records;
        self.window.push_back(batch);
        while let Some(oldest) = self.window.pop_front_if(|oldest| self.seen - oldest.records >= WINDOW) {
            self.seen -= oldest.records;
            self.bad -= oldest.bad.len() as u64;
        }
    }

    /// These records are bad. Bad ones and all of the window, if they are too many now. What has left the window is forgotten.
    pub(crate) fn rejected(&mut self, records: impl Iterator<Item = Record>) -> Option<(u64, u64)> {
        for (place, offset) in records {
            let is_of = |batch: &&mut Counted| {
                batch.spans.get(&place).is_some_and(|(first, last)| (*first..=*last).contains(&offset))
            };
            let new = self.window.iter_mut().find(is_of).is_some_and(|batch| batch.bad.insert((place, offset)));
            self.bad += u64::from(new);
        }
        let is_over = self.seen >= ENOUGH && self.bad as f64 > self.above * self.seen as f64;
        is_over.then_some((self.bad, self.seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_bad_records_is_that_of_the_newest() {
        let some = |from: i64, count: i64| (from..from + count).map(|offset| (0, offset));
        let mut limit = Limit::new(0.05);
        limit.saw(some(0, 999));
        assert_eq!(limit.rejected(some(0, 999)), None, "too few to say");
        let mut limit = Limit::new(0.05);
        for batch in 0..20 {
            limit.saw(some(batch * 1000, 1000));
            assert_eq!(limit.rejected(some(batch * 1000, 50)), None, "just not above");
            assert_eq!(limit.rejected(some(batch * 1000, 50)), None, "the same ones, for another target");
        }
        limit.saw(some(20_000, 1000));
        assert_eq!(limit.rejected(some(20_000, 51)), Some((501, 10_000)));
        // Old ones are forgotten.
        let mut limit = Limit::new(0.05);
        limit.saw(some(0, 1000));
        limit.rejected(some(0, 50));
        (1..11).for_each(|batch| limit.saw(some(batch * 1000, 1000)));
        assert_eq!((limit.seen, limit.bad), (10_000, 0));
        // Decode was far ahead of query: each is counted where it was read, and those of batches that are gone not at all.
        let mut limit = Limit::new(0.05);
        (0..50).for_each(|batch| limit.saw(some(batch * 1000, 1000)));
        for batch in 0..50 {
            assert_eq!(limit.rejected(some(batch * 1000, 40)), None, "4 %");
        }
        assert_eq!(limit.bad, 400);
    }
}
