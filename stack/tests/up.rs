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
fn a_folder_in_which_the_server_cannot_live_is_named() {
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
