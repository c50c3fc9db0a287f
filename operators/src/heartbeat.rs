//! Whether the engine still carries anything between the workers: a beat now and then, on the way that data takes.
//!
//! That the processes of a cluster live, they tell each other elsewhere. But a connection of the engine that is cut off without being
//! closed, or a worker that waits for ever, leaves all of them alive and the job where it is. So every worker beats to worker 0,
//! and worker 0 to all: two operators, in a dataflow of their own.
//!
//! * Beat: holds one capability until the job's own dataflow is complete here, and says so with its last beat.
//! * Pulse: hears the beats. Silence for longer than `dead_after` ends the process. A worker beats between two steps, so that is
//!   longer than any step.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{
        Scope,
        channels::pact::Exchange,
        operators::generic::operator::{Operator, source},
    },
};

use crate::{
    Time,
    failure::{Failure, fail},
};

/// What the heart must know.
#[derive(Clone, Copy, Debug)]
pub struct HeartbeatOptions {
    /// Worker threads of a process; worker w belongs to process w / threads.
    pub threads: usize,
    /// How often it beats.
    pub every: Duration,
    /// How long a silence is taken for death. Longer than any step of a worker.
    pub dead_after: Duration,
}

/// One beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Beat {
    from: usize,
    to: usize,
    /// No other will follow, and none is expected.
    last: bool,
}

/// Whom a worker hears. Pure: who is dead is decided here.
struct Heard(BTreeMap<usize, Instant>);

impl Heard {
    fn new(me: usize, workers: usize, now: Instant) -> Heard {
        Heard(partners(me, workers).map(|worker| (worker, now)).collect())
    }

    fn beat(&mut self, beat: &Beat, now: Instant) {
        if beat.last {
            self.0.remove(&beat.from);
        } else if let Some(at) = self.0.get_mut(&beat.from) {
            *at = now;
        }
    }

    /// As if all had been heard just now.
    fn forgive(&mut self, now: Instant) {
        self.0.values_mut().for_each(|at| *at = now);
    }

    /// The first that was silent for too long, and for how long.
    fn dead(&self, now: Instant, after: Duration) -> Option<(usize, Duration)> {
        self.0.iter().map(|(worker, at)| (*worker, now - *at)).find(|(_, silent)| *silent > after)
    }
}

/// To whom a worker beats, and whom it hears.
fn partners(me: usize, workers: usize) -> impl Iterator<Item = usize> {
    (0..workers).filter(move |worker| *worker != me && (me == 0 || *worker == 0))
}

/// Builds the heart. `is_complete` says whether the job's own dataflow is complete on this worker.
pub fn heartbeat(scope: Scope<'_, Time>, options: HeartbeatOptions, is_complete: impl Fn() -> bool + Clone + 'static) {
    let (me, workers) = (scope.index(), scope.peers());
    let done = is_complete.clone();
    let beats = source::<_, CapacityContainerBuilder<Vec<Beat>>, _, _>(scope, "Beat", move |capability, info| {
        let again = scope.activator_for(info.address);
        let mut capability = Some(capability);
        let mut next = Instant::now();
        move |output| {
            let Some(held) = &capability else { return };
            let (now, last) = (Instant::now(), done());
            if now < next && !last {
                return; // it was woken for another reason, and the timer still runs
            }
            let mut session = output.session(held);
            partners(me, workers).for_each(|to| session.give(Beat { from: me, to, last }));
            drop(session);
            if last {
                capability = None;
                return;
            }
            next = now + options.every;
            again.activate_after(options.every);
        }
    });
    let pulse = Exchange::new(|beat: &Beat| beat.to as u64);
    beats.unary_frontier::<CapacityContainerBuilder<Vec<()>>, _, _, _>(pulse, "Pulse", move |capability, info| {
        drop(capability); // it sends nothing
        let again = scope.activator_for(info.address);
        let mut heard = Heard::new(me, workers, Instant::now());
        let (mut next, mut looked) = (Instant::now(), Instant::now());
        move |(input, _), _| {
            let now = Instant::now();
            if now - looked > options.every * 4 {
                heard.forgive(now); // it was us who did not listen
            }
            looked = now;
            input.for_each(|_, beats| {
                beats.drain(..).for_each(|beat| heard.beat(&beat, now));
            });
            if is_complete() {
                return; // whoever is silent now has ended, or is about to
            }
            if let Some((worker, silent)) = heard.dead(now, options.dead_after) {
                fail(Failure::PeerLost { process: worker / options.threads, silent });
            }
            if now >= next {
                next = now + options.every;
                again.activate_after(options.every);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    #[test]
    fn worker_0_hears_all_and_all_hear_worker_0() {
        assert_eq!(partners(0, 4).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(partners(2, 4).collect::<Vec<_>>(), [0]);
        assert_eq!(partners(0, 1).count(), 0);
    }

    #[test]
    fn silence_is_death_unless_it_was_announced() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let mut heard = Heard::new(0, 3, start);
        let beat = |from, last| Beat { from, to: 0, last };
        heard.beat(&beat(1, false), at(8));
        assert_eq!(heard.dead(at(10), Duration::from_secs(10)), None);
        assert_eq!(heard.dead(at(11), Duration::from_secs(10)), Some((2, Duration::from_secs(11))));
        heard.beat(&beat(2, true), at(11));
        assert_eq!(heard.dead(at(17), Duration::from_secs(10)), None);
        assert_eq!(heard.dead(at(19), Duration::from_secs(10)), Some((1, Duration::from_secs(11))));
        heard.forgive(at(19));
        assert_eq!(heard.dead(at(19), Duration::from_secs(10)), None);
    }

    /// Three workers, of which the first is complete late: nobody is missed, and it ends.
    #[test]
    fn a_heart_ends_when_the_job_is_complete() {
        let complete = Arc::new(AtomicBool::new(false));
        let late = complete.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            late.store(true, Ordering::Relaxed);
        });
        timely::execute(timely::Config::process(3), move |worker| {
            let complete = complete.clone();
            let (every, dead_after) = (Duration::from_millis(20), Duration::from_secs(60));
            let options = HeartbeatOptions { threads: 1, every, dead_after };
            worker.dataflow(|scope| heartbeat(scope, options, move || complete.load(Ordering::Relaxed)));
            while worker.step_or_park(None) {}
        })
        .unwrap()
        .join()
        .into_iter()
        .for_each(|result| result.unwrap());
    }
}
