//! How fast it goes: the difference of snapshots that somebody took.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use operators::events::Stage;

use super::{
    facts::Snapshot,
    meter::{self, Worked},
};

/// How far back the rate of reading and the slowest stage look.
const READING_WINDOW: Duration = Duration::from_secs(5);
/// How far back the rate of loading looks at least.
const LOADING_WINDOW: Duration = Duration::from_secs(10);

/// What is kept of a snapshot.
struct Reading {
    at: Instant,
    records: u64,
    offsets: u64,
    worked: Worked,
}

/// The newest snapshots of one who watches.
#[derive(Default)]
pub struct Readings {
    newest: VecDeque<Reading>,
    /// How many rows were loaded, at the first reading and at each that saw more. The first one may be older than the window.
    loads: VecDeque<(Instant, u64)>,
}

/// How fast the job is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Records read a second.
    pub records_per_s: f64,
    /// Offsets read a second.
    pub offsets_per_s: f64,
    /// Rows loaded a second, ...
    pub rows_per_s: f64,
    /// ... over so long.
    pub rows_over: Duration,
    /// The slowest stage, and its share of the time.
    pub slowest: Option<(Stage, f64)>,
}

/// Loads come one after each epoch, or one after the other: over two of them a rate means something.
fn loading_window(interval: Duration, took: Duration) -> Duration {
    LOADING_WINDOW.max(interval * 2).max(took * 2)
}

impl Readings {
    /// The rates up to a snapshot that was taken now, which is kept for those to come; of a job whose epochs stay open so long.
    pub fn rates(&mut self, snapshot: &Snapshot, interval: Duration, now: Instant) -> Rates {
        while self.newest.front().is_some_and(|reading| now - reading.at > READING_WINDOW) {
            self.newest.pop_front();
        }
        let rate = |before: u64, after: u64, over: Duration| (after - before) as f64 / over.as_secs_f64().max(1e-3);
        let (rows_per_s, rows_over) = self.loading(snapshot, interval, now);
        let since = self.newest.front();
        let rates = Rates {
            records_per_s: since.map_or(0.0, |r| rate(r.records, snapshot.records, now - r.at)),
            offsets_per_s: since.map_or(0.0, |r| rate(r.offsets, snapshot.offsets, now - r.at)),
            rows_per_s,
            rows_over,
            slowest: since.and_then(|r| meter::slowest(&r.worked, &snapshot.worked, now - r.at)),
        };
        let (records, offsets, worked) = (snapshot.records, snapshot.offsets, snapshot.worked.clone());
        self.newest.push_back(Reading { at: now, records, offsets, worked });
        rates
    }

    /// Rows loaded a second, and over how long. A load that is older than that is forgotten: where none comes the rate falls to nothing.
    fn loading(&mut self, snapshot: &Snapshot, interval: Duration, now: Instant) -> (f64, Duration) {
        if self.loads.back().is_none_or(|(_, rows)| *rows != snapshot.rows) {
            self.loads.push_back((now, snapshot.rows));
        }
        let took = Duration::from_millis(snapshot.last.as_ref().map_or(0, |last| last.took_ms));
        let window = loading_window(interval, took);
        while self.loads.get(1).is_some_and(|(at, _)| now - *at >= window) {
            self.loads.pop_front();
        }
        let Some((first, before)) = self.loads.front() else { return (0.0, window) };
        let over = window.min(now - *first);
        if over.is_zero() {
            return (0.0, window);
        }
        ((snapshot.rows - before) as f64 / over.as_secs_f64(), over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        report::facts::{LastLoad, snapshot_of},
        state::State,
    };

    #[test]
    fn a_rate_is_of_its_window() {
        let start = Instant::now();
        let mut readings = Readings::default();
        let mut at = |seconds: u64, records: u64, rows: u64| {
            let snapshot = Snapshot { records, rows, ..snapshot_of(State::Running) };
            let rates = readings.rates(&snapshot, Duration::from_secs(2), start + Duration::from_secs(seconds));
            (rates.records_per_s, rates.rows_per_s, rates.rows_over.as_secs())
        };
        assert_eq!(at(0, 100, 0), (0.0, 0.0, 10), "of one reading nothing is known");
        assert_eq!(at(4, 500, 40), (100.0, 10.0, 4));
        assert_eq!(
            at(8, 1300, 40),
            (200.0, 5.0, 8),
            "what was read five seconds ago is forgotten, not what was loaded"
        );
        assert_eq!(at(12, 1300, 140), (0.0, 14.0, 10));
        // An outage: nothing comes any more.
        assert_eq!(at(16, 1300, 140), (0.0, 10.0, 10));
        assert_eq!(at(22, 1300, 140), (0.0, 0.0, 10));
    }

    #[test]
    fn a_window_has_room_for_two_loads() {
        let seconds = Duration::from_secs;
        assert_eq!(loading_window(seconds(2), seconds(1)), seconds(10));
        assert_eq!(loading_window(seconds(60), seconds(7)), seconds(120));
        assert_eq!(loading_window(seconds(2), seconds(40)), seconds(80));
        let last = LastLoad { epoch: 1, rows: 1, took_ms: 40_000, ago_ms: 0 };
        let snapshot = Snapshot { last: Some(last), ..snapshot_of(State::Running) };
        assert_eq!(Readings::default().rates(&snapshot, seconds(2), Instant::now()).rows_over, seconds(80));
    }
}
