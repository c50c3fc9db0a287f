//! Another system is away for a while: memory stays within its budget, it is said, and afterwards everything is loaded.

use std::time::{Duration, Instant};

use harness::{
    events::{Events, event},
    proxy::{Kind, Proxy},
    world::{STACK, World, until},
};

#[test]
fn memory_is_bounded_while_redshift_is_down() {
    let proof = std::env::var_os("TIDEGATE_PROOF").is_some();
    // 260 bytes each: 2.1 GB behind a budget of 128 MB, or 130 MB behind one of 32 MB.
    let (count, budget_mb, down) =
        if proof { (8_000_000, 128, Duration::from_secs(120)) } else { (500_000, 32, Duration::from_secs(10)) };
    let mut world = World::new("outage", 8);
    world.more = format!("[epoch]\ninterval = \"500ms\"\n[memory]\nbudget = \"{budget_mb} MB\"\n");
    let proxy = Proxy::start(Kind::Redshift, STACK.redshift.address());
    world.redshift_at(proxy.address());
    let mut events = Events::new(&world.name, 8);
    events.produce(1000);
    let running = world.run(2, &[]);
    until(Duration::from_secs(30), "it works", || world.rows() == events.ledger.len() as i64);
    proxy.down(true);
    events.send(count, None);
    events.flush();
    events.end_with_transactions();
    let waiting: usize = (1000..1000 + count).map(|n| event(n).len()).sum();
    assert!(!proof || waiting > 2_000_000_000, "{waiting} bytes wait");
    std::thread::sleep(down);
    let loaded_while_down = world.rows();
    assert!(loaded_while_down <= 1000, "{loaded_while_down} rows came through");
    proxy.down(false);
    let since = Instant::now();
    until(Duration::from_secs(600), "it catches up", || world.rows() == events.ledger.len() as i64);
    let most = running.most_resident_bytes().expect("it runs");
    println!(
        "budget {budget_mb} MB, {count} events of {} MB: {} MB resident at most, caught up in {:.1} s",
        waiting / 1_000_000,
        most / 1_000_000,
        since.elapsed().as_secs_f64()
    );
    assert!(most < (budget_mb + 300) * 1_000_000, "{most} bytes resident");
    running.signal(15);
    let ended = running.end(Duration::from_secs(30));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    for part in ["trying again", "recovered"] {
        assert!(ended.said.contains(part), "{part}: {}", ended.said);
    }
    if proof {
        // The dump of two gigabytes by the console consumer says nothing that the SQL does not.
        harness::checkers::control_tables(&world);
    } else {
        world.check(&events.ledger);
    }
}

#[test]
fn kafka_goes_away_and_comes_back() {
    let mut world = World::new("kafka_away", 2);
    let door = STACK.kafka.broker().expect("a real one").side_door().expect("nobody has it yet");
    let proxy = Proxy::behind(door.outside, Kind::Kafka, door.inside);
    world.kafka_at(proxy.address());
    let mut events = Events::new(&world.name, 2);
    events.produce(1000);
    let running = world.run(2, &[]);
    until(Duration::from_secs(30), "it works", || world.rows() == 1000);
    proxy.down(true);
    // Longer than a question waits for its answer, so that it is said.
    std::thread::sleep(Duration::from_secs(50));
    events.produce(1000);
    assert_eq!(world.rows(), 1000);
    proxy.down(false);
    until(Duration::from_secs(60), "it goes on", || world.rows() == 2000);
    running.signal(15);
    let ended = running.end(Duration::from_secs(30));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let said = format!("trying again: asking Kafka how far its topics go: Kafka METADATA topic {}", world.name);
    // Sooner than a question is given up: nobody is idle meanwhile.
    for part in [said.as_str(), "recovered", "retrying (was idle): Kafka has not answered for 1"] {
        assert!(ended.said.contains(part), "{part}: {}", ended.said);
    }
    world.check(&events.ledger);
}
