//! Two starts of one job, and processes that were stopped and come back: one works, the other changes nothing.
//! There is no lock but Redshift's; nothing here shares a folder.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::{Duration, Instant},
};

use harness::{
    events::Events,
    proxy::{Action, Kind, Moment, Proxy},
    world::{Ended, STACK, World, send, until},
};

/// What a start waits for a rival that holds the fence, and a margin for ending its session and starting up.
const TAKEN_WITHIN: Duration = Duration::from_secs(10 + 15);

const STOP: i32 = 19;
const CONTINUE: i32 = 18;
const TERMINATE: i32 = 15;

fn is_fenced(ended: &Ended) {
    assert_eq!(ended.code, Some(20), "{}", ended.said);
    assert!(ended.said.contains("TG-3001"), "{}", ended.said);
}

#[test]
fn of_two_starts_at_once_one_works_and_the_other_is_fenced() {
    let world = World::new("twice", 2);
    let mut events = Events::new(&world.name, 2);
    events.produce(2000);
    // Each has a job file of its own, in a folder of its own.
    let other = tempfile::tempdir().expect("a folder");
    let copy = other.path().join("job.toml");
    std::fs::copy(world.own_job(), &copy).expect("a copy");
    let second = ["run", &copy.display().to_string(), "--take-over"];
    let mut both = [world.run(1, &["--take-over"]), world.start_in(other.path(), &second)];
    // A fenced one notices at its next load at the latest, so there is something to load until one is gone.
    until(Duration::from_secs(60), "one of them ends", || {
        events.produce(500);
        std::thread::sleep(Duration::from_millis(200));
        both.iter_mut().any(|r| !r.runs())
    });
    let [mut first, second] = both;
    let (ended, works) = if first.runs() { (second, first) } else { (first, second) };
    is_fenced(&ended.end(Duration::from_secs(5)));
    until(Duration::from_secs(30), "the other goes on", || world.rows() == events.ledger.len() as i64);
    works.signal(TERMINATE);
    let ended = works.end(Duration::from_secs(30));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    world.check(&events.ledger);
}

#[test]
fn a_stopped_process_that_comes_back_is_fenced() {
    let world = World::new("zombie", 2);
    let mut events = Events::new(&world.name, 2);
    events.produce(2000);
    let zombie = world.run(2, &[]);
    until(Duration::from_secs(30), "it works", || world.rows() == events.ledger.len() as i64);
    zombie.signal(STOP);
    events.produce(1000);
    let ended = world.run(1, &["--until-caught-up", "--take-over"]).end(Duration::from_secs(60));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    world.check(&events.ledger);
    // It has read nothing of what came since; now it reads it, seals it, and must not load it.
    zombie.signal(CONTINUE);
    is_fenced(&zombie.end(Duration::from_secs(30)));
    world.check(&events.ledger);
}

/// Stops the program at a moment, with its transaction open and the fence locked.
fn frozen_at(moment: Moment, prefix: &str) {
    let mut world = World::new(prefix, 2);
    let mut events = Events::new(&world.name, 2);
    events.produce(2000);
    let successor = world.elsewhere();
    let proxy = Proxy::start(Kind::Redshift, STACK.redshift.address());
    world.redshift_at(proxy.address());
    let pid = Arc::new(AtomicI32::new(0));
    let target = pid.clone();
    // The statement it was about to send stays behind too, so that its transaction is open as long as nobody ends it.
    let stop = move || {
        send(target.load(Ordering::SeqCst), STOP);
        std::thread::sleep(TAKEN_WITHIN);
    };
    proxy.at(moment, Action::Do(Arc::new(stop)));
    let frozen = world.run(1, &[]);
    pid.store(frozen.pid(), Ordering::SeqCst);
    until(Duration::from_secs(30), "it is stopped", || proxy.sprung() == 1);
    let since = Instant::now();
    let ended = successor.run(1, &["--until-caught-up", "--take-over"]).end(TAKEN_WITHIN);
    println!("{moment:?}: the successor was done after {:.1} s", since.elapsed().as_secs_f64());
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    world.check(&events.ledger);
    frozen.signal(CONTINUE);
    is_fenced(&frozen.end(Duration::from_secs(60)));
    world.check(&events.ledger);
}

#[test]
fn a_process_stopped_in_the_middle_of_a_load_does_not_hold_up_its_successor() {
    frozen_at(Moment::Copy, "stuck_load");
}

#[test]
fn a_process_stopped_before_commit_does_not_hold_up_its_successor() {
    frozen_at(Moment::Commit, "stuck_commit");
}

#[test]
fn a_process_stopped_in_the_middle_of_acquire_does_not_hold_up_its_successor() {
    // Its UPDATE went through, and it does not know.
    frozen_at(Moment::Acquired, "stuck_acquire");
}

/// Two jobs, each made twice, in a schema that is not there: whoever is second at anything finds it made.
#[test]
fn inits_at_once_make_everything_once() {
    for round in 0..5 {
        let schema = format!("at_once_{round}");
        let worlds = [0, 1].map(|_| {
            let mut world = World::bare("at_once");
            world.more = format!("schema = \"{schema}\"\n");
            world
        });
        let starts: Vec<_> = worlds
            .iter()
            .cycle()
            .take(2 * worlds.len())
            .map(|world| world.start(&["init", &world.own_job().display().to_string()]))
            .collect();
        for start in starts {
            let ended = start.end(Duration::from_secs(60));
            assert_eq!(ended.code, Some(0), "{}", ended.said);
        }
        for world in &worlds {
            let tables = format!(
                "SELECT count(*) FROM pg_tables WHERE schemaname = '{schema}' AND tablename LIKE '{}\\_%'",
                world.name
            );
            assert_eq!(world.number(&tables), 13);
            assert_eq!(world.number(&format!("SELECT count(*) FROM {schema}.{}_fence", world.name)), 1);
        }
    }
}
