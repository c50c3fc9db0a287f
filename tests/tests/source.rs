//! The source changes while the job is down, or as it runs.

use std::time::Duration;

use harness::{
    events::{Events, event, raw},
    proxy::{Kind, Proxy},
    world::{STACK, World, until},
};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};
#[test]
fn a_topic_that_was_made_anew_halts_the_job_and_loads_nothing() {
    let world = World::new("anew", 2);
    let mut events = Events::new(&world.name, 2);
    events.produce(1000);
    world.catch_up(1);
    let before = world.rows();
    world.delete_topic(&world.name);
    world.create_topic(&world.name, 2);
    // Refilled beyond the recorded offsets, so that by offsets alone nothing would seem wrong.
    let mut refilled = Events::new(&world.name, 2);
    refilled.produce(3000);
    for _ in 0..2 {
        let ended = world.run(1, &["--until-caught-up"]).end(Duration::from_secs(60));
        assert_eq!(ended.code, Some(21), "{}", ended.said);
        assert!(ended.said.contains("TG-3101") && ended.said.contains(&world.name), "{}", ended.said);
    }
    assert_eq!(world.rows(), before);
    world.delete_topic(&world.name);
    let ended = world.run(1, &["--until-caught-up"]).end(Duration::from_secs(60));
    assert_eq!(ended.code, Some(21), "{}", ended.said);
}

#[test]
fn a_topic_that_is_made_anew_while_it_is_read_halts_the_job() {
    let world = World::new("anew_meanwhile", 2);
    let mut events = Events::new(&world.name, 2);
    events.produce(1000);
    let running = world.run(1, &[]);
    until(Duration::from_secs(30), "it works", || world.rows() == 1000);
    world.delete_topic(&world.name);
    world.create_topic(&world.name, 2);
    // Beyond where it stood: a consumer that knows offsets only goes on as if nothing had happened.
    Events::new(&world.name, 2).produce(5000);
    let ended = running.end(Duration::from_secs(60));
    assert_eq!(ended.code, Some(21), "{}", ended.said);
    assert!(ended.said.contains("TG-3101") && ended.said.contains(&world.name), "{}", ended.said);
    assert_eq!(world.rows(), 1000, "{}", ended.said);
}

#[test]
fn a_topic_that_goes_away_while_it_is_read_halts_the_job() {
    let world = World::new("gone_meanwhile", 2);
    let mut events = Events::new(&world.name, 2);
    events.produce(1000);
    let running = world.run(1, &[]);
    until(Duration::from_secs(30), "it works", || world.rows() == 1000);
    world.delete_topic(&world.name);
    let ended = running.end(Duration::from_secs(90));
    assert_eq!(ended.code, Some(21), "{}", ended.said);
    assert!(ended.said.contains("does not exist any more"), "{}", ended.said);
    assert_eq!(world.rows(), 1000);
}

/// Behind a warehouse that is closed, so that reading stops at the budget, until retention has overtaken it.
#[test]
fn records_that_retention_takes_while_they_wait_halt_the_job() {
    let mut world = World::new("overtaken", 1);
    world.more = "[epoch]\ninterval = \"300ms\"\n[memory]\nbudget = \"32 MB\"\n".into();
    let redshift = Proxy::start(Kind::Redshift, STACK.redshift.address());
    world.redshift_at(redshift.address());
    // What is on S3 does not count any more; so it is away as well, and the reader waits for its budget, which is full before half of it
    // is read.
    world.secrets[1] += "\ncompression = \"none\"";
    let s3 = Proxy::start(Kind::S3, STACK.s3.endpoint().trim_start_matches("http://").parse().expect("an address"));
    world.s3_at(s3.address());
    let mut events = Events::new(&world.name, 1);
    events.produce(1000);
    let running = world.run(1, &[]);
    until(Duration::from_secs(30), "it works", || world.rows() == 1000);
    redshift.down(true);
    s3.down(true);
    events.produce(600_000);
    world.delete_records(&world.name, 0, 590_000);
    s3.down(false);
    redshift.down(false);
    let ended = running.end(Duration::from_secs(60));
    assert_eq!(ended.code, Some(21), "{}", ended.said);
    assert!(ended.said.contains("TG-3102"), "{}", ended.said);
    // What was read before is loaded, and the command says exactly what is missing.
    let from = world.number(&format!("SELECT max(end_offset) FROM tidegate.{}_offsets", world.name));
    assert!((1001..590_000).contains(&from), "up to {from}: {}", ended.said);
    let is_left = |offset: &i64| *offset < from;
    assert_eq!(world.rows(), events.ledger.keys().filter(|(_, offset)| is_left(offset)).count() as i64);
    let own = world.own_job().display().to_string();
    let range = ["--partition", &format!("{}/0", world.name), "--from", &from.to_string(), "--to", "590000"].join(" ");
    assert!(ended.said.contains(&format!("tidegate accept-loss {own} {range}")), "{}", ended.said);
    let mut accept = vec!["accept-loss", own.as_str()];
    accept.extend(range.split(' '));
    accept.extend(["--yes", "--why", "a test"]);
    world.output(&accept);
    world.catch_up(1);
    let kept = events.ledger.keys().filter(|(_, offset)| is_left(offset) || *offset >= 590_000);
    assert_eq!(world.rows(), kept.count() as i64, "and everything after it");
}

#[test]
fn records_that_retention_took_before_they_were_loaded_halt_the_job() {
    let world = World::new("retention", 1);
    let mut events = Events::new(&world.name, 1);
    events.produce(1000);
    world.catch_up(1);
    let before = world.rows();
    events.produce(1000);
    world.delete_records(&world.name, 0, 1500);
    let ended = world.run(1, &["--until-caught-up"]).end(Duration::from_secs(60));
    assert_eq!(ended.code, Some(21), "{}", ended.said);
    assert!(ended.said.contains("TG-3102"), "{}", ended.said);
    assert_eq!(world.rows(), before);
}

#[test]
fn a_topic_added_to_the_job_begins_at_its_own_start() {
    let world = World::new("added", 2);
    let mut events = Events::new(&world.name, 2);
    events.produce(1000);
    world.catch_up(1);
    let (late, all) = (format!("{}_late", world.name), format!("{}_all", world.name));
    for topic in [&late, &all] {
        world.create_topic(topic, 2);
        world.create_table(topic);
    }
    let (mut late_events, mut all_events) = (Events::new(&late, 2), Events::new(&all, 2));
    late_events.produce(500);
    all_events.produce(700);
    let job = world.job_file(&[
        World::line(&world.name, &world.name, "\"earliest\""),
        World::line(&late, &late, "\"latest\""),
        World::line(&all, &all, "\"earliest\""),
    ]);
    let catch_up = || {
        let ended = world
            .start(&["run", &job.display().to_string(), "--until-caught-up", "--workers", "2"])
            .end(Duration::from_secs(60));
        assert_eq!(ended.code, Some(0), "{}", ended.said);
    };
    catch_up();
    let rows = |table: &str| world.number(&format!("SELECT count(*) FROM {table}"));
    assert_eq!((rows(&late), rows(&all)), (0, all_events.ledger.len() as i64));
    let seen = late_events.ledger.len();
    late_events.produce(300);
    events.produce(100);
    catch_up();
    assert_eq!(rows(&late), (late_events.ledger.len() - seen) as i64);
    harness::oracle::compare(&all, &harness::oracle::expected(&all, &all_events.ledger));
    harness::oracle::compare(&world.name, &harness::oracle::expected(&world.name, &events.ledger));
}

#[test]
fn a_partition_added_to_a_topic_begins_at_0() {
    let world = World::new("partition", 1);
    let mut events = Events::new(&world.name, 1);
    events.produce(1000);
    world.catch_up(1);
    world.add_partitions(&world.name, 3);
    let mut more = Events::new(&world.name, 3);
    more.ledger = events.ledger.clone();
    more.produce(1000);
    world.catch_up(2);
    world.check(&more.ledger);
}

#[test]
fn a_bad_record_halts_the_job_where_it_says_so_and_is_named() {
    let mut world = World::new("bad", 1);
    world.more += "[errors]\nreject = \"halt\"\n";
    let mut events = Events::new(&world.name, 1);
    events.send(10, None);
    events.flush();
    let before = event(3).replace("\"qty\":", "\"qty\":1e-9,\"q\":");
    raw(&world.name, 0, &before);
    let ended = world.run(1, &["--until-caught-up"]).end(Duration::from_secs(60));
    assert_eq!(ended.code, Some(23), "{}", ended.said);
    for part in ["TG-4001", &format!("{}[0] at offset 10", world.name), "column qty", "1e-9"] {
        assert!(ended.said.contains(part), "{part}: {}", ended.said);
    }
    assert_eq!(world.rows(), 0);
}

/// SIGTERM closes the open epoch, loads it and ends with 0, however long the interval is.
#[test]
fn a_signal_drains_the_job() {
    let mut world = World::new("drain", 2);
    world.more = "[epoch]\ninterval = \"1h\"\n".into();
    let mut events = Events::new(&world.name, 2);
    events.produce(1000);
    events.end_with_transactions();
    let all = events.ledger.len() as i64;
    // How much it reads in a while nobody knows. Each time it is told to stop the table has what was read until then, and not before.
    let mut read_for = Duration::from_secs(2);
    while world.rows() < all {
        assert!(read_for < Duration::from_secs(120), "what it reads is never loaded: {} of {all} rows", world.rows());
        let before = world.rows();
        let running = world.run(2, &[]);
        std::thread::sleep(read_for);
        assert_eq!(world.rows(), before, "nothing is loaded until the signal");
        running.signal(15);
        let ended = running.end(Duration::from_secs(30));
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        read_for *= 2;
    }
    world.check(&events.ledger);
}

/// The table changes while the job runs: a column more does not disturb; one that is gone or of another type ends the job with what was
/// changed, and the next start takes the table as it is, or says what is missing.
#[test]
fn a_table_that_changes_while_the_job_runs() {
    for (change, named, next, part) in [
        ("DROP COLUMN note", "column note is gone", 3, "no column note"),
        ("DROP COLUMN qty, ADD COLUMN qty bigint", "column qty is bigint now, and was integer", 0, ""),
        // Most notes are longer: that start loads the others, and ends with 4.
        (
            "ALTER COLUMN note TYPE varchar(3) USING 'abc'",
            "column note is varchar(3) now, and was varchar(40)",
            4,
            "TG-4003",
        ),
        (
            "ADD COLUMN k integer NOT NULL DEFAULT 7; ALTER TABLE TARGET ALTER COLUMN k DROP DEFAULT",
            "column k is NOT NULL without a default",
            3,
            "column k",
        ),
    ] {
        let world = World::new("table_changes", 1);
        let mut events = Events::new(&world.name, 1);
        events.produce(500);
        let running = world.run(1, &[]);
        until(Duration::from_secs(30), "it works", || world.rows() == events.ledger.len() as i64);
        world.sql(&format!("ALTER TABLE {} ADD COLUMN gained integer", world.name));
        events.produce(500);
        until(Duration::from_secs(30), "it goes on", || world.rows() == events.ledger.len() as i64);
        let before = world.rows();
        world.sql(&format!("ALTER TABLE TARGET {change}").replace("TARGET", &world.name));
        events.produce(500);
        let ended = running.end(Duration::from_secs(60));
        assert_eq!(ended.code, Some(13), "{change}: {}", ended.said);
        assert!(ended.said.contains("TG-2102") && ended.said.contains(named), "{change}: {}", ended.said);
        assert_eq!(world.rows(), before, "{change}");
        let ended = world.run(1, &["--until-caught-up"]).end(Duration::from_secs(60));
        assert_eq!(ended.code, Some(next), "{change}: {}", ended.said);
        assert!(ended.said.contains(part), "{change}: {}", ended.said);
    }
}

#[test]
fn brokers_may_want_to_know_who_asks() {
    let mut world = World::new("login", 2);
    let mut events = Events::new(&world.name, 2);
    events.produce(1000);
    world.kafka_at(STACK.kafka.broker().expect("a real one").login_address());
    world.properties =
        r#", "security.protocol" = "SASL_PLAINTEXT", "sasl.mechanism" = "PLAIN", "sasl.username" = "loader",
        "sasl.password" = { env = "TEST_PASSWORD" }"#
            .replace('\n', " ");
    let [(_, password), _] = stack::kafka::LOGINS;
    for (password, code) in [("wrong", 6), (password, 0)] {
        world.env.retain(|(name, _)| name != "TEST_PASSWORD");
        world.env.push(("TEST_PASSWORD".into(), password.into()));
        let ended = world.run(1, &["--until-caught-up"]).end(Duration::from_secs(60));
        assert_eq!(ended.code, Some(code), "{}", ended.said);
        assert_eq!(ended.said.contains("Invalid username or password"), code == 6, "{}", ended.said);
    }
    world.check(&events.ledger);
}

/// A producer of transactions.
fn transactional(world: &World, name: &str) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", STACK.kafka.brokers()).set("transactional.id", format!("{}-{name}", world.name));
    let producer: BaseProducer = config.create().expect("a producer");
    producer.init_transactions(Duration::from_secs(30)).expect("transactions");
    producer
}

/// Begins a transaction of these events in partition 0.
fn begin(world: &World, producer: &BaseProducer, numbers: std::ops::Range<u64>) {
    producer.begin_transaction().expect("a transaction");
    for n in numbers {
        let value = event(n);
        let record = BaseRecord::<str, str>::to(&world.name).partition(0).payload(&value);
        producer.send(record).map_err(|(e, _)| e).expect("it is queued");
    }
    producer.flush(Duration::from_secs(30)).expect("they are there");
}

/// The last stable offset is that of the open transaction, and no reader's position gets there: the aborted records below it are
/// skipped without a trace, and their marker stands above.
#[test]
fn aborted_records_below_an_open_transaction_are_caught_up_with() {
    for before in [0, 1000] {
        let world = World::new("overtaken_by", 2);
        let mut events = Events::new(&world.name, 2);
        events.produce(before);
        let start = world.ends(&world.name, 2)[0];
        let (aborted, open) = (transactional(&world, "aborted"), transactional(&world, "open"));
        begin(&world, &aborted, 900_000..900_002);
        begin(&world, &open, 900_002..900_003);
        let check = || world.finish(&["check", &world.own_job().display().to_string()]);
        if before == 0 {
            let (code, said, _) = check();
            let note = format!(
                "topic {}: nothing of it could be checked: all its records are of transactions that are open",
                world.name
            );
            assert!(code == Some(0) && said.contains(&note), "{said}");
        }
        aborted.abort_transaction(Duration::from_secs(30)).expect("it aborts");
        let (code, said, _) = check();
        let named = if before == 0 {
            "nothing of it could be checked: its newest offsets have no record"
        } else {
            " records decode"
        };
        assert!(code == Some(0) && said.contains(named), "{said}");
        let held = format!("{}[0] is held up at offset {} by a transaction that is open", world.name, start + 2);
        assert!(said.contains(&held), "{said}");
        let ended = world.run(1, &["--until-caught-up"]).end(Duration::from_secs(60));
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        world.check(&events.ledger);
        let sql = format!(
            "SELECT max(end_offset) FROM tidegate.{}_offsets WHERE topic = '{}' AND kafka_partition = 0",
            world.name, world.name
        );
        assert_eq!(world.number(&sql), start, "what is recorded is where the reader stands");
        open.commit_transaction(Duration::from_secs(30)).expect("it commits");
        events.ledger.insert((0, start + 2), 900_002);
        world.catch_up(1);
        world.check(&events.ledger);
    }
}

/// What is in it can be read by nobody, and what was sent after it neither.
#[test]
fn an_open_transaction_is_named_and_counts_as_not_loaded() {
    let world = World::new("held_up", 2);
    let job = world.own_job().display().to_string();
    let status = || -> serde_json::Value {
        serde_json::from_str(&world.output(&["status", &job, "--json"])).expect("an object")
    };
    let time = |status: &serde_json::Value, key: &str| status[key].as_str().expect("a time").to_string();
    let mut events = Events::new(&world.name, 2);
    events.produce(100);
    world.catch_up(1);
    let all_loaded = status();
    assert_eq!(all_loaded["lag_offsets"], 0, "{all_loaded}");

    let open = transactional(&world, "open");
    let start = world.ends(&world.name, 2)[0];
    begin(&world, &open, 900_000..900_001);
    raw(&world.name, 0, &event(900_001));
    raw(&world.name, 1, &event(900_002));
    events.ledger.insert((1, world.ends(&world.name, 2)[1] - 1), 900_002);
    let ended = world.catch_up(1);
    assert!(ended.said.contains(&format!("{}[0] is held up at offset {start}", world.name)), "{}", ended.said);
    world.check(&events.ledger);
    let held = status();
    assert_eq!(held["lag_offsets"], 2, "the open one and the one after it: {held}");
    let line = &held["topics"][0]["held_up"][0];
    assert_eq!((&line["partition"], &line["offset"]), (&0.into(), &start.into()), "{held}");
    // The record's timestamp is the producer's, in milliseconds.
    let since = time(line, "since");
    assert_eq!(time(&held, "complete_up_to"), since, "{held}");
    assert!(since.as_str() > &time(&all_loaded, "complete_up_to")[..23], "{held}");
    let text = world.output(&["status", &job]);
    let named =
        format!("{}[0] is held up at offset {start} by a transaction that is open since {}Z", world.name, &since[..19]);
    assert!(text.contains(&named), "{text}");

    // A job that runs knows when Kafka said what.
    let running = world.run(1, &["--log", "json"]);
    std::thread::sleep(Duration::from_secs(1));
    open.commit_transaction(Duration::from_secs(30)).expect("it commits");
    events.ledger.insert((0, start), 900_000);
    events.ledger.insert((0, start + 1), 900_001);
    until(Duration::from_secs(30), "all is loaded", || world.rows() == events.ledger.len() as i64);
    running.signal(15);
    let ended = running.end(Duration::from_secs(30));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    world.check(&events.ledger);
    let done = status();
    assert_eq!((&done["lag_offsets"], &done["topics"][0]["held_up"]), (&0.into(), &serde_json::json!([])), "{done}");
    assert!(time(&done, "complete_up_to") > since, "{done}");
}

/// The newest record that was loaded is gone, as compaction may have it, and after it there is nothing that anybody sees.
#[test]
fn a_compacted_topic_that_ends_with_aborted_records_is_read_on() {
    let world = World::bare("compacted");
    let settings = [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.01"), ("segment.ms", "50")];
    let at_once = [("delete.retention.ms", "0"), ("max.compaction.lag.ms", "100")];
    world.create_topic_with(&world.name, 1, &[settings.as_slice(), &at_once].concat());
    world.create_table(&world.name);
    world.init();
    let mut config = ClientConfig::new();
    let plain: BaseProducer = config.set("bootstrap.servers", STACK.kafka.brokers()).create().expect("a producer");
    let value = event(1);
    for payload in [Some(&value), None] {
        let mut record = BaseRecord::<str, str>::to(&world.name).key("k");
        record.payload = payload.map(String::as_str);
        plain.send(record).map_err(|(e, _)| e).expect("it is queued");
        plain.flush(Duration::from_secs(30)).expect("it is there");
    }
    world.catch_up(1);
    let rows = world.rows();
    // Each transaction closes the segment before it, so that it is cleaned; a tombstone goes in a second round.
    let aborted = transactional(&world, "aborted");
    until(Duration::from_secs(60), "the first two records are gone", || {
        begin(&world, &aborted, 900_000..900_001);
        aborted.abort_transaction(Duration::from_secs(30)).expect("it aborts");
        std::thread::sleep(Duration::from_millis(100));
        first_offset(&world).is_none_or(|offset| offset > 1)
    });
    let ended = world.run(1, &["--until-caught-up"]).end(Duration::from_secs(60));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert_eq!(world.rows(), rows);
}

/// The offset of the first record of partition 0 that is still there, aborted or not. Markers are none.
fn first_offset(world: &World) -> Option<i64> {
    use rdkafka::{
        Message, Offset, TopicPartitionList,
        consumer::{BaseConsumer, Consumer},
        error::KafkaError,
    };
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", STACK.kafka.brokers()).set("group.id", "first");
    config.set("isolation.level", "read_uncommitted").set("fetch.wait.max.ms", "20");
    config.set("enable.partition.eof", "true");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&world.name, 0, Offset::Offset(0)).expect("a partition");
    consumer.assign(&list).expect("assigned");
    match consumer.poll(Duration::from_secs(30)).expect("an answer") {
        Ok(message) => Some(message.offset()),
        Err(KafkaError::PartitionEOF(_)) => None,
        Err(error) => panic!("{error}"),
    }
}
