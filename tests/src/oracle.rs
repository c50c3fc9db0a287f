//! What must be in the table: the topic as Kafka's own Java console consumer sees it, and the ledger of the producers.
//!
//! Neither shares a line with the program: another language, another client, another JSON parser.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
};

use futures::TryStreamExt;
use serde_json::Value;

use crate::{
    events::Ledger,
    world::{STACK, World, wait},
};

/// Rows by (partition, offset), each as the text that PostgreSQL's COPY gives for it.
pub type Expected = BTreeMap<(i32, i64), String>;

/// Dumps a topic, committed records only, and holds it against the ledger of what was acknowledged.
pub fn expected(topic: &str, ledger: &Ledger) -> Expected {
    let jars = STACK.kafka.broker().expect("a real Kafka").jars();
    let mut command = Command::new("java");
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]).arg(format!("{}/*", jars.display()));
    command.args([
        "org.apache.kafka.tools.consumer.ConsoleConsumer",
        "--bootstrap-server",
        &STACK.kafka.brokers(),
        "--topic",
        topic,
    ]);
    command.args(["--from-beginning", "--isolation-level", "read_committed", "--timeout-ms", "5000"]);
    // It counts what it delivers, so with the right number it need not wait for the timeout.
    command.args(["--max-messages", &ledger.len().to_string()]);
    for property in ["print.partition=true", "print.offset=true"] {
        command.args(["--property", property]);
    }
    let output = command.stderr(Stdio::piped()).output().expect("java runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let mut rows = Expected::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, '\t');
        let mut number = |prefix: &str| -> i64 {
            let field = fields.next().and_then(|f| f.strip_prefix(prefix)).unwrap_or_else(|| panic!("{line}"));
            field.parse().expect("a number")
        };
        let (partition, offset) = (number("Partition:") as i32, number("Offset:"));
        let value: Value = serde_json::from_str(fields.next().expect("a value")).expect("JSON");
        let row = row(partition, offset, &value);
        assert_eq!(rows.insert((partition, offset), row), None, "the console consumer gave {partition}/{offset} twice");
        let id = value["id"].as_u64();
        assert_eq!(
            ledger.get(&(partition, offset)).copied(),
            id,
            "the ledger and the console consumer differ at {partition}/{offset}"
        );
    }
    assert_eq!(
        rows.len(),
        ledger.len(),
        "the ledger and the console consumer differ: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    rows
}

/// A row as COPY TO writes it: tabs between, `\N` for NULL, tab and backslash escaped.
fn row(partition: i32, offset: i64, value: &Value) -> String {
    let plain = |value: &Value| if value.is_null() { "\\N".to_string() } else { value.to_string() };
    let flag = if value["flag"].as_bool().expect("a flag") { "t" } else { "f" };
    let note = match &value["note"] {
        Value::String(note) => note.replace('\\', "\\\\").replace('\t', "\\t"),
        _ => "\\N".into(),
    };
    let amount = value["amount"].as_f64().expect("an amount");
    format!(
        "{}\t{}\t{}\t{amount}\t{flag}\t{note}\t{}\t{partition}\t{offset}",
        plain(&value["id"]),
        plain(&value["small"]),
        plain(&value["qty"]),
        micros(value["at"].as_str().expect("a moment"))
    )
}

/// Microseconds of `2026-MM-DDThh:mm:ss.ffffff+0H:30`, the only form the events have.
fn micros(at: &str) -> i64 {
    let number = |range: std::ops::Range<usize>| at[range].parse::<i64>().expect("a number");
    const DAYS: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let days = 20_454 + DAYS[number(5..7) as usize - 1] + number(8..10) - 1; // 2026-01-01 is day 20,454
    let minutes = (days * 24 + number(11..13)) * 60 + number(14..16) - (number(27..29) * 60 + number(30..32));
    (minutes * 60 + number(17..19)) * 1_000_000 + number(20..26)
}

/// Holds a table against what must be in it, by (partition, offset) and by value.
pub fn compare(table: &str, expected: &Expected) {
    let select = format!(
        "COPY (SELECT id, small, qty, amount, flag, note, (extract(epoch FROM at) * 1000000)::bigint, kafka_partition, kafka_offset \
         FROM {table} ORDER BY kafka_partition, kafka_offset) TO STDOUT"
    );
    let mut rest = expected.iter();
    let mut problems = Vec::new();
    wait(async {
        let (client, connection) =
            STACK.redshift.direct().connect(tokio_postgres::NoTls).await.expect("PostgreSQL answers");
        tokio::spawn(connection);
        let stream = client.copy_out(&select).await.expect("a copy");
        futures::pin_mut!(stream);
        while let Some(bytes) = stream.try_next().await.expect("a row") {
            let line = String::from_utf8(bytes.to_vec()).expect("UTF-8");
            let line = line.trim_end_matches('\n');
            match rest.next() {
                Some((_, row)) if row == line => {}
                other => {
                    problems.push(format!("in the table: {line}\n  expected: {other:?}"));
                    break;
                }
            }
        }
    });
    if problems.is_empty()
        && let Some(missing) = rest.next()
    {
        problems.push(format!("missing: {missing:?} and {} more", rest.count()));
    }
    assert!(problems.is_empty(), "{table}: {}", problems.join("\n"));
}

impl World {
    /// Everything that must be true once a job has caught up: the table, by value, and the control tables, by SQL.
    pub fn check(&self, ledger: &Ledger) {
        compare(&self.name, &expected(&self.name, ledger));
        crate::checkers::control_tables(self);
    }
}
