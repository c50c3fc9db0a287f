//! The program ends with the code that its documentation names, says why, and changes nothing.

use std::time::Duration;

use harness::{
    events::Events,
    proxy::{Kind, Proxy},
    records::{Record, send},
    world::{STACK, World, until},
};

const TERMINATE: i32 = 15;

/// Set-ups that cannot work. Each is one change of the environment or the tables.
#[test]
fn a_job_that_cannot_start_says_why_and_changes_nothing() {
    let good = World::new("setups", 1);
    let mut events = Events::new(&good.name, 1);
    events.send(10, None);
    events.flush();
    let run = |env: &[(&str, &str)], job: &str| {
        let mut world = good.elsewhere();
        world.env = env.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let ended = world.start(&["run", job, "--until-caught-up"]).end(Duration::from_secs(120));
        (ended.code, ended.said)
    };
    let own = good.own_job().display().to_string();
    let file = |from: &str, to: &str| {
        let text = std::fs::read_to_string(&own).expect("the job file");
        assert!(text.contains(from), "{from}");
        let path = format!("{own}.{}", to.len());
        std::fs::write(&path, text.replace(from, to)).expect("another job file");
        path
    };
    let no_tables = file(&format!("job = \"{}\"", good.name), "job = \"never_initialised\"");
    let no_topic = file(&format!("topic = \"{}\"", good.name), "topic = \"no-such-topic\"");
    let no_table = file(&format!("public.{}", good.name), "public.no_such_table");
    let no_column = file("AS kafka_offset", "AS kafka_ofset");
    let unknown_key = file("tls = \"off\"", "tsl = \"off\"");
    for (what, env, job, code, said) in [
        (
            "a wrong password",
            &[("REDSHIFT_PASSWORD", "wrong")][..],
            &own,
            6,
            &["TG-2002", "password authentication failed"][..],
        ),
        (
            "nobody at the address",
            &[("REDSHIFT_HOST", "127.0.0.1"), ("REDSHIFT_PORT", "1")],
            &own,
            5,
            &["TG-2001", "127.0.0.1:1"],
        ),
        ("no such bucket", &[("S3_BUCKET", "nothing")], &own, 3, &["TG-1002", "a file cannot be staged"]),
        ("a wrong key", &[("AWS_SECRET_ACCESS_KEY", "wrong")], &own, 6, &["TG-2002", "a file cannot be staged"]),
        (
            "a role that may not be assumed",
            &[("REDSHIFT_IAM_ROLE", "arn:aws:iam::1:role/other")],
            &own,
            6,
            &["not authorized to assume"],
        ),
        ("no control tables", &[], &no_tables, 3, &["TG-1003", "tidegate init"]),
        ("no topic", &[], &no_topic, 3, &["TG-1002", "no-such-topic"]),
        ("no table", &[], &no_table, 3, &["TG-1002", "no_such_table"]),
        ("no column", &[], &no_column, 3, &["TG-1004", "kafka_ofset", "did you mean kafka_offset?"]),
        ("an unknown key", &[], &unknown_key, 3, &["TG-1001", "unknown key `tsl`", "did you mean `tls`?"]),
    ] {
        let (ended, text) = run(env, job);
        assert_eq!(ended, Some(code), "{what}: {text}");
        for part in said {
            assert!(text.contains(part), "{what}: {part}: {text}");
        }
        assert_eq!(good.rows(), 0, "{what}");
    }
    good.catch_up(1);
    good.check(&events.ledger);
}

/// The first signal drains the job; with a warehouse that does not answer the drain has a deadline.
#[test]
fn a_drain_that_cannot_end_has_a_deadline_and_a_second_signal_does_not_wait() {
    for signals in [1, 2] {
        let mut world = World::new("drain_late", 1);
        let proxy = Proxy::start(Kind::Redshift, STACK.redshift.address());
        world.redshift_at(proxy.address());
        let mut events = Events::new(&world.name, 1);
        events.produce(500);
        let running = world.run(1, &[]);
        until(Duration::from_secs(30), "it works", || world.rows() == events.ledger.len() as i64);
        proxy.down(true);
        events.produce(500);
        std::thread::sleep(Duration::from_secs(1));
        for _ in 0..signals {
            running.signal(TERMINATE);
            std::thread::sleep(Duration::from_millis(500));
        }
        let ended = running.end(Duration::from_secs(40));
        assert_eq!(ended.code, Some(if signals == 1 { 12 } else { 130 }), "{}", ended.said);
        assert_eq!(ended.said.contains("TG-2004"), signals == 1, "{}", ended.said);
        proxy.down(false);
        world.catch_up(1);
        world.check(&events.ledger);
    }
}

/// Partitions added while the job runs: it drains and asks to be started again.
#[test]
fn a_topic_that_grows_while_the_job_runs_ends_it_with_13() {
    let world = World::new("grows", 1);
    let mut events = Events::new(&world.name, 1);
    events.produce(500);
    let running = world.run(1, &[]);
    until(Duration::from_secs(30), "it works", || world.rows() == events.ledger.len() as i64);
    world.add_partitions(&world.name, 2);
    let ended = running.end(Duration::from_secs(90));
    assert_eq!(ended.code, Some(13), "{}", ended.said);
    assert!(ended.said.contains("TG-2101"), "{}", ended.said);
    let mut more = Events::new(&world.name, 2);
    more.ledger = events.ledger.clone();
    more.produce(500);
    world.catch_up(1);
    world.check(&more.ledger);
}

/// Tables that somebody changed, a database that is a copy, a table that swallows rows: it halts, and changes nothing.
#[test]
fn what_breaks_the_promise_halts_the_job() {
    let world = World::new("halts", 1);
    let name = &world.name;
    let mut events = Events::new(name, 1);
    let mut again = || {
        events.produce(100);
        world.catch_up(1);
        events.produce(100);
    };
    let control = |suffix: &str| format!("tidegate.{name}_{suffix}");
    let (fence, manifest) = (control("fence"), control("manifest"));
    let swallow = format!("{name}_swallow");
    let newest = format!("(SELECT max(epoch) FROM {manifest})");
    let reverse = format!("UPDATE {manifest} SET digest = reverse(digest) WHERE epoch = {newest}");
    for (what, change, mend, id) in [
        ("a manifest row that somebody changed", reverse.clone(), reverse.clone(), "TG-3201"),
        (
            "a restored copy",
            format!("UPDATE {fence} SET namespace = 'other-' || namespace"),
            format!("UPDATE {fence} SET namespace = substr(namespace, 7)"),
            "TG-3202",
        ),
        (
            "rows that do not arrive",
            format!(
                "CREATE FUNCTION {swallow}() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN IF NEW.kafka_offset % 7 = 0 THEN RETURN NULL; END IF; RETURN NEW; END $$; \
                 CREATE TRIGGER {swallow} BEFORE INSERT ON {name} FOR EACH ROW EXECUTE FUNCTION {swallow}()"
            ),
            format!("DROP TRIGGER {swallow} ON {name}"),
            "TG-3203",
        ),
    ] {
        again();
        let before = (world.rows(), world.sql(&format!("SELECT max(epoch) FROM {manifest}")));
        world.sql(&change);
        let ended = world.run(1, &["--until-caught-up"]).end(Duration::from_secs(60));
        assert_eq!(ended.code, Some(22), "{what}: {}", ended.said);
        assert!(ended.said.contains(id), "{what}: {}", ended.said);
        world.sql(&mend);
        assert_eq!((world.rows(), world.sql(&format!("SELECT max(epoch) FROM {manifest}"))), before, "{what}");
    }
    world.catch_up(1);
    world.check(&events.ledger);
}

/// Bad records stop nothing. A run to the end that rejected most of them is not taken for a success: everything is loaded first.
#[test]
fn a_run_to_the_end_that_rejects_most_of_its_records_ends_with_4() {
    let world = World::new("rejects", 2);
    let name = &world.name;
    // The bad ones are all in one partition.
    let some = |good: usize, bad: usize| {
        let good = (0..good).map(|_| (0, Record::of(r#"{"id":1}"#)));
        let bad = (0..bad).map(|_| (1, Record::of(r#"{"id":"one"}"#)));
        send(name, &good.chain(bad).collect::<Vec<_>>());
    };
    let dead_letters = || world.number(&format!("SELECT count(*) FROM tidegate.{name}_dead_letters"));
    let run = |arguments: &[&str]| {
        let all = [&["--until-caught-up"], arguments].concat();
        let ended = world.run(1, &all).end(Duration::from_secs(60));
        (ended.code, ended.said)
    };
    some(10, 30);
    let (code, said) = run(&["--log", "json"]);
    assert_eq!(code, Some(4), "{said}");
    assert_eq!((world.rows(), dead_letters()), (10, 30), "all is loaded");
    let lines: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |event: &str| lines.iter().filter(|line| line["event"] == event).collect::<Vec<_>>();
    let [warning] = of("rejecting")[..] else { panic!("{said}") };
    assert_eq!(
        (&warning["level"], &warning["column"], &warning["stage"]),
        (&"WARN".into(), &"id".into(), &"decode".into())
    );
    assert!(warning["command"].as_str().unwrap_or_default().starts_with("tidegate dead-letters "), "{warning}");
    let last = of("error")[0];
    assert_eq!((&last["code"], &last["exit_code"]), (&"TG-4003".into(), &4.into()));
    let what = last["what"].as_str().unwrap_or_default();
    let parts = [
        "30 of 40 records were rejected (75 %)",
        "30 of them at decode, column id: a string that is not a number",
        "50 %",
    ];
    assert!(parts.iter().all(|part| what.contains(part)), "{what}");

    // What is dead is not read again, and a share that is not above the limit is none.
    assert_eq!(run(&[]).0, Some(0));
    some(10, 10);
    let (code, said) = run(&[]);
    assert_eq!(code, Some(0), "{said}");
    some(1, 9);
    let (code, said) = run(&["--max-rejected", "100%"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("9 of 10 records were rejected (90 %)"), "it warns all the same: {said}");
    some(9, 1);
    assert_eq!(run(&["--max-rejected", "0"]).0, Some(4));
    // Over all processes: the one that has the bad ones has no good ones, and is not the first.
    for (most, code) in [("25%", 0), ("10%", 4)] {
        some(16, 4);
        let (ended, said) = run(&["--processes", "2", "--supervise", "--max-rejected", most]);
        assert_eq!(ended, Some(code), "{most}: {said}");
        assert_eq!(
            said.contains("4 of 20 records were rejected (20 %); 4 of them at decode, column id"),
            code == 4,
            "{said}"
        );
    }
    assert_eq!((world.rows(), dead_letters()), (62, 58));

    for wrong in [&["--until-caught-up", "--max-rejected", "101%"][..], &["--max-rejected", "10%"]] {
        let ended = world.run(1, wrong).end(Duration::from_secs(20));
        assert_eq!(ended.code, Some(2), "{}", ended.said);
        assert!(ended.said.contains("--max-rejected") || ended.said.contains("--until-caught-up"), "{}", ended.said);
    }
}
