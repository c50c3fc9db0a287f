//! The clock: what ends an epoch, what a stop is, and whose word counts for which epoch.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use checkpoint::Epoch;
use operators::{
    clock::{ClockOptions, clock},
    ending::{Ending, Reason},
    signals::{Close, Stat},
};

use crate::harness::{Alone, Input, Output};

struct Ticking {
    alone: Alone,
    stats: Input<Vec<Stat>>,
    loaded: Input<Vec<u64>>,
    commands: Output<Vec<(usize, Close)>>,
    stop: Arc<AtomicBool>,
    ending: Reason,
}

impl Ticking {
    /// A clock that closes an epoch as soon as something moved.
    fn new(until_caught_up: bool) -> Ticking {
        let (stop, ending) = (Arc::new(AtomicBool::new(false)), Reason::default());
        let options = ClockOptions {
            first: Epoch(3),
            interval: Duration::ZERO,
            max_bytes: u64::MAX,
            max_rows: u64::MAX,
            until_caught_up,
            stop: stop.clone(),
            ending: ending.clone(),
            threads: 1,
        };
        let (alone, (stats, loaded, commands)) = Alone::build(|scope| {
            let (stats, told) = Input::new(scope);
            let (loaded, done) = Input::new(scope);
            (stats, loaded, Output::of(clock(scope, told, done, options, Arc::new(|_| {}))))
        });
        Ticking { alone, stats, loaded, commands, stop, ending }
    }

    fn commands(&mut self) -> Vec<(u64, Close)> {
        self.alone.settle();
        self.commands.take_each().into_iter().map(|(time, (_, close))| (time, close)).collect()
    }
}

fn stat(moved: bool) -> Stat {
    let (rows, offsets, bytes) = if moved { (1, 1, 10) } else { (0, 0, 0) };
    Stat { worker: 0, rows, offsets, bytes, moved, full: false, reached: false, ending: None }
}

/// What was sent in an epoch says nothing of the next one, however late it comes.
#[test]
fn what_is_told_of_a_closed_epoch_does_not_close_the_next() {
    let mut ticking = Ticking::new(false);
    ticking.stats.give(3, vec![stat(true)]);
    let [(3, Close { epoch: 3, last: false, .. })] = ticking.commands()[..] else { panic!("epoch 3 is closed") };
    ticking.stats.give(3, vec![stat(true)]);
    assert_eq!(ticking.commands(), []);
    ticking.stats.give(4, vec![stat(true)]);
    let [(4, Close { epoch: 4, last: false, .. })] = ticking.commands()[..] else { panic!("epoch 4 is closed") };
    assert_eq!(ticking.commands.frontier(), Some(5));
}

/// A worker may have read into the open epoch and not have said so yet.
#[test]
fn a_stop_closes_the_open_epoch_although_nothing_was_heard_of_it() {
    for moved in [false, true] {
        let mut ticking = Ticking::new(false);
        ticking.loaded.advance(3);
        ticking.stop.store(true, Ordering::Relaxed);
        if moved {
            ticking.stats.give(3, vec![stat(true)]);
        }
        let commands = ticking.commands();
        assert!(matches!(commands[..], [(3, Close { epoch: 3, last: true, .. })]), "{commands:?}");
        assert_eq!(ticking.commands.frontier(), None);
    }
}

/// What was reached in a closed epoch is reached.
#[test]
fn a_job_that_has_caught_up_ends_however_late_that_is_told() {
    let mut ticking = Ticking::new(true);
    ticking.stats.give(3, vec![stat(true)]);
    assert_eq!(ticking.commands().len(), 1);
    ticking.stats.give(3, vec![Stat { reached: true, ..stat(true) }]);
    let commands = ticking.commands();
    assert!(matches!(commands[..], [(4, Close { epoch: 4, last: true, .. })]), "{commands:?}");
    assert_eq!(ticking.commands.frontier(), None);
}

/// From outside, or from a worker that cannot read on, in whatever epoch its word arrives: the last command has it.
#[test]
fn a_reason_to_end_travels_with_the_last_close() {
    let gone = |topic: &str| Ending::TopicGone { topic: topic.into() };
    for told in [None, Some(3), Some(4)] {
        let mut ticking = Ticking::new(false);
        if told == Some(4) {
            ticking.stats.give(3, vec![stat(true)]);
            assert_eq!(ticking.commands().len(), 1);
            // The epoch in which it was said is closed by now.
            ticking.stats.give(3, vec![Stat { ending: Some(gone("worker")), ..stat(false) }]);
        }
        if told == Some(3) {
            ticking.stats.give(3, vec![Stat { ending: Some(gone("worker")), ..stat(true) }]);
            ticking.stats.give(3, vec![Stat { ending: Some(gone("other")), ..stat(true) }]);
        }
        if told.is_none() {
            ticking.ending.leave(gone("outside"));
        }
        let commands = ticking.commands();
        let [(_, Close { last: true, ending: Some(why), .. })] = &commands[..] else { panic!("{commands:?}") };
        assert_eq!(*why, gone(if told.is_none() { "outside" } else { "worker" }), "the first one counts");
        assert_eq!(ticking.commands.frontier(), None);
    }
}

#[test]
fn a_message_without_an_epoch_ends_the_process() {
    let mut ticking = Ticking::new(false);
    ticking.stats.give_without_time(vec![stat(true)]);
    assert!(ticking.alone.dies().contains("without an epoch"));
}
