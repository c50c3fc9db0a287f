//! Every record once: through kills at every stage, under one to three workers, as seen by a reader all the while.
//!
//! `make test` runs it small; `TIDEGATE_PROOF=1` (`make proof`) with a million events and 30 kills.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicI64, Ordering},
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
        let count = if proof() { 1_000_000 } else { 200_000 };
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
        let before = next_epoch(&world);
        world.catch_up(workers);
        assert_eq!(next_epoch(&world), before);
        world.check(&events.ledger);
    }
}

/// Where a process is killed.
#[derive(Clone, Copy)]
struct Stage {
    name: &'static str,
    /// At the message that begins it; `None` is any moment.
    moment: Option<Moment>,
    /// Whether that message still arrives.
    arrives: bool,
}

const fn stage(name: &'static str, moment: Option<Moment>, arrives: bool) -> Stage {
    Stage { name, moment, arrives }
}

const STAGES: [Stage; 8] = [
    stage("during upload", Some(Moment::Upload), true),
    stage("during COPY", Some(Moment::Copy), true),
    stage("before COMMIT", Some(Moment::Commit), false),
    stage("after COMMIT", Some(Moment::Committed), true),
    stage("with COMMIT on its way", Some(Moment::Commit), true),
    stage("at the fence of a load", Some(Moment::Fence), true),
    stage("while it took the fence", Some(Moment::Acquire), true),
    stage("at any moment", None, true),
];

fn next_epoch(world: &World) -> i64 {
    world.number(&format!("SELECT next_epoch FROM tidegate.{}_fence", world.name))
}

/// How many offsets are in the topic and in no epoch.
fn unread(world: &World, partitions: i32) -> i64 {
    let loaded = format!(
        "SELECT sum(o.end_offset) FROM (SELECT max(end_offset) AS end_offset FROM tidegate.{}_offsets \
         GROUP BY kafka_partition) o",
        world.name
    );
    world.ends(&world.name, partitions).iter().sum::<i64>() - world.number(&loaded)
}

/// SIGKILL from outside, at chosen stages and at any moment, with data unread at each.
#[test]
fn kills_at_every_stage_lose_and_double_nothing() {
    let (events_in_all, kills) = if proof() { (1_000_000, 30) } else { (200_000, 10) };
    let mut world = World::new("kills", 8);
    let redshift = Proxy::start(Kind::Redshift, STACK.redshift.address());
    let s3 = Proxy::start(Kind::S3, STACK.s3.endpoint().trim_start_matches("http://").parse().expect("an address"));
    world.redshift_at(redshift.address());
    world.s3_at(s3.address());
    // Loads stay open long enough for the reader to see many of them open.
    redshift.hold_commits(Duration::from_millis(150));
    let watcher = Watcher::start(&world, redshift.loading());

    // Produces all the while, so that there is data unread at each kill.
    let topic = world.name.clone();
    let producer = thread::spawn(move || {
        let mut events = Events::new(&topic, 8);
        // In small pieces, so that something has come since whatever was read last.
        let (pieces, pause) = if proof() { (2000, 45) } else { (1000, 25) };
        for _ in 0..pieces {
            events.produce(events_in_all / pieces);
            thread::sleep(Duration::from_millis(pause));
        }
        events.end_with_transactions();
        events
    });

    // Looks past the proxies.
    let observer = Arc::new(world.elsewhere());
    let pid = Arc::new(AtomicI32::new(0));
    let mut hit: BTreeMap<&str, u32> = BTreeMap::new();
    for round in 0..kills {
        // The four stages that matter most come round more often.
        let often = kills * 2 / 3;
        let stage = if round < often { STAGES[round % 4] } else { STAGES[4 + (round - often) % 4] };
        let workers = 1 + round % 3;
        let mut running = world.run(workers, &[]);
        pid.store(running.pid(), Ordering::SeqCst);
        let at_kill = Arc::new(AtomicI64::new(0));
        let (target, seen, sees) = (pid.clone(), at_kill.clone(), observer.clone());
        let kill = move || {
            seen.store(next_epoch(&sees), Ordering::SeqCst);
            send(target.load(Ordering::SeqCst), 9);
        };
        match stage {
            Stage { moment: Some(Moment::Upload), .. } => s3.at(Moment::Upload, Action::Do(Arc::new(kill))),
            Stage { moment: Some(moment), arrives: true, .. } => redshift.at(moment, Action::Do(Arc::new(kill))),
            Stage { moment: Some(moment), arrives: false, .. } => {
                redshift.at(moment, Action::DoAndCut(Arc::new(kill)));
            }
            Stage { moment: None, .. } => {
                thread::sleep(Duration::from_millis(400 + 137 * (round as u64 % 7)));
                assert!(running.runs(), "round {round}: it ended by itself");
                kill();
            }
        }
        let since = Instant::now();
        while running.runs() {
            assert!(since.elapsed() < Duration::from_secs(60), "round {round}: never came to {}", stage.name);
            thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(running.end(Duration::from_secs(1)).code, None, "round {round}: ended by the signal");
        redshift.disarm();
        s3.disarm();
        *hit.entry(stage.name).or_default() += 1;
        let unread = unread(&observer, 8);
        println!(
            "kill {}: {workers} workers, {} (last seen on the way to Redshift: {:?}), {unread} offsets unread",
            round + 1,
            stage.name,
            redshift.last()
        );
        assert!(unread > 0, "round {round}: nothing was unread any more");
        if !stage.arrives {
            // Nothing of it may come later either: the successor's start would find it.
            assert_eq!(next_epoch(&observer), at_kill.load(Ordering::SeqCst), "round {round}: it was before COMMIT");
        }
    }
    println!("killed {kills} times: {hit:?}");
    let least = if proof() { 3 } else { 1 };
    for stage in &STAGES[..4] {
        assert!(hit.get(stage.name).copied().unwrap_or(0) >= least, "{}: {hit:?}", stage.name);
    }
    let events = producer.join().expect("the producer");
    world.catch_up(2);
    watcher.end(500, 50);
    world.check(&events.ledger);
}
