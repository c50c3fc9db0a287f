//! What a record costs on its whole way, from a real topic to files that are sealed, uploaded and loaded: CPU time of the whole
//! process, beside that of reading alone and of writing Parquet alone, all in one run.
//!
//! The whole and reading alone are the CPU time of a process of its own, as the kernel counts it for a child that has ended;
//! broker, object store and warehouse are other processes and count apart. Decoding and Parquet alone are the CPU time of one
//! thread, taken around each batch of events that were made in memory. Each case has its turn in each round. Ratios are of
//! medians. Standard output gets a table, `--json FILE` the same as JSON; `--events N` for another number than a million.

#![allow(clippy::unwrap_used)] // what fails here is the bench

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bench::thread_cpu;
use checkpoint::TopicPartition;
use connectors::{ColumnKind, Log, RawBatch, Read, ReadFrom, TableName, TargetColumn, kafka};
use operators::{
    Raw,
    dead_letters::{RejectOptions, Rejects},
    decode::{Decode, DecodeOptions, Format},
    events::Changes,
    places::Place,
    query::{Evaluate, select},
    rows::Origin,
    schema::{SourceColumn, Target},
    sink::{
        encode::{Compression, EncodeOptions, EpochFiles, Files},
        fit::Fit,
    },
    values::Policy,
};

const ROUNDS: usize = 3;
const PARTITIONS: usize = 8;
const BATCH: usize = 8192;
/// Bytes of an event.
const BYTES: usize = 300;

const QUERY: &str = "SELECT event_id, user_id, session, kind, url, country, price, quantity, ts, os, browser, \
    _partition AS kafka_partition, _offset AS kafka_offset FROM events";

/// Names, paths and types of the columns.
const COLUMNS: &[(&str, &str, &str)] = &[
    ("event_id", "event_id", "varchar(36)"),
    ("user_id", "user_id", "bigint"),
    ("session", "session", "varchar(32)"),
    ("kind", "kind", "varchar(20)"),
    ("url", "url", "varchar(200)"),
    ("country", "country", "varchar(2)"),
    ("price", "price", "decimal(12,2)"),
    ("quantity", "quantity", "integer"),
    ("ts", "ts", "timestamptz"),
    ("os", "device.os", "varchar(20)"),
    ("browser", "device.browser", "varchar(40)"),
];

/// Event n: made of n alone, so that each run has the same bytes.
fn event(n: u64) -> String {
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let pick = |of: &[&'static str], shift: u32| of[(mixed >> shift) as usize % of.len()];
    let head = format!(
        r#"{{"event_id":"{mixed:016x}-{n:012}","user_id":{},"session":"{:016x}","kind":"{}","country":"{}","price":{}.{:02},"quantity":{},"ts":"2026-11-24T{:02}:{:02}:{:02}.{:03}Z","device":{{"os":"{}","browser":"{}"}},"url":""#,
        mixed % 1_000_000,
        mixed.rotate_left(17) & 0xffff_ffff,
        pick(&["view", "view", "view", "cart", "purchase"], 5),
        pick(&["ee", "de", "fr", "us", "jp", "br"], 9),
        mixed % 1000,
        mixed % 100,
        1 + mixed % 5,
        n / 360_000 % 24,
        n / 6000 % 60,
        n / 100 % 60,
        mixed % 1000,
        pick(&["linux", "android", "ios", "windows"], 13),
        pick(&["firefox", "chrome", "safari"], 21),
    );
    let path = format!("/shop/{}/{}?ref=", mixed % 300, mixed % 5000);
    let rest = BYTES - head.len() - path.len() - 2;
    let letters = (0..rest as u32).map(|i| char::from(b'a' + (mixed.rotate_left(i * 7) % 26) as u8));
    head + &path + &letters.collect::<String>() + "\"}"
}

fn columns() -> Vec<SourceColumn> {
    COLUMNS
        .iter()
        .map(|(name, path, kind)| SourceColumn {
            path: operators::values::path::Path::parse(path).unwrap(),
            ..SourceColumn::new(name, ColumnKind::parse(kind).unwrap())
        })
        .collect()
}

// ------------------------------------------------------------------------------------------------ the cases, as children

/// Reads so many records and throws them away.
fn fetch(events: u64) {
    let settings = kafka::Settings {
        brokers: std::env::var("KAFKA_BROKERS").unwrap(),
        job: "bench".into(),
        properties: Vec::new(),
        queue_kb: 65_536,
        batch_bytes: 8 << 20,
        headers: false,
        answer_within: kafka::ANSWER_WITHIN,
    };
    let from = (0..PARTITIONS as i32).map(|p| ReadFrom::offset(TopicPartition::new("events", p), 0));
    let log = kafka::Kafka::new(settings);
    let mut reader = log.read(&from.collect::<Vec<_>>()).unwrap();
    let mut seen = 0;
    while seen < events {
        if let Some(Read::Batch(batch)) = reader.next(Duration::from_millis(100)).unwrap() {
            seen += batch.len() as u64;
        }
    }
    assert_eq!(seen, events);
}

/// Decodes, selects and fits batches of events that are in memory, and writes them to Parquet. Prints the nanoseconds of either.
fn parts(events: u64) {
    let partition = TopicPartition::new("events", 0);
    let places: Arc<[Place]> =
        [Place { partition, topic_id: String::new(), stream: 0, start: 0, leader_epoch: None, until: None }].into();
    let rejects = Rejects::new(RejectOptions::default(), places.clone());
    let selection = select::parse(QUERY, &[("events".into(), columns())]).unwrap_or_else(|refusal| panic!("{refusal}"));
    let column = |c: &select::SelectedColumn| TargetColumn {
        name: c.name.clone(),
        kind: c.kind.clone(),
        not_null: false,
        has_default: false,
        is_identity: false,
    };
    let target = Arc::new(Target {
        table: TableName { schema: "public".into(), table: "events".into() },
        stream: Some(0),
        columns: selection.columns.iter().map(column).collect(),
        policies: vec![Policy::default(); selection.columns.len()],
        ..Target::default()
    });
    let options = DecodeOptions { stream: "events".into(), format: Format::Json, columns: columns().into() };
    let mut decode = Decode::new(options, rejects.clone(), Arc::new(|_| {}));
    let query = Evaluate { target: target.name(), selection: Arc::new(selection), places, rejects: rejects.clone() };
    let fit = Fit { target: target.clone(), rejects, changes: Changes::new(target.name(), Arc::new(|_| {})) };
    let files = Files::new(
        &target,
        0,
        &EncodeOptions { compression: Compression::Zstd, file_bytes: 128_000_000, page_bytes: 1 << 20 },
    );
    let mut epoch = EpochFiles::new(files);
    let (mut rows_in, mut rows_out) = (0, 0);
    let (mut transform, mut encode) = (Duration::ZERO, Duration::ZERO);
    while rows_in < events {
        let count = (events - rows_in).min(BATCH as u64);
        let mut raw = RawBatch::default();
        for n in rows_in..rows_in + count {
            raw.partitions.push(0);
            raw.offsets.push(n as i64);
            raw.timestamps_ms.push(1_795_517_694_001);
            raw.keys.push(None).unwrap();
            raw.values.push(Some(event(n).as_bytes())).unwrap();
        }
        rows_in += count;
        let raw = Raw::new(Origin::new(raw, &[0]));
        let start = thread_cpu();
        let rows = decode.batch(0, raw).rows;
        let rows = query.batch(0, rows).rows;
        let rows = fit.batch(0, rows).rows;
        let fitted = thread_cpu();
        rows_out += rows.len() as u64;
        epoch.add(&rows).unwrap();
        (transform, encode) = (transform + (fitted - start), encode + (thread_cpu() - fitted));
    }
    assert_eq!(rows_out, events, "every event is a row");
    let start = thread_cpu();
    let last = epoch.end().unwrap();
    encode += thread_cpu() - start;
    assert!(last.is_some_and(|file| !file.body.is_empty()));
    println!("{} {}", transform.as_nanos(), encode.as_nanos());
}

// ------------------------------------------------------------------------------------------------------------ the rounds

/// What a child has used.
#[derive(Clone, Copy, Debug)]
struct Used {
    cpu_s: f64,
    wall_s: f64,
    resident_mb: f64,
}

/// CPU time of all children that have ended, in seconds.
fn of_children() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux says what children have used");
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    // cutime and cstime, in the ticks of the kernel's interface: 100 a second on every Linux.
    (fields[13].parse::<f64>().unwrap() + fields[14].parse::<f64>().unwrap()) / 100.0
}

/// Runs a child to its end, which must be good. Nothing else of ours ends meanwhile.
fn measure(command: &mut Command) -> (Used, String) {
    let (before, since) = (of_children(), Instant::now());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut resident_mb = 0.0;
    let status = loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        resident_mb = peak.map_or(resident_mb, |kb| kb / 1024.0);
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    assert!(status.success(), "{command:?}: {status}");
    let used = Used { cpu_s: of_children() - before, wall_s: since.elapsed().as_secs_f64(), resident_mb };
    // A line or two, which the pipe holds.
    let said = std::io::read_to_string(child.stdout.take().unwrap()).unwrap();
    (used, said)
}

/// The local stack, in a process of its own.
struct Stack {
    child: Child,
    env: BTreeMap<String, String>,
}

impl Stack {
    fn start(folder: &Path) -> Stack {
        let file = folder.join("stack.env");
        let mut command = Command::new(beside("tidegate-stack"));
        command.args(["up", "--env"]).arg(&file);
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        while !file.exists() {
            assert!(child.try_wait().unwrap().is_none(), "the stack ended");
            std::thread::sleep(Duration::from_millis(50));
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Stack { child, env: pairs.map(|(name, value)| (name.into(), value.into())).collect() }
    }

    fn command(&self, program: PathBuf, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).envs(&self.env);
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let status = self.command(beside(program), arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(status.unwrap().success(), "{program} {arguments:?}");
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").arg(pid).status(); // it stops its servers itself
        let _ = self.child.wait();
    }
}

/// A program that was built beside this one.
fn beside(name: &str) -> PathBuf {
    let path = std::env::current_exe().unwrap().with_file_name(name);
    assert!(path.exists(), "{} is not there: run it with `make bench`", path.display());
    path
}

/// A job of its own, with a table of its own, so that it reads the topic from its beginning.
fn job(stack: &Stack, folder: &Path, name: &str) -> String {
    let columns = COLUMNS.iter().map(|(name, _, kind)| format!("{name} {kind}"));
    let columns = columns.collect::<Vec<_>>().join(", ");
    let table = format!("CREATE TABLE {name} ({columns}, kafka_partition integer, kafka_offset bigint)");
    stack.run("tidegate-stack", &["sql", &table]);
    let declared = COLUMNS
        .iter()
        .map(|(name, path, kind)| format!("  {{ name = \"{name}\", type = \"{kind}\", path = \"{path}\" }},\n"));
    let text = format!(
        r#"version = 1
job = "{name}"
[kafka]
brokers = "${{KAFKA_BROKERS}}"
[[stream]]
name = "events"
topic = "events"
columns = [
{}]
[[target]]
table = "public.{name}"
query = "{QUERY}"
[epoch]
interval = "60s"
[staging]
url = "s3://${{S3_BUCKET}}/bench"
region = "${{AWS_REGION}}"
endpoint = "${{S3_ENDPOINT}}"
access_key_id = {{ env = "AWS_ACCESS_KEY_ID" }}
secret_access_key = {{ env = "AWS_SECRET_ACCESS_KEY" }}
[redshift]
host = "${{REDSHIFT_HOST}}"
port = "${{REDSHIFT_PORT}}"
database = "${{REDSHIFT_DATABASE}}"
user = "${{REDSHIFT_USER}}"
password = {{ env = "REDSHIFT_PASSWORD" }}
iam_role = "${{REDSHIFT_IAM_ROLE}}"
tls = "off"
"#,
        declared.collect::<String>()
    );
    let path = folder.join(format!("{name}.toml"));
    std::fs::write(&path, text).unwrap();
    let path = path.display().to_string();
    stack.run("tidegate", &["init", &path]);
    path
}

fn produce(stack: &Stack, events: u64) {
    let topic = format!("events:{PARTITIONS}");
    let mut child = stack
        .command(beside("tidegate-stack"), &["produce", &topic])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufWriter::with_capacity(1 << 20, child.stdin.take().unwrap());
    for n in 0..events {
        writeln!(lines, "{}", event(n)).unwrap();
    }
    drop(lines);
    assert!(child.wait().unwrap().success());
}

fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

fn main() {
    let events: u64 = argument("--events").map_or(1_000_000, |events| events.parse().expect("a number"));
    match argument("--case").as_deref() {
        Some("fetch") => return fetch(events),
        Some("parts") => return parts(events),
        _ => {}
    }
    let folder = tempfile::tempdir().unwrap();
    let stack = Stack::start(folder.path());
    eprintln!("{events} events of {BYTES} bytes into {PARTITIONS} partitions");
    produce(&stack, events);
    let us = std::env::current_exe().unwrap();
    let case = |name: &str| measure(&mut stack.command(us.clone(), &["--case", name, "--events", &events.to_string()]));
    let mut used: BTreeMap<&str, Vec<Used>> = BTreeMap::new();
    for round in 0..ROUNDS {
        eprintln!("round {} of {ROUNDS}", round + 1);
        let job = job(&stack, folder.path(), &format!("bench_{round}"));
        let arguments = ["run", &job, "--until-caught-up", "--quiet"];
        let (whole, _) = measure(&mut stack.command(beside("tidegate"), &arguments));
        let said = stack.command(beside("tidegate"), &["verify", &job]).output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
        let (fetch, _) = case("fetch");
        let (parts, said) = case("parts");
        let ns: Vec<f64> = said.split_whitespace().map(|ns| ns.parse().unwrap()).collect();
        let [transform, encode] = [ns[0], ns[1]].map(|ns| Used { cpu_s: ns / 1e9, wall_s: ns / 1e9, ..parts });
        for (name, figures) in [("whole", whole), ("fetch", fetch), ("transform", transform), ("encode", encode)] {
            used.entry(name).or_default().push(figures);
        }
    }
    drop(stack);
    report(&used, events);
}

/// Least, middle and greatest.
fn spread(mut figures: Vec<f64>) -> [f64; 3] {
    figures.sort_by(f64::total_cmp);
    [figures[0], figures[figures.len() / 2], figures[figures.len() - 1]]
}

fn report(used: &BTreeMap<&str, Vec<Used>>, events: u64) {
    let each = |name: &str| spread(used[name].iter().map(|figures| figures.cpu_s * 1e9 / events as f64).collect());
    let cases = [
        ("the whole: topic to table", "whole"),
        ("fetch alone, thrown away", "fetch"),
        ("decode, query, fit alone", "transform"),
        ("Parquet alone (zstd)", "encode"),
    ];
    let whole = each("whole")[1];
    println!(
        "{:28} {:>8} {:>8} {:>8} {:>9} {:>7} {:>8} {:>9}",
        "CPU of one process", "min ns", "median", "max", "of whole", "wall s", "MB max", "M/s/core"
    );
    let mut lines = Vec::new();
    for (title, name) in cases {
        let [least, middle, most] = each(name);
        let wall = spread(used[name].iter().map(|u| u.wall_s).collect())[1];
        let resident = spread(used[name].iter().map(|u| u.resident_mb).collect())[2];
        let (share, rate) = (middle / whole, 1e3 / middle);
        println!("{title:28} {least:8.0} {middle:8.0} {most:8.0} {share:9.2} {wall:7.2} {resident:8.0} {rate:9.2}");
        lines.push(serde_json::json!({
            "case": title, "min_ns": least, "median_ns": middle, "max_ns": most, "of_whole": share, "wall_s": wall,
            "resident_mb": resident, "million_per_s_and_core": rate, "events": events, "event_bytes": BYTES,
        }));
    }
    if let Some(path) = argument("--json") {
        std::fs::write(&path, serde_json::to_vec_pretty(&lines).unwrap()).unwrap_or_else(|e| panic!("{path}: {e}"));
    }
}
