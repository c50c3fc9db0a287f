//! Where the time goes: how long each thread worked for each stage.
//!
//! A worker's time comes from the engine's own log of when it starts and stops an operator; the threads beside the workers
//! say themselves when they work. A stage is slow if the busiest of its threads is: a mean over workers would hide one
//! partition that has all the records.

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use operators::events::Stage;
use serde::{Deserialize, Serialize};
use timely::{
    logging::{StartStop, TimelyEvent, TimelyEventBuilder},
    worker::Worker,
};

const STAGES: usize = Stage::ALL.len();

/// Time worked, by thread and stage, since the start; in the order of both.
pub type Worked = Vec<Work>;

/// How long a thread worked for a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Work {
    /// Whose time it is.
    pub thread: Thread,
    /// The stage that it works for.
    pub stage: Stage,
    /// How long.
    pub worked_us: u64,
}

/// Whose time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Thread {
    /// A worker.
    Worker(usize),
    /// One of those beside the workers.
    Other(usize),
}

/// The meters of all threads.
pub struct Meter {
    /// Nanoseconds, of each worker and stage.
    workers: Vec<[AtomicU64; STAGES]>,
    /// Which meter it is of this process, for the threads that know theirs.
    id: u64,
    /// Moments are counted from here.
    started: Instant,
    /// The threads in the order in which they began.
    others: Mutex<Vec<Arc<Other>>>,
}

/// The time of a thread beside the workers, all of it for one stage. Only that thread writes.
struct Other {
    stage: Stage,
    worked_ns: AtomicU64,
    /// When it began what it does now, in nanoseconds after the start; [`RESTS`] if it does nothing.
    since_ns: AtomicU64,
}

/// How many meters there were.
static METERS: AtomicU64 = AtomicU64::new(0);

/// What stands in the place of a moment.
const RESTS: u64 = u64::MAX;

thread_local! {
    /// The time of this thread, and the meter that it is kept for: that takes a lock, once.
    static MINE: RefCell<Option<(Arc<Other>, u64)>> = const { RefCell::new(None) };
}

impl Meter {
    /// The meter of so many workers.
    pub fn new(workers: usize) -> Meter {
        Meter {
            workers: (0..workers).map(|_| Default::default()).collect(),
            id: METERS.fetch_add(1, Ordering::Relaxed),
            started: Instant::now(),
            others: Mutex::default(),
        }
    }

    /// Has a worker's engine tell of its operators. Before the dataflow is built.
    pub fn attach(self: &Arc<Meter>, worker: &Worker) {
        let meter = self.clone();
        // The place among this process's own.
        let index = worker.index() % self.workers.len();
        let Some(mut register) = worker.log_register() else { return };
        let mut stages: HashMap<usize, Stage> = HashMap::new();
        let mut started = None;
        register.insert::<TimelyEventBuilder, _>("timely", move |_, events| {
            for (at, event) in events.iter_mut().flatten() {
                match event {
                    TimelyEvent::Operates(operator) => {
                        stages.extend(Stage::of_operator(&operator.name).map(|stage| (operator.id, stage)));
                    }
                    TimelyEvent::Schedule(schedule) => {
                        let Some(stage) = stages.get(&schedule.id) else { continue };
                        match schedule.start_stop {
                            StartStop::Start => started = Some(*at),
                            StartStop::Stop => {
                                let took = started.take().map_or(Duration::ZERO, |started| at.saturating_sub(started));
                                let place = *stage as usize;
                                meter.workers[index][place].fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
                            }
                        }
                    }
                    _ => {}
                }
            }
        });
    }

    fn now_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// This thread begins to work for a stage.
    pub fn works(&self, stage: Stage) {
        MINE.with_borrow_mut(|mine| {
            if mine.as_ref().is_none_or(|(_, meter)| *meter != self.id) {
                let new = Arc::new(Other { stage, worked_ns: 0.into(), since_ns: RESTS.into() });
                self.others.lock().unwrap_or_else(PoisonError::into_inner).push(new.clone());
                *mine = Some((new, self.id));
            }
            if let Some((other, _)) = mine {
                other.since_ns.store(self.now_ns(), Ordering::Release);
            }
        });
    }

    /// It has nothing to do.
    pub fn rests(&self) {
        MINE.with_borrow(|mine| {
            let Some((other, _)) = mine.as_ref().filter(|(_, meter)| *meter == self.id) else { return };
            let since = other.since_ns.load(Ordering::Acquire);
            // The sum first: whoever looks between sees a stretch twice for a moment, and never time that went back.
            other.worked_ns.fetch_add(self.now_ns().saturating_sub(since), Ordering::AcqRel);
            other.since_ns.store(RESTS, Ordering::Release);
        });
    }

    /// Everything so far; a stretch that lasts counts as far as it has come.
    pub fn worked(&self) -> Worked {
        let micros = |ns: u64| ns / 1000;
        let of_workers = self.workers.iter().enumerate().flat_map(|(index, stages)| {
            let of_stage = move |stage: Stage| micros(stages[stage as usize].load(Ordering::Relaxed));
            let thread = Thread::Worker(index);
            Stage::ALL.into_iter().map(move |stage| Work { thread, stage, worked_us: of_stage(stage) })
        });
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let now = self.now_ns();
        let of_others = others.iter().enumerate().map(|(number, other)| {
            let since = other.since_ns.load(Ordering::Acquire);
            let lasts = if since == RESTS { 0 } else { now.saturating_sub(since) };
            let worked_us = micros(other.worked_ns.load(Ordering::Acquire) + lasts);
            Work { thread: Thread::Other(number), stage: other.stage, worked_us }
        });
        of_workers.chain(of_others).collect()
    }
}

/// The slowest stage between two readings, and which share of the time the busiest of its threads worked for it; `None` if
/// nothing worked at all.
pub fn slowest(before: &Worked, after: &Worked, within: Duration) -> Option<(Stage, f64)> {
    let shares = after.iter().map(|work| {
        let same = |old: &&Work| (old.thread, old.stage) == (work.thread, work.stage);
        let worked_us = work.worked_us.saturating_sub(before.iter().find(same).map_or(0, |old| old.worked_us));
        (work.stage, Duration::from_micros(worked_us).as_secs_f64() / within.as_secs_f64().max(1e-9))
    });
    shares.filter(|(_, share)| *share > 0.0).max_by(|a, b| a.1.total_cmp(&b.1)).map(|(s, share)| (s, share.min(1.0)))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn the_slowest_stage_is_that_of_the_busiest_thread() {
        let at = |times: &[(Thread, Stage, u64)]| -> Worked {
            times
                .iter()
                .map(|(thread, stage, ms)| Work { thread: *thread, stage: *stage, worked_us: ms * 1000 })
                .collect()
        };
        let (one, two, other) = (Thread::Worker(0), Thread::Worker(1), Thread::Other(0));
        let before = at(&[(one, Stage::Decode, 100), (two, Stage::Decode, 100)]);
        // One worker has all the records: the mean would say load.
        let after = at(&[(one, Stage::Decode, 1000), (two, Stage::Decode, 110), (other, Stage::Load, 600)]);
        assert_eq!(slowest(&before, &after, Duration::from_secs(1)), Some((Stage::Decode, 0.9)));
        assert_eq!(slowest(&after, &after, Duration::from_secs(1)), None);
    }

    #[test]
    fn the_engine_tells_of_its_operators() {
        let meter = Arc::new(Meter::new(1));
        let seen = meter.clone();
        timely::execute_directly(move |worker| {
            use timely::dataflow::{
                channels::pact::Pipeline,
                operators::{generic::operator::Operator, vec::ToStream},
            };
            meter.attach(worker);
            worker.dataflow::<u64, _, _>(|scope| {
                (0..3u64).to_stream(scope).container::<Vec<u64>>().sink(Pipeline, "Decode", |(input, _)| {
                    input.for_each(|_, _| thread::sleep(Duration::from_millis(20)));
                });
            });
        });
        seen.works(Stage::Load);
        let worked = seen.worked();
        let of = |thread, stage| {
            let found = worked.iter().find(|work| (work.thread, work.stage) == (thread, stage));
            found.unwrap_or_else(|| panic!("{worked:?}")).worked_us
        };
        assert!(of(Thread::Worker(0), Stage::Decode) >= 20_000, "{worked:?}");
        assert_eq!(of(Thread::Worker(0), Stage::Query), 0);
        thread::sleep(Duration::from_millis(2));
        let lasts = seen.worked().last().map_or(0, |work| work.worked_us);
        assert!(lasts >= of(Thread::Other(0), Stage::Load) + 2000, "what still lasts counts: {lasts}");
        seen.rests();
        assert_eq!(seen.worked(), seen.worked(), "who rests is no longer counted");
    }
}
