//! The one bridge between a worker and what blocks: jobs go to threads over a queue, results come back and wake the operator.
//!
//! [`Background`] has threads of its own, for one operator. A [`Pool`] is shared by all workers and targets of a process, because there
//! can be thousands of those.

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, unbounded};
use timely::scheduling::SyncActivator;

use crate::{
    failure::{Failure, fail},
    threads::named,
};

/// Threads that do jobs for one operator. They end when this is dropped and their job is done.
pub struct Background<J, R> {
    jobs: Sender<J>,
    results: Receiver<R>,
    /// Jobs that did not fit into the queue yet.
    waiting: std::collections::VecDeque<J>,
}

impl<J: Send + 'static, R: Send + 'static> Background<J, R> {
    /// Starts `threads` threads, each with a `work` of its own. At most `queue` jobs wait in the threads' queue; the others
    /// wait here, where the operator's own bound (its epochs' memory budget) holds them.
    pub fn new<W>(
        name: &str,
        threads: usize,
        queue: usize,
        wake: SyncActivator,
        mut work: impl FnMut() -> W,
    ) -> Background<J, R>
    where
        W: FnMut(J) -> R + Send + 'static,
    {
        let (jobs, incoming) = bounded::<J>(queue);
        // Bounded by the jobs.
        let (outgoing, results) = unbounded::<R>();
        for number in 0..threads {
            let (incoming, outgoing, wake, mut work) = (incoming.clone(), outgoing.clone(), wake.clone(), work());
            let spawned = named(format!("{name}-{number}"), move || {
                for job in incoming {
                    // Either fails when the operator is gone; then nobody wants the result.
                    if outgoing.send(work(job)).is_err() || wake.activate().is_err() {
                        return;
                    }
                }
            });
            if let Err(e) = spawned {
                fail(Failure::Bug(format!("cannot start thread {name}: {e}")));
            }
        }
        Background { jobs, results, waiting: Default::default() }
    }

    /// Hands over a job. Never blocks.
    pub fn submit(&mut self, job: J) {
        self.waiting.push_back(job);
        self.push();
    }

    /// The results that are there. Never blocks.
    pub fn results(&mut self) -> Vec<R> {
        let results: Vec<R> = self.results.try_iter().collect();
        self.push();
        results
    }

    fn push(&mut self) {
        while let Some(job) = self.waiting.pop_front() {
            match self.jobs.try_send(job) {
                Ok(()) => {}
                // A result will come, and with it room.
                Err(TrySendError::Full(job)) => return self.waiting.push_front(job),
                Err(TrySendError::Disconnected(_)) => fail(Failure::Bug("a background thread ended".into())),
            }
        }
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// Threads for whoever has something to do. Clones are the same; they end when the last one is dropped and all is done.
#[derive(Clone)]
pub struct Pool {
    jobs: Sender<Job>,
}

impl Pool {
    /// Starts the threads.
    pub fn new(name: &str, threads: usize) -> Pool {
        // Bounded by what hands the jobs over: the memory budget counts the files that wait here.
        let (jobs, incoming) = unbounded::<Job>();
        for number in 0..threads {
            let incoming = incoming.clone();
            let spawned = named(format!("{name}-{number}"), move || {
                for job in incoming {
                    job();
                }
            });
            if let Err(e) = spawned {
                fail(Failure::Bug(format!("cannot start thread {name}: {e}")));
            }
        }
        Pool { jobs }
    }

    /// A place of one operator in it. `wake` is called when it has results.
    pub fn place<R: Send + 'static>(&self, wake: SyncActivator) -> Pooled<R> {
        let (outgoing, results) = unbounded();
        Pooled { pool: self.clone(), outgoing, results, wake }
    }
}

/// What an operator has of a [`Pool`].
pub struct Pooled<R> {
    pool: Pool,
    outgoing: Sender<R>,
    results: Receiver<R>,
    wake: SyncActivator,
}

impl<R: Send + 'static> Pooled<R> {
    /// Hands over a job. Never blocks.
    pub fn submit(&self, job: impl FnOnce() -> R + Send + 'static) {
        let (outgoing, wake) = (self.outgoing.clone(), self.wake.clone());
        let job = Box::new(move || {
            // Either fails when the operator is gone; then nobody wants the result.
            let _ = outgoing.send(job()).is_ok() && wake.activate().is_ok();
        });
        if self.pool.jobs.send(job).is_err() {
            fail(Failure::Bug("the threads of a pool ended".into()));
        }
    }

    /// The results that are there. Never blocks.
    pub fn results(&self) -> impl Iterator<Item = R> + '_ {
        self.results.try_iter()
    }
}
