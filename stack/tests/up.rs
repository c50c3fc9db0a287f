//! `tidegate-stack up` as a person starts it: it answers, and leaves nothing behind, however it ends.

#![allow(clippy::unwrap_used)] // a test from end to end

use std::{
    collections::BTreeMap,
    io::Write,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
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
        env.exists()
    });
    let text = std::fs::read_to_string(&env).unwrap();
    let pairs = text.lines().map(|line| line.split_once('=').unwrap());
    (child, pairs.map(|(name, value)| (name.to_string(), value.to_string())).collect())
}

fn answers(address: &str) -> bool {
    TcpStream::connect(address).is_ok()
}

fn produce(brokers: &str, topic: &str, lines: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-stack"));
    command.args(["produce", "--brokers", brokers, topic]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
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
    assert_eq!(produce(&env["KAFKA_BROKERS"], "lines", "one\ntwo\nthree\n"), "3 records sent to lines\n");
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
