//! One operator on a real worker of the engine, driven step by step.
//!
//! A test builds inputs, an operator and outputs on it, and then decides what happens when: it gives data at a time, moves
//! the frontier of an input on, lets the worker take steps, and reads what came out at which times and how far the
//! frontier of each output has come. Nothing happens in between.

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::{Duration, Instant},
};

use operators::Time;
use timely::{
    Accountable, WorkerConfig,
    communication::{Allocator, allocator::thread::Thread},
    container::NoopBuilder,
    dataflow::{
        Scope, Stream,
        channels::pact::Pipeline,
        operators::{
            ActivateCapability, CapabilitySet,
            core::{UnorderedInput, unordered_input::UnorderedHandle},
            generic::operator::Operator,
        },
    },
    worker::Worker,
};

/// More steps than a message takes through any operator and its progress back to all.
const STEPS: usize = 32;
/// Only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// What can travel on an edge.
pub trait Data: Accountable + Clone + Default + 'static {}

impl<C: Accountable + Clone + Default + 'static> Data for C {}

/// A worker with one dataflow.
pub struct Alone(Worker);

impl Alone {
    /// Builds the dataflow; the result is its inputs and outputs.
    pub fn build<R>(build: impl FnOnce(Scope<'_, Time>) -> R) -> (Alone, R) {
        let mut worker =
            Worker::new(WorkerConfig::default(), Allocator::Thread(Thread::default()), Some(Instant::now()));
        let ends = worker.dataflow(build);
        (Alone(worker), ends)
    }

    /// Every operator that has something to do does it once.
    pub fn step(&mut self) {
        self.0.step();
    }

    /// Until nothing moves any more that needs no thread and no timer.
    pub fn settle(&mut self) {
        (0..STEPS).for_each(|_| self.step());
    }

    /// Until that is so, however long a thread or a timer takes.
    pub fn until(&mut self, mut is_so: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < PATIENCE, "it never came");
            self.0.step_or_park(Some(Duration::from_millis(1)));
        }
    }

    /// The reason for which an operator ends the process once a thread of it has failed, which it must.
    pub fn ends(&mut self) -> String {
        let step = |worker: &mut Worker| worker.step_or_park(Some(Duration::from_millis(1)));
        let start = Instant::now();
        loop {
            assert!(start.elapsed() < PATIENCE, "it goes on");
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| step(&mut self.0))) {
                return panic.downcast_ref::<String>().cloned().unwrap_or_default();
            }
        }
    }

    /// The reason for which an operator ends the process, which it must.
    pub fn dies(mut self) -> String {
        let panic = catch_unwind(AssertUnwindSafe(|| self.settle())).expect_err("it goes on");
        std::mem::forget(self); // a worker that has panicked is not fit to be taken apart
        panic.downcast_ref::<String>().cloned().unwrap_or_default()
    }
}

/// An input, with the right to send at any time from its frontier on.
pub struct Input<C: Data> {
    handle: UnorderedHandle<Time, NoopBuilder<C>>,
    held: Option<ActivateCapability<Time>>,
}

impl<C: Data> Input<C> {
    /// An input and its stream.
    pub fn new<'s>(scope: Scope<'s, Time>) -> (Input<C>, Stream<'s, Time, C>) {
        let ((handle, held), stream) = scope.new_unordered_input();
        (Input { handle, held: Some(held) }, stream)
    }

    /// One message.
    pub fn give(&mut self, at: Time, mut data: C) {
        let held = self.held.as_ref().expect("the input is closed").delayed(&at);
        self.handle.activate().session_with_builder(&held).give_container(&mut data);
    }

    /// One message at no time at all, as nobody may send it.
    pub fn give_without_time(&mut self, mut data: C) {
        self.handle.activate().session_with_builder(&CapabilitySet::new()).give_container(&mut data);
    }

    /// Nothing will come before this.
    pub fn advance(&mut self, to: Time) {
        self.held = self.held.as_ref().map(|held| held.delayed(&to));
    }

    /// Nothing will come any more.
    pub fn close(&mut self) {
        self.held = None;
    }
}

/// What comes out.
pub struct Output<C> {
    seen: Rc<RefCell<Vec<(Time, C)>>>,
    frontier: Rc<Cell<Option<Time>>>,
}

impl<C: Data> Output<C> {
    /// The output of this stream.
    pub fn of(stream: Stream<'_, Time, C>) -> Output<C> {
        let output = Output { seen: Rc::default(), frontier: Rc::new(Cell::new(Some(0))) };
        let (seen, at) = (output.seen.clone(), output.frontier.clone());
        stream.sink(Pipeline, "Output", move |(input, frontier)| {
            input.for_each(|capability, data: &mut C| {
                let time = *capability.least().expect("a message without a time");
                seen.borrow_mut().push((time, std::mem::take(data)));
            });
            at.set(frontier.frontier().first().copied());
        });
        output
    }

    /// All messages that came out and were not taken yet, in order, with their times.
    pub fn take(&self) -> Vec<(Time, C)> {
        self.seen.take()
    }

    /// The same output once more.
    pub fn of_same(&self) -> Output<C> {
        Output { seen: self.seen.clone(), frontier: self.frontier.clone() }
    }

    /// From which time on something can still come; `None` if nothing can.
    pub fn frontier(&self) -> Option<Time> {
        self.frontier.get()
    }
}

impl<T: Clone + 'static> Output<Vec<T>> {
    /// The same one by one.
    pub fn take_each(&self) -> Vec<(Time, T)> {
        let each = |(time, data): (Time, Vec<T>)| data.into_iter().map(move |item| (time, item)).collect::<Vec<_>>();
        self.take().into_iter().flat_map(each).collect()
    }
}
