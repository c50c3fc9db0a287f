//! The loader's housework between two loads: old epochs are folded into one row, and sessions that nobody asks for forgotten.
//!
//! It never ends a job and never holds up a load for long: a slice at a time, as many epochs as fold in a second or two, and four
//! times as long nothing of it. What fails is said and tried again later.

use std::time::{Duration, Instant};

use checkpoint::history::FULL_CUT_EVERY;
use connectors::{Fault, Fold, Folded, Warehouse};

use crate::{
    events::{Event, Watch},
    time::ago,
};

/// How often it is looked whether anything has grown old.
const LOOK_EVERY: Duration = Duration::from_secs(10 * 60);
/// How long the rows of sessions are kept. No session lives so long.
const SESSIONS_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// The fewest epochs of a slice: with fewer there may be no whole cut among them; and the most.
pub const SLICE: (u64, u64) = (2 * FULL_CUT_EVERY, 50 * FULL_CUT_EVERY);
/// A slice that folds so fast is followed by a larger one, and one that takes so long by a smaller one.
const FAST: Duration = Duration::from_millis(500);
const SLOW: Duration = Duration::from_secs(2);

/// When, and how much at once. Pure: it is told the time.
pub struct Housework {
    /// How long epochs are kept as they are; `None` for ever.
    keep: Option<Duration>,
    next: Instant,
    /// Sessions are looked at once a process.
    sessions: bool,
    slice: u64,
}

impl Housework {
    /// The first look comes after a while: a start has other work.
    pub fn new(keep: Option<Duration>, first: Instant) -> Housework {
        Housework { keep, next: first, sessions: true, slice: SLICE.0 }
    }

    /// How long there is nothing to do.
    pub fn rest(&self, now: Instant) -> Duration {
        self.next.saturating_duration_since(now)
    }

    /// What became of a slice, which took so long: how large the next one is, and when it comes.
    fn after(&mut self, now: Instant, took: Duration, folded: Result<Option<Folded>, Fault>) {
        let (least, most) = SLICE;
        let pause = match folded {
            Ok(Some(_)) => {
                self.slice = match took {
                    took if took < FAST => (self.slice * 2).min(most),
                    took if took > SLOW => (self.slice / 2).max(least),
                    _ => self.slice,
                };
                took * 4
            }
            Err(Fault::TooLong) if self.slice > least => {
                self.slice = (self.slice / 2).max(least);
                took * 4
            }
            Ok(None) | Err(_) => LOOK_EVERY,
        };
        self.next = now + pause;
    }

    /// Does what is due.
    pub fn turn(&mut self, warehouse: &mut dyn Warehouse, watch: &Watch) {
        let begun = Instant::now();
        if !self.rest(begun).is_zero() {
            return;
        }
        if std::mem::take(&mut self.sessions)
            && let Err(error) = warehouse.forget_sessions(ago(SESSIONS_FOR))
        {
            watch(Event::Unfolded { why: error.told() });
        }
        let folded = match self.keep {
            Some(keep) => warehouse.fold(&Fold { before: ago(keep), epochs: self.slice }),
            None => Ok(None),
        };
        match &folded {
            Ok(Some(Folded { base, epochs })) => watch(Event::Folded { base: *base, epochs: *epochs }),
            Ok(None) => {}
            Err(error) => watch(Event::Unfolded { why: error.told() }),
        }
        let now = Instant::now();
        self.after(now, now - begun, folded.map_err(|error| error.fault));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use checkpoint::Epoch;

    #[test]
    fn slices_grow_while_they_are_fast_and_shrink_where_they_are_slow() {
        let now = Instant::now();
        let mut housework = Housework::new(Some(Duration::ZERO), now);
        let folded = || Ok(Some(Folded { base: Epoch(9), epochs: 9 }));
        let mut next = |took_ms: u64, folded| {
            housework.after(now, Duration::from_millis(took_ms), folded);
            (housework.slice, housework.rest(now).as_millis() as u64)
        };
        assert_eq!(next(10, folded()), (400, 40));
        assert_eq!(next(10, folded()), (800, 40));
        assert_eq!(next(1_000, folded()), (800, 4_000));
        assert_eq!(next(3_000, folded()), (400, 12_000));
        assert_eq!(next(8_000, Err(Fault::TooLong)), (200, 32_000));
        assert_eq!(next(8_000, Err(Fault::TooLong)), (200, 600_000), "it cannot be less");
        assert_eq!(next(10, Err(Fault::Outage)), (200, 600_000));
        assert_eq!(next(10, Ok(None)), (200, 600_000));
        let grown: Vec<u64> = (0..6).map(|_| next(10, folded()).0).collect();
        assert_eq!(grown, [400, 800, 1_600, 3_200, 5_000, 5_000]);
    }
}
