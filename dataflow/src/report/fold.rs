//! What is said above the live view, where one job says the same every two seconds for months: loads are summed up into a line a minute, and
//! what is repeated is said once a minute. Pure.

use std::{collections::BTreeMap, time::Duration};

use checkpoint::{Epoch, Micros};

use super::words::{clock, counted, moment, spoken};

/// For how long loads are summed up, and nothing of one kind is said twice.
const FOLD_FOR: Duration = Duration::from_secs(60);
/// A load is slow that takes so many times as long as those before it, ...
const SLOW: u32 = 3;
/// ... and so long, ...
const SLOW_FROM: Duration = Duration::from_secs(10);
/// ... once so many were seen.
const SLOW_AFTER: u64 = 5;

/// A load, as far as it is summed up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) first: Epoch,
    pub(super) last: Epoch,
    pub(super) records: u64,
    pub(super) rows: u64,
    pub(super) dead_letters: u64,
    pub(super) took: Duration,
    pub(super) attempts: u32,
}

/// What was not said yet, and what was said lately.
#[derive(Default)]
pub(super) struct Fold {
    sum: Option<Sum>,
    /// When the last load came, and its line or the sum's was said.
    loaded_at: Option<Micros>,
    told_at: Option<Micros>,
    loads: u64,
    took: Duration,
    /// When something of a kind was said last.
    said: BTreeMap<String, Micros>,
}

/// Loads since the last line, none of which had one of its own.
struct Sum {
    since: Micros,
    loads: u64,
    first: Epoch,
    last: Epoch,
    epochs: u64,
    records: u64,
    rows: u64,
    dead_letters: u64,
    slowest: Duration,
}

/// What is said of a load at once.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// The sum of those before it, which it ends if it has a line of its own.
    pub(super) sum: Option<String>,
    /// Of the time before it, in which there was none.
    pub(super) quiet: Option<String>,
    /// Whether it has a line of its own.
    pub(super) itself: bool,
}

impl Fold {
    /// A load is in. The first one has a line of its own, and one after a minute without a line, and one that is notable: it took
    /// several tries or very long, or has dead letters. `patience` is how long nothing is loaded before that is worth a line.
    pub(super) fn load(&mut self, load: &Load, patience: Duration, now: Micros) -> Told {
        let quiet = self.loaded_at.filter(|at| since(*at, now) > patience.max(FOLD_FOR));
        let quiet = quiet.map(|at| {
            let lasted = spoken(since(at, now));
            format!("nothing was loaded from {} to {}, {lasted}", moment(at), moment(now))
        });
        let is_slow = self.loads >= SLOW_AFTER && load.took > SLOW_FROM && load.took > self.mean() * SLOW;
        let kinds = [(load.attempts > 1, "tries"), (load.dead_letters > 0, "dead letters"), (is_slow, "slow")];
        let mut itself = self.sum.is_none() && self.told_at.is_none_or(|at| since(at, now) >= FOLD_FOR);
        for (_, kind) in kinds.into_iter().filter(|(is, _)| *is) {
            itself |= self.may_say(kind, now);
        }
        (self.loads, self.took) = (self.loads + 1, self.took + load.took);
        self.loaded_at = Some(now);
        if !itself {
            self.add(load, now);
            return Told { sum: None, quiet, itself };
        }
        let sum = self.due(true, now);
        self.told_at = Some(now);
        Told { sum, quiet, itself }
    }

    /// The sum of the loads since the last line, once it is time, or `at_the_end`.
    pub(super) fn due(&mut self, at_the_end: bool, now: Micros) -> Option<String> {
        let sum = self.sum.take_if(|sum| at_the_end || since(sum.since, now) >= FOLD_FOR)?;
        self.told_at = Some(now);
        let Sum { since, loads, first, last, epochs, records, rows, dead_letters, slowest, .. } = sum;
        let letters = counted(dead_letters, "dead letter");
        let loads = if loads == 1 { "1 load".to_string() } else { format!("{loads} loads") };
        let slowest = slowest.as_secs_f64();
        let numbers =
            if first == last { format!("epoch {first}") } else { format!("{epochs} epochs, {first} to {last}") };
        let (from, to) = (moment(since), clock(now));
        Some(format!(
            "from {from} to {to} loaded {numbers}: {records} records, {rows} rows{letters}, {loads}, the slowest {slowest:.2} s"
        ))
    }

    /// Whether something of this kind was not said lately. Numbers do not make a kind.
    pub(super) fn may_say(&mut self, kind: &str, now: Micros) -> bool {
        let kind: String = kind.chars().filter(|c| !c.is_ascii_digit()).collect();
        self.said.retain(|_, at| since(*at, now) < FOLD_FOR);
        if self.said.contains_key(&kind) {
            return false;
        }
        self.said.insert(kind, now);
        true
    }

    fn mean(&self) -> Duration {
        self.took.checked_div(u32::try_from(self.loads).unwrap_or(u32::MAX)).unwrap_or_default()
    }

    fn add(&mut self, load: &Load, now: Micros) {
        let sum = self.sum.get_or_insert(Sum {
            since: now,
            loads: 0,
            first: load.first,
            last: load.last,
            epochs: 0,
            records: 0,
            rows: 0,
            dead_letters: 0,
            slowest: Duration::ZERO,
        });
        sum.loads += 1;
        sum.last = load.last;
        sum.epochs += load.last.0 - load.first.0 + 1;
        sum.records += load.records;
        sum.rows += load.rows;
        sum.dead_letters += load.dead_letters;
        sum.slowest = sum.slowest.max(load.took);
    }
}

fn since(at: Micros, now: Micros) -> Duration {
    Duration::from_micros(now.0.saturating_sub(at.0).max(0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-24T12:00:00Z.
    const START: i64 = 1_795_521_600_000_000;

    fn at(seconds: i64) -> Micros {
        Micros(START + seconds * 1_000_000)
    }

    fn load(epoch: u64) -> Load {
        let took = Duration::from_millis(300);
        Load { first: Epoch(epoch), last: Epoch(epoch), records: 12, rows: 10, dead_letters: 0, took, attempts: 1 }
    }

    const PATIENCE: Duration = Duration::from_secs(21);

    /// Everything that is said of a job that loads each other second for so long.
    fn lines(seconds: i64, load: impl Fn(i64) -> Load) -> Vec<String> {
        let (mut fold, mut lines) = (Fold::default(), Vec::new());
        for second in (0..seconds).step_by(2) {
            lines.extend(fold.due(false, at(second)));
            let load = load(second);
            let told = fold.load(&load, PATIENCE, at(second));
            lines.extend(told.sum);
            lines.extend(told.quiet);
            lines.extend(told.itself.then(|| format!("epoch {}", load.first)));
        }
        lines.extend(fold.due(true, at(seconds)));
        lines
    }

    #[test]
    fn loads_are_a_line_a_minute() {
        let day = lines(24 * 3600, |second| load(second as u64 / 2));
        assert_eq!(day.len(), 1 + 24 * 60, "{:#?}", &day[..5]);
        assert_eq!(
            day[..3],
            [
                "epoch 0",
                "from 2026-11-24T12:00:02Z to 12:01:02Z loaded 30 epochs, 1 to 30: 360 records, 300 rows, 30 loads, the slowest 0.30 s",
                "from 2026-11-24T12:01:02Z to 12:02:02Z loaded 30 epochs, 31 to 60: 360 records, 300 rows, 30 loads, the slowest 0.30 s",
            ]
        );
    }

    #[test]
    fn what_is_notable_is_said_at_once_and_not_twice_a_minute() {
        let said = lines(60, |second| match second {
            10 => Load { attempts: 3, ..load(5) },
            20 => Load { took: Duration::from_secs(30), ..load(10) },
            40.. => Load { dead_letters: 1, ..load(second as u64 / 2) },
            _ => load(second as u64 / 2),
        });
        // One that has a line of its own is not counted again.
        assert_eq!(
            said,
            [
                "epoch 0",
                "from 2026-11-24T12:00:02Z to 12:00:10Z loaded 4 epochs, 1 to 4: 48 records, 40 rows, 4 loads, the slowest 0.30 s",
                "epoch 5",
                "from 2026-11-24T12:00:12Z to 12:00:20Z loaded 4 epochs, 6 to 9: 48 records, 40 rows, 4 loads, the slowest 0.30 s",
                "epoch 10",
                "from 2026-11-24T12:00:22Z to 12:00:40Z loaded 9 epochs, 11 to 19: 108 records, 90 rows, 9 loads, the slowest 0.30 s",
                "epoch 20",
                "from 2026-11-24T12:00:42Z to 12:01:00Z loaded 9 epochs, 21 to 29: 108 records, 90 rows, 9 dead letters, 9 loads, the \
                 slowest 0.30 s",
            ]
        );
        let bad = lines(24 * 3600, |second| Load { dead_letters: 1, attempts: 2, ..load(second as u64 / 2) });
        assert!(bad.len() <= 3 * 24 * 60, "{}", bad.len());
    }

    #[test]
    fn a_quiet_time_is_one_line() {
        let mut fold = Fold::default();
        assert!(fold.load(&load(0), PATIENCE, at(0)).itself);
        assert_eq!(fold.due(false, at(60)), None, "of the one load everything was said");
        assert_eq!((1..5000).find_map(|second| fold.due(false, at(second))), None);
        let told = fold.load(&load(1), PATIENCE, at(5000));
        let quiet = "nothing was loaded from 2026-11-24T12:00:00Z to 2026-11-24T13:23:20Z, 83 min";
        assert_eq!(told, Told { sum: None, quiet: Some(quiet.into()), itself: true });
    }

    #[test]
    fn rare_loads_have_a_line_each_and_no_quiet_time_between() {
        let mut fold = Fold::default();
        for n in 0..10 {
            let told = fold.load(&load(n), Duration::from_secs(915), at(n as i64 * 300));
            assert_eq!(told, Told { sum: None, quiet: None, itself: true });
            assert_eq!(fold.due(false, at(n as i64 * 300 + 60)), None);
        }
    }

    #[test]
    fn numbers_do_not_make_a_kind() {
        let mut fold = Fold::default();
        assert!(fold.may_say("loading epochs from 12 on", at(0)));
        assert!(!fold.may_say("loading epochs from 13 on", at(59)));
        assert!(fold.may_say("loading epochs from 14 on", at(60)));
    }
}
