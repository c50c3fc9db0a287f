//! Stops at any moment of a job that has work: it ends with 0 each time, and loses and doubles nothing. 500 of them in the big run.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use harness::{events::Events, world::World};

const TERMINATE: i32 = 15;

/// The next of a row of numbers below `most` that look random and are the same in each run.
fn next(state: &mut u64, most: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % most
}

/// Ends the producer, also when the test fails.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_stop_under_load_ends_well_at_any_moment() {
    let stops = if std::env::var_os("TIDEGATE_PROOF").is_some() { 500 } else { 12 };
    let mut world = World::new("stops", 6);
    world.more = "[epoch]\ninterval = \"150ms\"\n".into();
    let mut events = Events::new(&world.name, 6);
    events.produce(2000);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // Small pieces without a pause: there is always a batch under way.
            while !done.load(Ordering::Relaxed) {
                events.produce(40);
                thread::sleep(Duration::from_millis(15));
            }
        });
        let _at_the_end = Done(&done);
        let mut state = 7;
        for stop in 0..stops {
            let workers = 1 + stop % 4;
            let more: &[&str] = if stop % 5 == 4 { &["--supervise", "--processes", "2"] } else { &[] };
            let running = world.run(workers, more);
            // It has begun to read when it has the fence; what it does at the stop is anybody's guess.
            thread::sleep(Duration::from_millis(900 + next(&mut state, 1500)));
            running.signal(TERMINATE);
            let ended = running.end(Duration::from_secs(60));
            assert_eq!(ended.code, Some(0), "stop {stop}, {workers} workers {more:?}: {}", ended.said);
        }
    });
    world.catch_up(2);
    world.check(&events.ledger);
    println!("{stops} stops, {} events", events.ledger.len());
}
