//! What bad records cost: CPU time of decode, query and fit on batches of 8,192 records, beside that of clean ones.
//!
//! Figures are CPU time of this thread, so that what else the machine does matters little, for whole rounds, because the
//! kernel counts it by the tick; ratios are of medians in one run. Standard output gets a table, `--json FILE` the same as JSON.

#![allow(clippy::unwrap_used)] // what fails here is the bench

use std::sync::Arc;

use bench::thread_cpu;
use checkpoint::TopicPartition;
use connectors::{ColumnKind, RawBatch, TableName, TargetColumn};
use operators::{
    Raw,
    dead_letters::{RejectOptions, Rejects},
    decode::{Decode, DecodeOptions, Format},
    events::{Changes, Watch},
    places::Place,
    query::{Evaluate, select},
    rows::Origin,
    schema::{SourceColumn, Target},
    sink::fit::Fit,
    values::Policy,
};

/// Records in a batch.
const RECORDS: usize = 8192;
/// Batches in a round.
const BATCHES: usize = 100;
/// Rounds, after one that warms up; each kind of batch has its turn in each.
const ROUNDS: usize = 5;

const QUERY: &str = "SELECT event_id, user_id, upper(country) AS country, price * quantity AS amount, 1000 / divisor AS share, \
    date_trunc('hour', ts) AS hour, url, nvl(referrer, 'none') AS referrer, device, _offset AS kafka_offset \
    FROM clicks WHERE quantity > 0";

fn columns() -> Vec<SourceColumn> {
    [
        ("event_id", ColumnKind::Varchar(36)),
        ("user_id", ColumnKind::BigInt),
        ("country", ColumnKind::Varchar(2)),
        ("price", ColumnKind::Decimal(12, 2)),
        ("quantity", ColumnKind::Integer),
        ("divisor", ColumnKind::Integer),
        ("ts", ColumnKind::TimestampTz),
        ("url", ColumnKind::Varchar(500)),
        ("referrer", ColumnKind::Varchar(500)),
        ("device", ColumnKind::Varchar(200)),
    ]
    .into_iter()
    .map(|(name, kind)| SourceColumn::new(name, kind))
    .collect()
}

/// Where a record is bad.
#[derive(Clone, Copy, PartialEq)]
enum Bad {
    Nowhere,
    Decode,
    Query,
    Fit,
}

fn record(n: usize, bad: Bad) -> String {
    let mixed = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let divisor = if bad == Bad::Query { 0 } else { 1 + mixed % 9 };
    // The target's column takes 100 bytes.
    let url = if bad == Bad::Fit {
        "x".repeat(120)
    } else {
        format!("/shop/item/{}?ref=home&x={}", mixed % 10_000, mixed % 97)
    };
    let whole = format!(
        r#"{{"event_id":"{mixed:016x}-{n:08}","user_id":{},"country":"{}","price":{}.{:02},"quantity":{},"divisor":{divisor},"ts":"2026-11-24T{:02}:{:02}:00.{:06}Z","url":"{url}","device":{{"os":"linux","v":[1,2]}},"session":"{mixed:x}","other":null}}"#,
        mixed % 1_000_000,
        ["ee", "de", "fr"][n % 3],
        mixed % 1000,
        mixed % 100,
        1 + mixed % 5,
        mixed % 24,
        mixed % 60,
        mixed % 1_000_000
    );
    if bad == Bad::Decode { whole[..whole.len() - 20].to_string() } else { whole }
}

fn batch(bad: impl Fn(usize) -> Bad) -> RawBatch {
    let mut raw = RawBatch::default();
    for n in 0..RECORDS {
        raw.partitions.push(0);
        raw.offsets.push(n as i64);
        raw.timestamps_ms.push(1_795_517_694_001);
        raw.keys.push(None).unwrap();
        raw.values.push(Some(record(n, bad(n)).as_bytes())).unwrap();
    }
    raw
}

struct Stages {
    decode: Decode,
    query: Evaluate,
    fit: Fit,
}

fn stages() -> Stages {
    let partition = TopicPartition::new("clicks", 0);
    let places: Arc<[Place]> =
        [Place { partition, topic_id: String::new(), stream: 0, start: 0, leader_epoch: None, until: None }].into();
    let rejects = Rejects::new(RejectOptions::default(), places.clone());
    let watch: Watch = Arc::new(|_| {});
    let selection = select::parse(QUERY, &[("clicks".into(), columns())]).unwrap_or_else(|refusal| panic!("{refusal}"));
    let column = |c: &select::SelectedColumn| TargetColumn {
        name: c.name.clone(),
        kind: if c.name == "url" { ColumnKind::Varchar(100) } else { c.kind.clone() },
        not_null: false,
        has_default: false,
        is_identity: false,
    };
    let target = Target {
        table: TableName { schema: "public".into(), table: "clicks".into() },
        stream: Some(0),
        columns: selection.columns.iter().map(column).collect(),
        policies: vec![Policy::default(); selection.columns.len()],
        ..Target::default()
    };
    let options = DecodeOptions { stream: "clicks".into(), format: Format::Json, columns: columns().into() };
    Stages {
        decode: Decode::new(options, rejects.clone(), watch.clone()),
        query: Evaluate { target: target.name(), selection: Arc::new(selection), places, rejects: rejects.clone() },
        fit: Fit { changes: Changes::new(target.name(), watch), target: Arc::new(target), rejects },
    }
}

impl Stages {
    /// Rows and dead letters that a batch gives.
    fn run(&mut self, raw: RawBatch) -> (usize, usize) {
        let raw = Raw::new(Origin::new(raw, &[0]));
        let decoded = self.decode.batch(0, raw);
        let selected = self.query.batch(0, decoded.rows);
        let fitted = self.fit.batch(0, selected.rows);
        let letters = [decoded.letters, selected.letters, fitted.letters];
        (fitted.rows.len(), letters.into_iter().flatten().map(|letters| letters.len()).sum())
    }
}

/// Half of the records are at or below it.
fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

fn main() {
    let one = RECORDS / 3;
    let kinds: [(&str, RawBatch, usize); 7] = [
        ("clean", batch(|_| Bad::Nowhere), 0),
        ("one does not decode", batch(|n| if n == one { Bad::Decode } else { Bad::Nowhere }), 1),
        ("the query fails on one", batch(|n| if n == one { Bad::Query } else { Bad::Nowhere }), 1),
        ("one does not fit", batch(|n| if n == one { Bad::Fit } else { Bad::Nowhere }), 1),
        ("none decodes", batch(|_| Bad::Decode), RECORDS),
        ("the query fails on all", batch(|_| Bad::Query), RECORDS),
        ("none fits", batch(|_| Bad::Fit), RECORDS),
    ];
    let mut stages = stages();
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); kinds.len()];
    for round in 0..=ROUNDS {
        for ((name, raw, bad), times) in kinds.iter().zip(&mut times) {
            let batches = vec![raw.clone(); BATCHES];
            let before = thread_cpu();
            for raw in batches {
                assert_eq!(stages.run(raw), (RECORDS - bad, *bad), "{name}");
            }
            if round > 0 {
                times.push((thread_cpu() - before).as_secs_f64() * 1e6 / BATCHES as f64);
            }
        }
    }
    times.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
    let clean = median(&times[0]);
    println!(
        "{:24} {:>10} {:>10} {:>10} {:>10} {:>8}",
        "batch of 8192", "min us", "median us", "max us", "ns/record", "ratio"
    );
    let (mut lines, mut dear) = (Vec::new(), false);
    for ((name, _, bad), times) in kinds.iter().zip(&times) {
        let (least, middle, most) = (times[0], median(times), times[times.len() - 1]);
        let (each, ratio) = (middle * 1e3 / RECORDS as f64, middle / clean);
        dear |= *bad == 1 && ratio >= 2.0;
        println!("{name:24} {least:10.0} {middle:10.0} {most:10.0} {each:10.0} {ratio:8.2}");
        lines.push(
            serde_json::json!({ "batch": name, "min_us": least, "median_us": middle, "max_us": most, "ratio": ratio }),
        );
    }
    let mut arguments = std::env::args().skip_while(|a| a != "--json").skip(1);
    if let Some(path) = arguments.next() {
        std::fs::write(&path, serde_json::to_vec_pretty(&lines).unwrap()).unwrap_or_else(|e| panic!("{path}: {e}"));
    }
    assert!(!dear, "one bad record in a batch makes it cost twice as much or more");
}
