//! `tidegate-stack up` as a person starts it: it answers, and leaves nothing behind, however it ends.

#![allow(clippy::unwrap_used)] // a test from end to end

use std::{
    collections::BTreeMap,
    io::Write,
    net::TcpStream,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::Headers,
};

fn until(what: &str, mut so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !so() {
        assert!(since.elapsed() < Duration::from_secs(90), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn up(dir: &Path, kafka: &str) -> (Child, BTreeMap<String, String>) {
    let env = dir.join("stack.env");
    std::fs::write(&env, "KAFKA_BROKERS=of-an-earlier-start\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-stack"));
    command
        .arg("up")
        .arg("--dir")
        .arg(dir.join("data"))
        .args(["--kafka", kafka, "--topic", "lines:3"])
        .arg("--env")
        .arg(&env);
    let mut child = command.spawn().unwrap();
    until("it is up", || {
        assert!(child.try_wait().unwrap().is_none(), "it ended");
        std::fs::read_to_string(&env).is_ok_and(|text| !text.contains("of-an-earlier-start"))
    });
    let text = std::fs::read_to_string(&env).unwrap();
    let pairs = text.lines().map(|line| line.split_once('=').unwrap());
    (child, pairs.map(|(name, value)| (name.to_string(), value.to_string())).collect())
}

fn answers(address: &str) -> bool {
    TcpStream::connect(address).is_ok()
}

/// Produces these lines; whether it went well, and what it said.
fn produce(brokers: &str, arguments: &[&str], lines: &[u8]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-stack"));
    command.args(["produce", "--brokers", brokers]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.success(), String::from_utf8(said).unwrap())
}

/// What is in a topic, in the order of partitions and offsets: key, value, first header, partition.
type Found = (Option<String>, Option<String>, Option<String>, i32);

fn consume(brokers: &str, topic: &str, count: usize) -> Vec<Found> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "none").set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut places = TopicPartitionList::new();
    (0..3).for_each(|partition| places.add_partition_offset(topic, partition, Offset::Beginning).unwrap());
    consumer.assign(&places).unwrap();
    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let mut found: Vec<(i32, i64, Found)> = Vec::new();
    until("all are read", || {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            let header = message.headers().map(|headers| headers.get(0));
            let header = header.map(|header| format!("{}={}", header.key, text(header.value).unwrap()));
            let record = (text(message.key()), text(message.payload()), header, message.partition());
            found.push((message.partition(), message.offset(), record));
        }
        found.len() == count
    });
    found.sort();
    found.into_iter().map(|(_, _, record)| record).collect()
}

/// Lines become records in the form of kcat's producer, and one that cannot is named.
fn lines_become_records(brokers: &str) {
    let good = |arguments: &[&str], lines: &[u8]| assert!(produce(brokers, arguments, lines).0, "{arguments:?}");
    assert_eq!(produce(brokers, &["lines"], b"one\ntwo\nthree"), (true, "3 records sent to lines\n".into()));
    good(&["lines", "-K", ":", "-Z", "-p", "1"], b"k:v:w\nk:\n:v\n");
    good(&["lines", "--partition", "2", "--header", "h=1=2", "--timestamp", "5"], b"\xff\r\n");
    good(&["lines", "--key-separator", "=>"], b"same=>1\nsame=>2\nsame=>3\n");
    let found = consume(brokers, "lines", 10);
    let has = |key: Option<&str>, value: Option<&str>, header: Option<&str>, partition: Option<i32>| {
        let own = |text: Option<&str>| text.map(String::from);
        let one = (own(key), own(value), own(header));
        let is_one = |record: &&Found| {
            (record.0.clone(), record.1.clone(), record.2.clone()) == one && partition.is_none_or(|p| p == record.3)
        };
        assert_eq!(found.iter().filter(is_one).count(), 1, "{one:?} of {found:?}");
    };
    has(None, Some("two"), None, None);
    has(Some("k"), Some("v:w"), None, Some(1));
    has(Some("k"), None, None, Some(1));
    has(None, Some("v"), None, Some(1));
    has(None, Some("\u{fffd}\r"), Some("h=1=2"), Some(2));
    let same: Vec<i32> =
        found.iter().filter(|record| record.0.as_deref() == Some("same")).map(|record| record.3).collect();
    assert!(same.len() == 3 && same.iter().all(|partition| *partition == same[0]), "one key, one partition: {same:?}");

    let (is_good, said) = produce(brokers, &["lines", "-K", "\t"], b"a\tb\nno key\nc\td\n");
    assert!(!is_good && said.contains("line 2: no \"\\t\" in \"no key\""), "{said}");
    assert!(said.contains("(--key-separator); 1 records were sent before it"), "{said}");
    let long = [b"short\n".as_slice(), &[b'x'; 2_000_000]].concat();
    let (is_good, said) = produce(brokers, &["lines"], &long);
    assert!(!is_good && said.contains("line 2: Kafka refused it: ") && said.contains("MessageSizeTooLarge"), "{said}");
    let (is_good, said) = produce(brokers, &["lines", "-p", "7"], b"x\n");
    assert!(!is_good && said.contains("line 1: Kafka refused it: ") && said.contains("UnknownPartition"), "{said}");
}

fn ends_and_leaves_nothing(kafka: &str, signal: &str) {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, env) = up(dir.path(), kafka);
    for name in [
        "KAFKA_BROKERS",
        "S3_ENDPOINT",
        "S3_BUCKET",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_REGION",
        "REDSHIFT_HOST",
        "REDSHIFT_PORT",
        "REDSHIFT_DATABASE",
        "REDSHIFT_USER",
        "REDSHIFT_PASSWORD",
        "REDSHIFT_IAM_ROLE",
    ] {
        assert!(env.get(name).is_some_and(|value| !value.is_empty()), "{name}");
    }
    lines_become_records(&env["KAFKA_BROKERS"]);
    let addresses = [
        env["KAFKA_BROKERS"].clone(),
        env["S3_ENDPOINT"].trim_start_matches("http://").into(),
        format!("{}:{}", env["REDSHIFT_HOST"], env["REDSHIFT_PORT"]),
    ];
    assert!(addresses.iter().all(|address| answers(address)), "{addresses:?}");
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let status = child.wait().unwrap();
    assert_eq!(status.success(), signal == "-TERM");
    until("the servers are gone", || !addresses.iter().any(|address| answers(address)));
    until("the folder is gone", || !dir.path().join("data").exists());
}

/// Runs the program to its end, which must be bad; what it says.
fn refused(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-stack"));
    for name in ["KAFKA_BROKERS", "REDSHIFT_HOST", "REDSHIFT_PORT"] {
        command.env_remove(name);
    }
    let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// PostgreSQL refuses root, so for root the server runs as somebody else.
#[test]
fn what_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let closed = dir.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
    let below = closed.join("stack");
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        let said = refused(&["redshift", "--dir", below.to_str().unwrap()]);
        let chmod = format!("chmod o+x {}\n", closed.display());
        assert!(said.contains(&format!("{} may not be entered by user ", closed.display())), "{said}");
        assert!(said.ends_with(&chmod) && !said.contains("initdb"), "{said}");
        assert!(!below.exists(), "nothing is left");
    }
    let said = refused(&["up", "--env", "/no/such/folder/stack.env"]);
    assert!(said.contains("cannot write the servers' names into /no/such/folder/stack.env (--env): "), "{said}");
    let said = refused(&["produce", "--brokers", "127.0.0.1:1", "lines"]);
    assert!(said.contains("Kafka cannot be reached at 127.0.0.1:1 within 10 s: "), "{said}");
    let mine = dir.path().join("redshift/mine");
    std::fs::create_dir_all(&mine).unwrap();
    let said = refused(&["redshift", "--dir", dir.path().to_str().unwrap()]);
    assert!(said.contains("redshift is not empty; "), "{said}");
    assert!(mine.exists(), "it is somebody's");
    let deep = dir.path().join("d".repeat(100));
    let said = refused(&["redshift", "--dir", deep.to_str().unwrap()]);
    assert!(said.contains("is longer than the ") && said.contains("choose a shorter --dir"), "{said}");
}

#[test]
fn a_real_kafka_and_sigterm() {
    ends_and_leaves_nothing("real", "-TERM");
}

#[test]
fn a_mock_kafka_and_kill_9() {
    ends_and_leaves_nothing("mock", "-KILL");
}

#[test]
fn a_real_kafka_and_kill_9() {
    ends_and_leaves_nothing("real", "-KILL");
}
