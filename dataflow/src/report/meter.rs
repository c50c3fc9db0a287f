//! Where the time goes: how long each thread worked for each stage.
//!
//! A worker's time comes from the engine's own log of when it starts and stops an operator; the threads beside the workers
//! say themselves when they work. A stage is slow if the busiest of its threads is: a mean over workers would hide one
//! partition that has all the records.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use operators::events::Stage;
use timely::{
    logging::{StartStop, TimelyEvent, TimelyEventBuilder},
    worker::Worker,
};

const STAGES: usize = Stage::ALL.len();

/// Time worked, by thread and stage, since the start.
pub type Worked = BTreeMap<(Thread, Stage), Duration>;

/// Whose time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    others: Mutex<HashMap<ThreadId, Other>>,
}

struct Other {
    number: usize,
    stage: Stage,
    worked: Duration,
    /// If it works now.
    since: Option<Instant>,
}

impl Meter {
    /// For so many workers.
    pub fn new(workers: usize) -> Meter {
        Meter { workers: (0..workers).map(|_| Default::default()).collect(), others: Mutex::default() }
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

    /// This thread begins to work for a stage.
    pub fn works(&self, stage: Stage) {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let number = others.len();
        let new = Other { number, stage, worked: Duration::ZERO, since: None };
        let other = others.entry(thread::current().id()).or_insert(new);
        other.since = Some(Instant::now());
    }

    /// It has nothing to do.
    pub fn rests(&self) {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = others.get_mut(&thread::current().id()) {
            other.worked += other.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        }
    }

    /// Everything so far; a stretch that lasts counts as far as it has come.
    pub fn worked(&self) -> Worked {
        let of_workers = self.workers.iter().enumerate().flat_map(|(index, stages)| {
            let of_stage = move |stage: Stage| Duration::from_nanos(stages[stage as usize].load(Ordering::Relaxed));
            Stage::ALL.into_iter().map(move |stage| ((Thread::Worker(index), stage), of_stage(stage)))
        });
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let of_others = others.values().map(|other| {
            let now = other.since.map_or(Duration::ZERO, |since| since.elapsed());
            ((Thread::Other(other.number), other.stage), other.worked + now)
        });
        of_workers.chain(of_others).collect()
    }
}

/// The slowest stage between two readings, and which share of the time the busiest of its threads worked for it; `None` if
/// nothing worked at all.
pub fn slowest(before: &Worked, after: &Worked, within: Duration) -> Option<(Stage, f64)> {
    let shares = after.iter().map(|(key, worked)| {
        let worked = worked.saturating_sub(before.get(key).copied().unwrap_or_default());
        (key.1, worked.as_secs_f64() / within.as_secs_f64().max(1e-9))
    });
    shares.filter(|(_, share)| *share > 0.0).max_by(|a, b| a.1.total_cmp(&b.1)).map(|(s, share)| (s, share.min(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_stage_is_that_of_the_busiest_thread() {
        let at = |times: &[(Thread, Stage, u64)]| -> Worked {
            times.iter().map(|(thread, stage, ms)| ((*thread, *stage), Duration::from_millis(*ms))).collect()
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
        assert!(worked[&(Thread::Worker(0), Stage::Decode)] >= Duration::from_millis(20), "{worked:?}");
        assert_eq!(worked[&(Thread::Worker(0), Stage::Query)], Duration::ZERO);
        assert!(worked.contains_key(&(Thread::Other(0), Stage::Load)), "what still lasts counts: {worked:?}");
    }
}
