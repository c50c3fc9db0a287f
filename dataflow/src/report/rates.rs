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

/// How far back rates of reading and the slowest stage look.
const READING_WINDOW: Duration = Duration::from_secs(5);
/// How far back the rate of loading looks: loads are far apart.
const LOADING_WINDOW: Duration = Duration::from_secs(60);

/// What is kept of a snapshot.
struct Reading {
    at: Instant,
    records: u64,
    rows: u64,
    worked: Worked,
}

/// The newest snapshots of one who watches.
#[derive(Default)]
pub struct Readings(VecDeque<Reading>);

/// How fast the job is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Records read a second.
    pub records_per_s: f64,
    /// Rows loaded a second.
    pub rows_per_s: f64,
    /// The slowest stage, and its share of the time.
    pub slowest: Option<(Stage, f64)>,
}

impl Readings {
    /// The rates up to a snapshot that was taken now, which is kept for those to come.
    pub fn rates(&mut self, snapshot: &Snapshot, now: Instant) -> Rates {
        while self.0.front().is_some_and(|reading| now - reading.at > LOADING_WINDOW) {
            self.0.pop_front();
        }
        let since = |window: Duration| self.0.iter().find(|reading| now - reading.at <= window);
        let rate = |before: u64, after: u64, at: Instant| (after - before) as f64 / (now - at).as_secs_f64().max(1e-3);
        let (reading, loading) = (since(READING_WINDOW), since(LOADING_WINDOW));
        let rates = Rates {
            records_per_s: reading.map_or(0.0, |r| rate(r.records, snapshot.records, r.at)),
            rows_per_s: loading.map_or(0.0, |r| rate(r.rows, snapshot.rows, r.at)),
            slowest: reading.and_then(|r| meter::slowest(&r.worked, &snapshot.worked, now - r.at)),
        };
        let (records, rows, worked) = (snapshot.records, snapshot.rows, snapshot.worked.clone());
        self.0.push_back(Reading { at: now, records, rows, worked });
        rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::State;

    #[test]
    fn a_rate_is_of_its_window() {
        let start = Instant::now();
        let mut readings = Readings::default();
        let mut at = |seconds: u64, records: u64, rows: u64| {
            let snapshot = Snapshot {
                state: State::Running,
                retrying: Default::default(),
                records,
                offsets: 0,
                total: None,
                rows,
                dead_letters: 0,
                changed: Vec::new(),
                topics: Vec::new(),
                complete_up_to_us: None,
                held_up: None,
                last: None,
                worked: Worked::default(),
            };
            let rates = readings.rates(&snapshot, start + Duration::from_secs(seconds));
            (rates.records_per_s, rates.rows_per_s)
        };
        assert_eq!(at(0, 100, 0), (0.0, 0.0), "of one reading nothing is known");
        assert_eq!(at(4, 500, 40), (100.0, 10.0));
        assert_eq!(
            at(8, 1300, 40),
            (200.0, 5.0),
            "what was read five seconds ago and before is forgotten, not what was loaded"
        );
        assert_eq!(at(64, 1300, 640), (0.0, 10.0));
    }
}
