//! Every record once: through kills at every stage, under one to three workers, as seen by a reader all the while.
//!
//! `make test` runs it small; `TIDEGATE_PROOF=1` (`make proof`) with a million events and 30 kills.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use harness::{
    checkers::Watcher,
    events::Events,
    proxy::{Action, Kind, Moment, Proxy},
    world::{STACK, World, send},
};

fn proof() -> bool {
    std::env::var_os("TIDEGATE_PROOF").is_some()
}

/// The table equals the topic, by (partition, offset) and by value, with one and with three workers.
#[test]
fn every_committed_record_is_loaded_once() {
    for workers in [1, 3] {
        let world = World::new("whole", 8);
        let mut events = Events::new(&world.name, 8);
        let count = if proof() { 1_000_000 } else { 100_000 };
        events.produce(count);
        events.end_with_transactions();
        let since = Instant::now();
        let ended = world.catch_up(workers);
        println!(
            "{workers} workers: {} events of {count} committed, {:.1} s\n{}",
            events.ledger.len(),
            since.elapsed().as_secs_f64(),
            ended.said
        );
        world.check(&events.ledger);
        // Nothing new: nothing loaded, and the aborted tail of each partition is behind us.
        let before = world.number(&format!("SELECT next_epoch FROM tidegate.{}_fence", world.name));
        world.catch_up(workers);
        assert_eq!(world.number(&format!("SELECT next_epoch FROM tidegate.{}_fence", world.name)), before);
        world.check(&events.ledger);
    }
}

/// SIGKILL from outside, at chosen stages and at any moment, with data unread at each.
#[test]
fn kills_at_every_stage_lose_and_double_nothing() {
    let (events_in_all, kills) = if proof() { (1_000_000, 30) } else { (200_000, 8) };
    let mut world = World::new("kills", 8);
    let redshift = Proxy::start(Kind::Redshift, STACK.redshift.address());
    let s3 = Proxy::start(Kind::S3, STACK.s3.endpoint().trim_start_matches("http://").parse().expect("an address"));
    world.redshift_at(redshift.address());
    world.s3_at(s3.address());
    // Loads stay open long enough for the reader to see many of them open.
    redshift.hold_commits(Duration::from_millis(150));
    let watcher = Watcher::start(&world, redshift.loading());

    // Produces all the while, so that there is data unread at each kill.
    let producing = Arc::new(AtomicBool::new(true));
    let (topic, still) = (world.name.clone(), producing.clone());
    let producer = thread::spawn(move || {
        let mut events = Events::new(&topic, 8);
        let piece = events_in_all / 100;
        for _ in 0..100 {
            events.produce(piece);
            thread::sleep(Duration::from_millis(if proof() { 700 } else { 200 }));
        }
        events.end_with_transactions();
        still.store(false, Ordering::SeqCst);
        events
    });

    let pid = Arc::new(AtomicI32::new(0));
    let hit: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
    let stages = [
        Some(Moment::Upload),
        Some(Moment::Copy),
        Some(Moment::Commit),
        Some(Moment::Committed),
        Some(Moment::Fence),
        Some(Moment::Acquire),
        None,
    ];
    for round in 0..kills {
        // The four stages that matter most come round more often.
        let stage = if round < kills * 2 / 3 { stages[round % 4] } else { stages[round % 7] };
        let mut running = world.run(1 + round % 3, &[]);
        pid.store(running.pid(), Ordering::SeqCst);
        let name = stage.map_or("any moment".into(), |s| format!("{s:?}"));
        let (target, counted, named) = (pid.clone(), hit.clone(), name.clone());
        let kill = move || {
            send(target.load(Ordering::SeqCst), 9);
            *counted.lock().expect("counts").entry(named.clone()).or_default() += 1;
        };
        match stage {
            Some(Moment::Upload) => s3.at(Moment::Upload, Action::Do(Arc::new(kill))),
            Some(moment) => redshift.at(moment, Action::Do(Arc::new(kill))),
            None => {
                thread::sleep(Duration::from_millis(400 + 137 * (round as u64 % 7)));
                kill();
            }
        }
        let since = Instant::now();
        while running.runs() {
            assert!(since.elapsed() < Duration::from_secs(60), "round {round}: never came to {name}");
            thread::sleep(Duration::from_millis(2));
        }
        assert!(producing.load(Ordering::SeqCst), "round {round}: nothing was unread any more");
        redshift.disarm();
        s3.disarm();
    }
    let hit = hit.lock().expect("counts").clone();
    println!("killed {kills} times: {hit:?}");
    assert_eq!(hit.values().sum::<u32>() as usize, kills);
    let least = if proof() { 3 } else { 1 };
    for stage in ["Upload", "Copy", "Commit", "Committed"] {
        assert!(hit.get(stage).copied().unwrap_or(0) >= least, "{stage}: {hit:?}");
    }
    let events = producer.join().expect("the producer");
    world.catch_up(2);
    watcher.end(500, 50);
    world.check(&events.ledger);
}
