//! Two kinds of time: the timestamp of the dataflow, and the time of day.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use checkpoint::Micros;

/// The timely timestamp: the number of the epoch. Totally ordered; order inside an epoch is in the data (partition, offset).
pub type Time = u64;

/// The time of day of this machine, in UTC; negative before 1970.
pub fn now() -> Micros {
    let micros = |time: Duration| time.as_micros() as i64;
    Micros(SystemTime::now().duration_since(UNIX_EPOCH).map_or_else(|before| -micros(before.duration()), micros))
}

/// So long before now.
pub fn ago(age: Duration) -> Micros {
    Micros(now().0.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX)).max(0))
}
