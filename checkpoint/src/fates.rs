//! What becomes of a record: one place that names the fates, and the equations that they must satisfy.
//!
//! Each record that an epoch reads meets, for each target of its stream, exactly one *fate*. What leaves fetch and what meets a
//! fate is counted apart, by those who see it, and compared when the epoch is sealed: by number, and by a sum over hashes of the
//! records' places and offsets. So a batch that an operator drops is seen, and one that is dropped while another of the same
//! size is given twice as well.
//!
//! *Rows* are what comes of the fates in the target. In an append target each taken record is one row ([`Counts::add_up`]);
//! other kinds of target will have equations of their own, because one record may change several rows or none.

use serde::{Deserialize, Serialize};

macro_rules! fates {
    ($($name:ident $column:literal $text:literal,)*) => {
        /// What became of a record for one target. A closed set: each record meets exactly one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Fate { $(#[doc = $text] $name,)* }

        impl Fate {
            /// All of them, in the order of the tables' columns.
            pub const ALL: &'static [Fate] = &[$(Fate::$name,)*];

            /// Its column in the table of counts.
            pub fn column(self) -> &'static str {
                match self { $(Fate::$name => $column,)* }
            }

            /// What it means.
            pub fn text(self) -> &'static str {
                match self { $(Fate::$name => $text,)* }
            }
        }

        /// How many fates there are.
        pub const FATES: usize = [$(Fate::$name,)*].len();
    };
}

fates! {
    Taken "taken" "Its row went into a file.",
    Filtered "filtered" "WHERE left it out.",
    Skipped "skipped" "A tombstone of a stream.",
    Undecoded "undecoded" "It did not decode; one dead letter for all targets of its stream.",
    DeadLetter "dead_letters" "The query, or the fit to the target's columns, failed on it.",
    Late "late" "It came after the watermark, and the job leaves such records out.",
    Duplicate "duplicates" "It was seen before.",
    Unmatched "unmatched" "An inner join found nothing for it.",
    Unchanged "unchanged" "It would have left its row as it is.",
}

impl Fate {
    /// Whether an operator of today gives it. The columns of the others are NULL.
    pub fn is_used(self) -> bool {
        matches!(self, Fate::Taken | Fate::Filtered | Fate::Skipped | Fate::Undecoded | Fate::DeadLetter)
    }
}

/// How many records, and which: the wrapping sum of [`record_hash`] over them does not depend on their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// The wrapping sum of their hashes.
    pub sum: u64,
}

impl Tally {
    /// Counts one record.
    pub fn record(&mut self, place: i32, offset: i64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(record_hash(place, offset));
    }

    /// The tally of these records: the place of the partition, and the offset.
    pub fn of(records: impl IntoIterator<Item = (i32, i64)>) -> Tally {
        let mut tally = Tally::default();
        records.into_iter().for_each(|(place, offset)| tally.record(place, offset));
        tally
    }

    /// Adds what somebody else counted.
    pub fn add(&mut self, other: Tally) {
        self.count += other.count;
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

/// A hash of where a record stands: the place of its partition in the job's list, and its offset. It never leaves a run, so it
/// may change from release to release. Mixed as in SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", 2014), so that sums over neighbours do not cancel out.
pub fn record_hash(place: i32, offset: i64) -> u64 {
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let place = u64::from(place as u32).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mix(place ^ mix(offset as u64))
}

/// Tallies by fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fates([Tally; FATES]);

impl Fates {
    /// Who met this fate.
    pub fn get(&self, fate: Fate) -> Tally {
        self.0[fate as usize]
    }

    /// These met it as well.
    pub fn add(&mut self, fate: Fate, tally: Tally) {
        self.0[fate as usize].add(tally);
    }

    /// Adds what others counted.
    pub fn merge(&mut self, other: &Fates) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| mine.add(theirs));
    }

    /// Whoever met any fate.
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        self.0.iter().for_each(|tally| total.add(*tally));
        total
    }
}

/// What the tables say of one target in one epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Records of the target's stream, without aborted and control records. None for the dead letters, which are read elsewhere.
    pub records_read: u64,
    /// How many met each fate, in the order of [`Fate::ALL`].
    pub fates: [u64; FATES],
    /// How many of those taken came after the watermark.
    pub late_taken: u64,
    /// Rows that came into the target.
    pub loaded: u64,
    /// Rows that left it.
    pub removed: u64,
}

impl Counts {
    /// The counts of what was read, by fate, and of the rows in its files.
    pub fn new(read: Tally, fates: &Fates, loaded: u64) -> Counts {
        Counts { records_read: read.count, fates: fates.0.map(|tally| tally.count), loaded, ..Counts::default() }
    }

    /// How many met this fate.
    pub fn of(&self, fate: Fate) -> u64 {
        self.fates[fate as usize]
    }

    /// Says how many met it.
    pub fn set(&mut self, fate: Fate, count: u64) {
        self.fates[fate as usize] = count;
    }

    /// Whether each record that was read met a fate, and each one taken is a row: the equations of an append target.
    pub fn add_up(&self) -> bool {
        self.records_read == self.fates.iter().sum::<u64>()
            && self.loaded == self.of(Fate::Taken)
            && self.late_taken <= self.of(Fate::Taken)
            && self.removed == 0
    }

    /// Adds those of another epoch.
    pub fn add(&mut self, other: &Counts) {
        self.records_read += other.records_read;
        self.fates.iter_mut().zip(other.fates).for_each(|(mine, theirs)| *mine += theirs);
        self.late_taken += other.late_taken;
        self.loaded += other.loaded;
        self.removed += other.removed;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_fate_has_a_place_and_a_column_of_its_own() {
        let columns: std::collections::BTreeSet<_> = Fate::ALL.iter().map(|fate| fate.column()).collect();
        assert_eq!(columns.len(), FATES);
        assert!(Fate::ALL.iter().enumerate().all(|(i, fate)| *fate as usize == i));
    }

    #[test]
    fn counts_add_up() {
        let mut fates = Fates::default();
        fates.add(Fate::Taken, Tally::of([(0, 1), (0, 2)]));
        fates.add(Fate::Filtered, Tally::of([(1, 1)]));
        fates.add(Fate::Undecoded, Tally::of([(1, 2)]));
        let mut counts = Counts::new(fates.total(), &fates, 2);
        assert!(counts.add_up());
        counts.add(&counts.clone());
        assert!(counts.add_up() && counts.records_read == 8 && counts.of(Fate::Taken) == 4);
        for change in [
            |c: &mut Counts| c.records_read += 1,
            |c: &mut Counts| c.loaded -= 1,
            |c: &mut Counts| c.set(Fate::Late, 1),
            |c: &mut Counts| c.late_taken = 5,
            |c: &mut Counts| c.removed = 1,
        ] {
            let mut changed = counts;
            change(&mut changed);
            assert!(!changed.add_up(), "{changed:?}");
        }
    }

    proptest! {
        /// The sum tells which records, in any order and over any number of workers.
        #[test]
        fn a_batch_lost_while_another_of_its_size_comes_twice_is_seen(
            batches in prop::collection::vec((0..8i32, 0..10_000i64), 2..40),
            lost in any::<prop::sample::Index>(),
            twice in any::<prop::sample::Index>(),
        ) {
            let of = |batch: &(i32, i64)| Tally::of((0..10).map(|n| (batch.0, batch.1 * 10 + n)));
            let mut whole = Tally::default();
            batches.iter().for_each(|batch| whole.add(of(batch)));
            let mut reversed = Tally::default();
            batches.iter().rev().for_each(|batch| reversed.add(of(batch)));
            prop_assert_eq!(whole, reversed);
            let (lost, twice) = (lost.get(&batches), twice.get(&batches));
            let mut other = whole;
            other.count -= 10;
            other.sum = other.sum.wrapping_sub(of(lost).sum);
            other.add(of(twice));
            prop_assert_eq!(whole == other, lost == twice);
        }
    }
}
