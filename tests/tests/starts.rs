//! Starts beside a job that works: a bad one harms nobody, a good one waits for it, and takes over when it must. And starts before
//! a slow or silent Redshift.

use std::{sync::Arc, time::Duration};

use harness::{
    events::Events,
    proxy::{Action, Kind, Moment, Proxy},
    world::{Running, STACK, World, until},
};

const STOP: i32 = 19;
const TERMINATE: i32 = 15;

/// A job at work, and what it has loaded.
fn at_work(prefix: &str) -> (World, Events, Running) {
    let world = World::new(prefix, 2);
    let mut events = Events::new(&world.name, 2);
    events.produce(500);
    let running = world.run(1, &[]);
    until(Duration::from_secs(60), "it works", || world.rows() == events.ledger.len() as i64);
    (world, events, running)
}

fn fence(world: &World) -> Vec<Vec<Option<String>>> {
    world.sql(&format!("SELECT generation, nonce FROM tidegate.{}_fence", world.name))
}

/// It goes on, and ends well when it is told to.
fn goes_on(world: &World, events: &mut Events, running: Running) {
    events.produce(500);
    until(Duration::from_secs(60), "it goes on", || world.rows() == events.ledger.len() as i64);
    running.signal(TERMINATE);
    let ended = running.end(Duration::from_secs(30));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    world.check(&events.ledger);
}

#[test]
fn a_start_that_cannot_work_harms_nobody() {
    let (world, mut events, running) = at_work("harmless");
    let name = &world.name;
    let before = fence(&world);
    let own = world.own_job().display().to_string();
    let file = |from: &str, to: &str| {
        let text = std::fs::read_to_string(&own).expect("the job file");
        assert!(text.contains(from), "{from}");
        let path = format!("{own}.{}", to.len());
        std::fs::write(&path, text.replace(from, to)).expect("another job file");
        path
    };
    let no_right = format!("{name}_no_right");
    world.sql(&format!("CREATE TABLE {no_right} ({})", harness::world::COLUMNS));
    world.sql(&format!("GRANT SELECT ON {no_right} TO loader"));
    for (what, env, job, code) in [
        ("no topic", &[][..], &file(&format!("topic = \"{name}\""), "topic = \"no-such-topic\""), 3),
        ("no table", &[], &file(&format!("public.{name}"), "public.no_such_table"), 3),
        ("no column", &[], &file("AS kafka_offset", "AS kafka_ofset"), 3),
        ("no right", &[], &file(&format!("public.{name}"), &format!("public.{no_right}")), 6),
        ("no bucket", &[("S3_BUCKET", "nothing")], &own, 3),
        ("a wrong key", &[("AWS_SECRET_ACCESS_KEY", "wrong")], &own, 6),
        ("another role", &[("REDSHIFT_IAM_ROLE", "arn:aws:iam::1:role/other")], &own, 6),
        ("a wrong password", &[("REDSHIFT_PASSWORD", "wrong")], &own, 6),
        ("no brokers", &[("KAFKA_BROKERS", "127.0.0.1:1")], &own, 5),
    ] {
        let mut other = world.elsewhere();
        other.env = env.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        // However it is told to: it never comes so far.
        let ended = other.start(&["run", job, "--take-over"]).end(Duration::from_secs(120));
        assert_eq!(ended.code, Some(code), "{what}: {}", ended.said);
        assert_eq!(fence(&world), before, "{what}");
    }
    goes_on(&world, &mut events, running);
}

#[test]
fn a_second_start_waits_for_the_first_to_end() {
    let (world, mut events, running) = at_work("second");
    let before = fence(&world);
    let second = world.run(1, &[]);
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(fence(&world), before, "it waits");
    events.produce(500);
    until(Duration::from_secs(60), "the first goes on", || world.rows() == events.ledger.len() as i64);
    running.signal(TERMINATE);
    let ended = running.end(Duration::from_secs(30));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    events.produce(500);
    until(Duration::from_secs(30), "the second works", || world.rows() == events.ledger.len() as i64);
    second.signal(TERMINATE);
    let ended = second.end(Duration::from_secs(30));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(ended.said.contains("runs this job: waiting for it to end"), "{}", ended.said);
    world.check(&events.ledger);
}

#[test]
fn a_holder_that_stands_still_is_waited_for_a_minute_and_no_longer() {
    let (world, mut events, holder) = at_work("still");
    holder.signal(STOP);
    events.produce(500);
    let ended = world.run(1, &["--until-caught-up"]).end(Duration::from_secs(100));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(ended.said.contains("did not end within 60 s: taking over"), "{}", ended.said);
    world.check(&events.ledger);
    holder.signal(18);
    let ended = holder.end(Duration::from_secs(60));
    assert_eq!(ended.code, Some(20), "{}", ended.said);
    world.check(&events.ledger);
}

/// A supervisor saw its child end, so it does not wait for the session that Redshift still shows.
#[test]
fn a_supervisor_takes_over_from_its_own_child_at_once() {
    let mut world = World::new("reaped", 2);
    let mut events = Events::new(&world.name, 2);
    events.produce(500);
    // The proxy keeps the session open when its client is gone.
    let proxy = Proxy::start(Kind::Redshift, STACK.redshift.address());
    world.redshift_at(proxy.address());
    proxy.keep_sessions(true);
    let running = world.run(1, &["--supervise"]);
    until(Duration::from_secs(60), "it works", || world.rows() == events.ledger.len() as i64);
    let child = world.number(&format!(
        "SELECT process_id FROM tidegate.{}_sessions WHERE generation IS NOT NULL LIMIT 1",
        world.name
    ));
    harness::world::send(child as i32, 9);
    events.produce(500);
    until(Duration::from_secs(40), "its successor works", || world.rows() == events.ledger.len() as i64);
    let open = format!(
        "SELECT count(*) FROM tidegate.{}_sessions s JOIN pg_stat_activity a ON a.pid = s.pid WHERE s.process_id = {child} \
         AND s.session_start = (a.backend_start AT TIME ZONE 'UTC')::timestamp",
        world.name
    );
    assert!(world.number(&open) > 0, "the child's session is still shown");
    running.signal(TERMINATE);
    let ended = running.end(Duration::from_secs(40));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(!ended.said.contains("waiting for it to end"), "{}", ended.said);
    world.check(&events.ledger);
}

/// Each statement of a start takes long: it is slower, and nothing else.
#[test]
fn a_start_before_a_slow_redshift_works() {
    let mut world = World::new("slow_start", 2);
    let mut events = Events::new(&world.name, 2);
    events.produce(500);
    let proxy = Proxy::start(Kind::Redshift, STACK.redshift.address());
    world.redshift_at(proxy.address());
    proxy.hold_statements(Duration::from_millis(400));
    for _ in 0..2 {
        events.produce(100);
        world.catch_up(1);
    }
    world.check(&events.ledger);
}

/// The statement that takes the fence: cut before it arrives, its answer lost, and delivered when the start has long asked again.
#[test]
fn the_fence_is_taken_once_whatever_becomes_of_the_statement() {
    for (moment, action) in [
        (Moment::Acquire, Action::Cut),
        (Moment::Acquired, Action::Cut),
        (Moment::Acquire, Action::CutAndDeliver(Duration::from_secs(2))),
    ] {
        let mut world = World::new("taken", 2);
        let mut events = Events::new(&world.name, 2);
        events.produce(500);
        let proxy = Proxy::start(Kind::Redshift, STACK.redshift.address());
        world.redshift_at(proxy.address());
        proxy.at(moment, action);
        world.catch_up(1);
        assert_eq!(proxy.sprung(), 1, "{moment:?}");
        world.check(&events.ledger);
    }
}

/// Others start while it stands between the two steps of a start.
#[test]
fn a_start_that_is_overtaken_between_its_steps_ends_as_fenced() {
    let mut world = World::new("between", 2);
    let mut events = Events::new(&world.name, 2);
    events.produce(500);
    let other = world.elsewhere();
    let proxy = Proxy::start(Kind::Redshift, STACK.redshift.address());
    world.redshift_at(proxy.address());
    let job = other.own_job();
    let other = Arc::new(other);
    let overtaking = other.clone();
    let overtake = move || {
        let ended = overtaking
            .start(&["run", &job.display().to_string(), "--until-caught-up", "--take-over"])
            .end(Duration::from_secs(60));
        assert_eq!(ended.code, Some(0), "{}", ended.said);
    };
    proxy.at(Moment::Acquired, Action::Do(Arc::new(overtake)));
    let ended = world.run(1, &["--until-caught-up"]).end(Duration::from_secs(90));
    assert_eq!(ended.code, Some(20), "{}", ended.said);
    world.check(&events.ledger);
}

#[test]
fn where_sessions_are_not_shown_a_start_says_so_and_takes_over() {
    let _alone = harness::gate::alone();
    let (world, mut events, running) = at_work("hidden");
    STACK.redshift.show_sessions(stack::redshift::USER, false).expect("it is done");
    // Nor does anybody see that a process works, so a person's decision is not made beside it by mistake.
    let own = world.own_job().display().to_string();
    let before = fence(&world);
    let decided = world.finish(&["accept-new-source", &own, "--topic", &world.name, "--keep-offsets", "--yes"]);
    let untouched = fence(&world) == before;
    let second = world.run(1, &["--until-caught-up"]).end(Duration::from_secs(60));
    STACK.redshift.show_sessions(stack::redshift::USER, true).expect("it is done");
    let (code, _, wrong) = decided;
    assert!(code == Some(20) && wrong.contains("--nobody-runs") && untouched, "{code:?}: {wrong}");
    assert_eq!(second.code, Some(0), "{}", second.said);
    assert!(second.said.contains("does not show sessions here"), "{}", second.said);
    events.produce(500);
    let ended = running.end(Duration::from_secs(60));
    assert_eq!(ended.code, Some(20), "{}", ended.said);
    world.catch_up(1);
    world.check(&events.ledger);
}
