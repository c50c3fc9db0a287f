//! What heals by itself needs nobody: errors of one statement, secrets that are changed, queues, a batch that is damaged.

use std::{fs, ops::Range, path::Path, time::Duration};

use harness::{
    events::{Events, event},
    gate::alone,
    proxy::{Kind, Proxy},
    world::{STACK, World, until},
};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};
use stack::redshift::Accident;

/// An error of `XX000` with a number in its block of detail.
fn internal(message: &str, code: u32, context: &str) -> Accident {
    Accident::Error { state: "XX000", message: message.into(), detail: Some((code, context.into())) }
}

fn plain(state: &'static str, message: &str) -> Accident {
    Accident::Error { state, message: message.into(), detail: None }
}

/// One error of a COPY ended the job for good.
#[test]
fn a_copy_that_fails_for_a_moment_is_tried_again() {
    let world = World::new("copy_fails", 1);
    let mut events = Events::new(&world.name, 1);
    let running = world.run(1, &[]);
    let table = format!("COPY \"public\".\"{}\"", world.name);
    for (times, accident) in [
        (2, internal("S3 Query Exception (Fetch)", 15001, "Task failed due to an internal error")),
        (1, internal("S3ServiceException:Please reduce your request rate.,Status 503,Error SlowDown", 8001, "")),
        (1, plain("53100", "Disk Full")),
        (1, plain("53200", "out of memory")),
        (1, plain("25006", "transaction is read-only")),
        (1, plain("XX000", "Query (123) aborted by WLM Query Monitoring Rule")),
        (1, plain("XX000", "could not open relation with OID 123456")),
        // Twice in a row: the catalog has the table, so it is not a reason to give up.
        (2, plain("XX000", "1018")),
        // Nobody knows this one.
        (2, internal("Assert", 1000, "a line of code")),
    ] {
        STACK.redshift.cause(&[&table], times, accident.clone());
        events.produce(200);
        until(Duration::from_secs(60), &format!("loaded after {accident:?}"), || {
            world.rows() == events.ledger.len() as i64
        });
    }
    running.signal(15);
    let ended = running.end(Duration::from_secs(30));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    for part in ["trying again: loading epoch", "recovered", "Disk Full"] {
        assert!(ended.said.contains(part), "{part}: {}", ended.said);
    }
    world.check(&events.ledger);
}

/// What no retry changes ends the job at once, and changes nothing.
#[test]
fn a_copy_that_no_retry_changes_ends_the_job() {
    for (accident, code) in [
        (internal("Spectrum Scan Error", 15007, "incompatible Parquet schema for column"), 22),
        (internal("Spectrum Scan Error", 15001, "column 'num' has an invalid type length"), 22),
        (plain("22001", "value too long"), 22),
        (plain("0A000", "that is not supported"), 22),
        (plain("42P01", "relation does not exist"), 3),
    ] {
        let world = World::new("copy_useless", 1);
        let mut events = Events::new(&world.name, 1);
        events.produce(200);
        let table = format!("COPY \"public\".\"{}\"", world.name);
        STACK.redshift.cause(&[&table], 1, accident.clone());
        let ended = world.run(1, &[]).end(Duration::from_secs(60));
        assert_eq!(ended.code, Some(code), "{accident:?}: {}", ended.said);
        // The table is what it was, so it is not to blame.
        assert_eq!(ended.said.contains("TG-2005"), code == 22, "{accident:?}: {}", ended.said);
        assert_eq!(world.rows(), 0, "{accident:?}");
    }
}

/// A secret in a file is wrong for a while: whoever rotates it changes the file and the server one after the other.
#[test]
fn secrets_that_are_changed_while_the_job_runs() {
    let dir = tempfile::tempdir().expect("a folder");
    let owner = STACK.s3.owner();
    for (system, good) in [(0, stack::redshift::PASSWORD), (1, owner.secret.as_str())] {
        let file = dir.path().join(system.to_string());
        fs::write(&file, good).expect("the secret");
        let mut world = World::new(["secret_redshift", "secret_s3"][system], 1);
        world.secrets[system] = format!(r#"{{ file = "{}" }}"#, file.display());
        let mut events = Events::new(&world.name, 1);
        events.produce(200);
        let running = world.run(1, &[]);
        until(Duration::from_secs(60), "it works", || world.rows() == events.ledger.len() as i64);
        fs::write(&file, "not any more").expect("the secret");
        // A session that is open asks for no password.
        let sessions = format!("SELECT pg_terminate_backend(pid) FROM tidegate.{}_sessions", world.name);
        world.sql(&sessions);
        events.produce(200);
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(world.rows(), 200, "nobody lets it in");
        fs::write(&file, good).expect("the secret");
        until(Duration::from_secs(60), "it goes on", || world.rows() == events.ledger.len() as i64);
        running.signal(15);
        let ended = running.end(Duration::from_secs(30));
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        assert!(ended.said.contains("trying again"), "{}", ended.said);
        world.check(&events.ledger);
    }
}

/// What S3 says for a moment: too fast, an error of its own, another write of the same key, a clock that is wrong, a token that has
/// expired. Each is tried again, with the same file, beyond what the client does by itself.
#[test]
fn what_s3_answers_for_a_moment_is_tried_again() {
    let mut world = World::new("answers", 2);
    let s3 = Proxy::start(Kind::S3, STACK.s3.endpoint().trim_start_matches("http://").parse().expect("an address"));
    world.s3_at(s3.address());
    let mut events = Events::new(&world.name, 2);
    events.produce(500);
    let running = world.run(1, &[]);
    until(Duration::from_secs(30), "it works", || world.rows() == events.ledger.len() as i64);
    for (status, code, times) in [
        ("503 Slow Down", "SlowDown", 14),
        ("500 Internal Server Error", "InternalError", 14),
        ("409 Conflict", "OperationAborted", 2),
        ("403 Forbidden", "RequestTimeTooSkewed", 2),
        ("403 Forbidden", "AccessDenied", 2),
        ("400 Bad Request", "ExpiredToken", 2),
        ("400 Bad Request", "RequestTimeout", 2),
    ] {
        s3.answer_puts(status, code, times);
        events.produce(500);
        let all = events.ledger.len() as i64;
        until(Duration::from_secs(120), "it is loaded after all", || world.rows() == all);
        assert_eq!(s3.puts_left(), 0, "{code}");
    }
    running.signal(15);
    let ended = running.end(Duration::from_secs(30));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    for part in ["trying again: writing", "recovered: writing"] {
        assert!(ended.said.contains(part), "{part}: {}", ended.said);
    }
    world.check(&events.ledger);
}

/// A machine comes up while Redshift is away: nobody is there who would start the job once more.
#[test]
fn a_supervisor_outlives_an_outage_at_its_first_start() {
    let mut world = World::new("first_start", 2);
    let mut events = Events::new(&world.name, 2);
    events.produce(500);
    let proxy = Proxy::start(Kind::Redshift, STACK.redshift.address());
    world.redshift_at(proxy.address());
    proxy.down(true);
    let parent = world.run(1, &["--supervise", "--processes", "2"]);
    std::thread::sleep(Duration::from_secs(4));
    proxy.down(false);
    until(Duration::from_secs(90), "it works", || world.rows() == events.ledger.len() as i64);
    parent.signal(15);
    let ended = parent.end(Duration::from_secs(30));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(ended.said.contains("ended with 5: all are started again"), "{}", ended.said);
    world.check(&events.ledger);
}

/// How often this machine has tried to connect to somebody who refused.
fn refused_connects() -> u64 {
    let text = fs::read_to_string("/proc/net/snmp").expect("counters");
    let mut tcp = text.lines().filter_map(|line| line.strip_prefix("Tcp: ")).map(str::split_whitespace);
    let (names, values) = (tcp.next().expect("names"), tcp.next().expect("values"));
    let found = names.zip(values).find(|(name, _)| *name == "AttemptFails").expect("AttemptFails");
    found.1.parse().expect("a number")
}

/// The brokers tell of an address that refuses: a firewall, a wrong `advertised.listeners`. Nobody hammers at it.
#[test]
fn an_address_that_refuses_is_tried_with_pauses() {
    let _alone = alone(); // the counter is the machine's
    let mut world = World::new("refused", 2);
    let mut events = Events::new(&world.name, 2);
    events.produce(500);
    let door = STACK.kafka.broker().expect("a real one").side_door().expect("nobody has it yet");
    world.kafka_at(door.inside);
    drop(door.outside);
    let before = refused_connects();
    let running = world.run(2, &[]);
    std::thread::sleep(Duration::from_secs(15));
    let tried = refused_connects() - before;
    drop(running);
    // It was twelve thousand a second. Pauses of a tenth of a second or longer are a few hundred, for three clients.
    assert!(tried < 1500, "{tried} connects in 15 s");
}

/// The fence waits longer than it would wait for a rival, and nobody is in its way.
#[test]
fn a_load_that_is_queued_waits_on() {
    let world = World::new("queued", 1);
    let mut events = Events::new(&world.name, 1);
    events.produce(200);
    let (take, load) =
        (format!("{}_fence\" SET generation", world.name), format!("{}_fence\" SET next_epoch", world.name));
    STACK.redshift.cause(&["UPDATE", &take], 1, Accident::Queue(Duration::from_secs(15)));
    let running = world.run(1, &[]);
    until(Duration::from_secs(60), "it works", || world.rows() == events.ledger.len() as i64);
    STACK.redshift.cause(&["UPDATE", &load], 1, Accident::Queue(Duration::from_secs(25)));
    events.produce(200);
    until(Duration::from_secs(90), "it is loaded", || world.rows() == events.ledger.len() as i64);
    running.signal(15);
    let ended = running.end(Duration::from_secs(30));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    for part in ["has queued the statement that takes the fence", "has queued its load"] {
        assert!(ended.said.contains(part), "{part}: {}", ended.said);
    }
    assert!(!ended.said.contains("trying again"), "it was not cancelled: {}", ended.said);
    world.check(&events.ledger);
}

/// With a pooler between, a transaction may be in any session.
#[test]
fn a_pooler_is_named() {
    let _alone = alone(); // the statement is the same for all jobs
    let world = World::new("pooler", 1);
    let mut events = Events::new(&world.name, 1);
    events.produce(200);
    STACK.redshift.cause(&["pg_backend_pid() AS session"], 1, Accident::Instead("SELECT 1 AS session".into()));
    let ended = world.run(1, &[]).end(Duration::from_secs(60));
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    assert!(ended.said.contains("a pooler stands between"), "{}", ended.said);
    assert_eq!(world.rows(), 0);
}

/// Sends events so, as one batch or a few, and gives their offsets.
fn send(world: &World, partition: i32, numbers: Range<u64>) -> Range<i64> {
    let from = world.ends(&world.name, partition + 1)[partition as usize];
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", STACK.kafka.brokers())
        .set("linger.ms", "50")
        .create()
        .expect("a producer");
    for n in numbers {
        let (key, value) = (n.to_string(), event(n));
        let record = BaseRecord::to(&world.name).partition(partition).key(&key).payload(&value);
        producer.send(record).map_err(|(e, _)| e).expect("it is queued");
    }
    producer.flush(Duration::from_secs(30)).expect("it is there");
    from..world.ends(&world.name, partition + 1)[partition as usize]
}

/// Flips a bit in the last record of each batch of a partition that begins among these offsets.
fn damage(dir: &Path, offsets: &Range<i64>) {
    let file = dir.join("00000000000000000000.log");
    let mut log = fs::read(&file).expect("the segment");
    let (mut at, mut damaged) = (0, 0);
    while at + 12 <= log.len() {
        let base = i64::from_be_bytes(log[at..at + 8].try_into().expect("8 bytes"));
        let length = u32::from_be_bytes(log[at + 8..at + 12].try_into().expect("4 bytes")) as usize;
        if length == 0 {
            break; // room that the broker has set aside
        }
        if offsets.contains(&base) {
            log[at + 12 + length - 3] ^= 1;
            damaged += 1;
        }
        at += 12 + length;
    }
    assert!(damaged > 0, "no batch in {offsets:?}");
    fs::write(&file, log).expect("the segment");
}

/// The client says it once and goes on after it. We must not: what was read before is loaded, and the job ends with the range.
#[test]
fn a_damaged_batch_drains_the_job_and_can_be_passed_over() {
    let world = World::new("damaged", 2);
    let own = world.own_job().display().to_string();
    let (before, hurt, after) = (send(&world, 0, 0..100), send(&world, 0, 100..150), send(&world, 0, 150..250));
    let other = send(&world, 1, 250..300);
    let broker = STACK.kafka.broker().expect("a real one");
    damage(&broker.partition_dir(&world.name, 0), &hurt);
    // The second start finds it at once.
    for _ in 0..2 {
        let ended = world.run(2, &[]).end(Duration::from_secs(90));
        assert_eq!(ended.code, Some(21), "{}", ended.said);
        let command = format!(
            "tidegate accept-loss {own} --partition {}/0 --from {} --to {}",
            world.name, before.end, after.start
        );
        for part in ["TG-3104", &format!("at offset {}", hurt.start), &command] {
            assert!(ended.said.contains(part), "{part}: {}", ended.said);
        }
        let of_hurt = world.number(&format!("SELECT count(*) FROM {} WHERE kafka_partition = 0", world.name));
        assert_eq!(of_hurt, 100, "what came before it, and nothing after it");
    }
    let status = world.output(&["status", &own]);
    assert!(status.contains("TG-3104") && status.contains("accept-loss"), "{status}");
    let (partition, from, to) = (format!("{}/0", world.name), before.end.to_string(), after.start.to_string());
    world.output(&["accept-loss", &own, "--partition", &partition, "--from", &from, "--to", &to, "--yes"]);
    world.catch_up(2);
    let there = world.sql(&format!("SELECT kafka_partition, kafka_offset FROM {} ORDER BY 1, 2", world.name));
    let number = |text: &Option<String>| text.as_deref().expect("a number").parse::<i64>().expect("a number");
    let there: Vec<(i64, i64)> = there.iter().map(|row| (number(&row[0]), number(&row[1]))).collect();
    let expected: Vec<(i64, i64)> = before.chain(after).map(|o| (0, o)).chain(other.map(|o| (1, o))).collect();
    assert_eq!(there, expected, "all but the damaged ones, each once");
    harness::checkers::control_tables(&world);
}
