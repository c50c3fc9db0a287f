//! A job of many targets: its processes hear of each other, and what it holds, its threads and its logins do not grow with them.

use std::{thread, time::Duration};

use harness::{
    events::Events,
    proxy::{Kind, Proxy},
    world::{COLUMNS, Ended, Running, STACK, World},
};
use stack::ports::Ports;

fn proof() -> bool {
    std::env::var_os("TIDEGATE_PROOF").is_some()
}

/// The lines of a job file of one stream into so many tables, which it makes.
fn fan_out(world: &World, targets: usize) -> Vec<String> {
    let line = World::line(&world.name, &world.name, "\"earliest\"");
    let (stream, target) = line.split_once("[[target]]").expect("a target");
    let tables: Vec<String> = (0..targets).map(|number| format!("{}_t{number}", world.name)).collect();
    let make = |table: &String| format!("CREATE TABLE {table} ({COLUMNS}); ALTER TABLE {table} OWNER TO loader;");
    world.sql(&tables.iter().map(make).collect::<String>());
    let own = format!("public.{}", world.name);
    let of = |table: &String| "[[target]]".to_string() + &target.replace(&own, &format!("public.{table}"));
    [vec![stream.to_string()], tables.iter().map(of).collect()].concat()
}

/// The rows of all its tables.
fn rows_of_all(world: &World, targets: usize) -> i64 {
    let counts: Vec<String> =
        (0..targets).map(|number| format!("(SELECT count(*) FROM {}_t{number})", world.name)).collect();
    world.number(&format!("SELECT {}", counts.join(" + ")))
}

/// What a run came to: its end, the most bytes that were resident, the most threads.
struct Watched {
    ended: Ended,
    resident: u64,
    threads: u64,
}

fn watched(mut running: Running, within: Duration) -> Watched {
    let (mut resident, mut threads) = (0, 0);
    while running.runs() {
        resident = resident.max(running.most_resident_bytes().unwrap_or(0));
        threads = threads.max(running.threads().unwrap_or(0));
        thread::sleep(Duration::from_millis(5));
    }
    Watched { ended: running.end(within), resident, threads }
}

/// The heartbeat of two processes once went through their dataflow, where those of 250 targets had no time for it.
#[test]
fn two_processes_of_many_targets_hear_of_each_other() {
    let (targets, records) = if proof() { (250, 60_000) } else { (60, 3000) };
    let world = World::new("many", 4);
    let job = world.job_file(&fan_out(&world, targets)).display().to_string();
    let mut events = Events::new(&world.name, 4);
    events.produce(records);
    let hosts = Ports::hold(2).expect("free ports");
    let hosts: Vec<String> = hosts.addresses().iter().map(|address| address.to_string()).collect();
    let hosts = hosts.join(",");
    let member = |process: &str| {
        world.start(&["run", &job, "--workers", "2", "--hosts", &hosts, "--process", process, "--until-caught-up"])
    };
    let members = [member("0"), member("1")];
    let ends = members.map(|member| thread::spawn(move || member.end(Duration::from_secs(600))));
    for ended in ends.map(|end| end.join().expect("it ended in time")) {
        assert_eq!(ended.code, Some(0), "{}", ended.said);
    }
    assert_eq!(rows_of_all(&world, targets), (events.ledger.len() * targets) as i64);
}

/// At most what it needs at rest and one and a half times its budget, whatever the number of targets; and no thread and no login for
/// each of them.
#[test]
fn what_is_held_stays_within_the_budget() {
    let cases = if proof() { [(1, 1, 32), (20, 1, 64), (100, 2, 600)] } else { [(1, 2, 32), (12, 1, 40), (30, 1, 96)] };
    let records = if proof() { 300_000 } else { 40_000 };
    let mut costs = Vec::new();
    for (targets, workers, budget_mb) in cases {
        let mut world = World::new("held", 4);
        world.more = format!("[epoch]\ninterval = \"5s\"\n[memory]\nbudget = \"{budget_mb} MB\"\n");
        let job = world.job_file(&fan_out(&world, targets)).display().to_string();
        let proxy = Proxy::start(Kind::Redshift, STACK.redshift.address());
        world.redshift_at(proxy.address());
        let run = || {
            let running = world.start(&["run", &job, "--workers", &workers.to_string(), "--until-caught-up"]);
            let run = watched(running, Duration::from_secs(600));
            assert_eq!(run.ended.code, Some(0), "{}", run.ended.said);
            run
        };
        let rest = run();
        let logins = proxy.taken();
        let mut events = Events::new(&world.name, 4);
        events.produce(records);
        let work = run();
        let mb = |bytes: u64| bytes as f64 / 1e6;
        println!(
            "{targets} targets, {workers} workers, budget {budget_mb} MB: {:.0} MB at rest, {:.0} MB at most, {} threads, {logins} logins",
            mb(rest.resident),
            mb(work.resident),
            work.threads
        );
        assert_eq!(rows_of_all(&world, targets), (events.ledger.len() * targets) as i64);
        assert!(work.resident <= rest.resident + budget_mb * 1_500_000, "{} bytes", work.resident);
        costs.push((logins, work.threads - workers * 8));
    }
    assert!(costs.iter().all(|cost| cost.0 == costs[0].0), "logins of a start: {costs:?}");
    assert!(costs.iter().all(|cost| cost.1 <= costs[0].1 + 8), "threads: {costs:?}");
}

/// A budget with which not even one page of each column has room is refused, with the least one; and with that one it works.
#[test]
fn a_budget_that_is_too_small_is_refused_with_the_least_one() {
    let targets = 40;
    let mut world = World::new("least", 2);
    let lines = fan_out(&world, targets);
    let mut events = Events::new(&world.name, 2);
    events.produce(2000);
    let run = |world: &mut World, mb: u64| {
        world.more = format!("[memory]\nbudget = \"{mb} MB\"\n");
        let job = world.job_file(&lines).display().to_string();
        world.start(&["run", &job, "--workers", "2", "--until-caught-up"]).end(Duration::from_secs(120))
    };
    let ended = run(&mut world, 64);
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    let words = "[memory] budget is 64 MB, and 40 targets with 372 columns on 2 workers a process need at least ";
    let (_, least) = ended.said.split_once(words).unwrap_or_else(|| panic!("{}", ended.said));
    let least = least.split_whitespace().next().and_then(|mb| mb.parse().ok()).expect("a number of MB");
    let checked = world.finish(&["check", &world.job_file(&lines).display().to_string()]);
    assert_eq!(checked.0, Some(4), "{}{}", checked.1, checked.2);
    assert!(checked.1.contains("on 1 workers a process need at least"), "{}", checked.1);
    let ended = run(&mut world, least);
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert_eq!(rows_of_all(&world, targets), (events.ledger.len() * targets) as i64);
}
