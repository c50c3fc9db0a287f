//! `tidegate dead-letters`: what was set aside, by target, stage, column and reason, with one example of each; or each record.

use std::ops::ControlFlow;

use checkpoint::hex;
use connectors::inspect::{DeadLetter, Group, Which};
use serde::Serialize;

use super::{
    output::{counted, indented, json_line, print, print_escaped},
    since::moment_of,
};
use crate::{
    error::{CodedError, Result},
    job, ports, visible,
};

/// List the records that could not be loaded, by target, stage, column and reason, with one example of each; or each of them.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The job file.
    job: String,
    /// Each of them, the oldest epoch first, instead of an example of each kind.
    #[arg(long)]
    all: bool,
    /// Only those that were set aside since: 90m, 24h, 7d, 2026-11-24 or 2026-11-24T10:00:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only those whose reason contains this text.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Print JSON objects, one a line, with all of the record that is kept.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let which = which(arguments.since.as_deref(), arguments.reason.as_deref())?;
    let job = job::look(&arguments.job, &[job::System::Redshift])?;
    let mut inspect = ports::inspect(&job)?;
    if !arguments.all {
        let groups = inspect.dead_letters(&which).map_err(CodedError::of_tables)?;
        match arguments.json {
            true => print_escaped(&groups.iter().map(|group| json_line(&line(group))).collect::<Result<String>>()?),
            false => print(&text(&groups)),
        };
        return Ok(());
    }
    let (mut number, mut failed) = (0, None);
    let mut page = |letters: Vec<DeadLetter>| {
        number += letters.len() as u64;
        let wants_more = match arguments.json {
            true => letters
                .iter()
                .map(|letter| json_line(&each_line(letter)))
                .collect::<Result<String>>()
                .map(|lines| print_escaped(&lines)),
            false => Ok(print(&letters.iter().map(each_text).collect::<String>())),
        };
        match wants_more {
            Ok(true) => ControlFlow::Continue(()),
            Ok(false) => ControlFlow::Break(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    inspect.each_dead_letter(&which, &mut page).map_err(CodedError::of_tables)?;
    if !arguments.json {
        print(&sum(number));
    }
    failed.map_or(Ok(()), Err)
}

/// A group as `--json` gives it: one object a line. Names stay what they are.
#[derive(Serialize)]
struct Line<'a> {
    target: Option<&'a str>,
    stage: &'a str,
    column: Option<&'a str>,
    reason: &'a str,
    count: u64,
    example: ExampleLine<'a>,
}

#[derive(Serialize)]
struct ExampleLine<'a> {
    epoch: u64,
    closed_at: Option<String>,
    topic: &'a str,
    partition: i32,
    offset: i64,
    record_index: i32,
    timestamp: Option<String>,
    reason: &'a str,
    #[serde(flatten)]
    record: RecordLine,
}

/// One dead letter as `--all --json` gives it.
#[derive(Serialize)]
struct EachLine<'a> {
    target: Option<&'a str>,
    stage: &'a str,
    column: Option<&'a str>,
    #[serde(flatten)]
    example: ExampleLine<'a>,
}

/// The record itself.
#[derive(Serialize)]
struct RecordLine {
    /// Bytes that are not UTF-8 are replaced.
    record: Option<String>,
    /// Where some were, all of them.
    record_hex: Option<String>,
    record_cut: bool,
}

fn line(group: &Group) -> Line<'_> {
    let Group { reason, count, example } = group;
    let EachLine { target, stage, column, example } = each_line(example);
    Line { target, stage, column, reason, count: *count, example }
}

fn each_line(letter: &DeadLetter) -> EachLine<'_> {
    let bytes = letter.bytes.as_deref();
    let example = ExampleLine {
        epoch: letter.epoch.0,
        closed_at: letter.closed_at.map(|at| at.to_string()),
        topic: &letter.partition.topic,
        partition: letter.partition.partition,
        offset: letter.offset,
        record_index: letter.index,
        timestamp: letter.timestamp.map(|at| at.to_string()),
        reason: &letter.reason,
        record: RecordLine {
            record: bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
            record_hex: bytes.filter(|bytes| std::str::from_utf8(bytes).is_err()).map(hex),
            record_cut: letter.cut,
        },
    };
    let target = (!letter.target.is_empty()).then_some(&*letter.target);
    EachLine { target, stage: &letter.stage, column: letter.column.as_deref(), example }
}

/// How many bytes of an example a person is shown.
const EXAMPLE_BYTES: usize = 200;

/// The groups for a person.
fn text(groups: &[Group]) -> String {
    let mut out = String::new();
    for Group { reason, count, example } in groups {
        out += &format!("{count} {}: {}\n", failed_at(example), visible::line(reason));
        out += &indented(&stands(example, EXAMPLE_BYTES), 4);
    }
    let all: u64 = groups.iter().map(|g| g.count).sum();
    match groups.len() {
        0 => out + &sum(0),
        kinds => out + &format!("{} of {}\n", counted(all, "dead letter"), counted(kinds as u64, "kind")),
    }
}

/// One dead letter for a person, with all of its record that is kept.
fn each_text(letter: &DeadLetter) -> String {
    format!("{}\n", failed_at(letter)) + &indented(&stands(letter, usize::MAX), 4)
}

fn sum(number: u64) -> String {
    match number {
        0 => "no dead letters\n".into(),
        _ => counted(number, "dead letter") + "\n",
    }
}

/// Where on its way it failed.
fn failed_at(letter: &DeadLetter) -> String {
    let EachLine { target, stage, column, .. } = each_line(letter);
    let target = target.map_or(String::new(), |target| format!(" for {target}"));
    let column = column.map_or(String::new(), |column| format!(" column {column}"));
    visible::line(&format!("at {stage}{target}{column}")).into_owned()
}

/// Where it is, why it failed, and so many of its bytes.
fn stands(letter: &DeadLetter, most: usize) -> String {
    let closed_at = match letter.closed_at {
        Some(at) => format!("closed {at:.0}"),
        None => "which was folded into the base".into(),
    };
    let DeadLetter { partition, offset, epoch, reason, .. } = letter;
    let at = visible::line(&format!("{partition} at offset {offset}, epoch {epoch}, {closed_at}")).into_owned();
    let record = match &letter.bytes {
        None => "no value".into(),
        Some(bytes) if bytes.len() > most => {
            // Not in the middle of a character.
            let end = (most.saturating_sub(3)..=most).rev().find(|end| bytes[*end] & 0xc0 != 0x80).unwrap_or(most);
            let more = if letter.cut { ", of which no more are kept" } else { "" };
            format!("{}\n... {end} of {} bytes{more}; --json has all", visible::bytes(&bytes[..end]), bytes.len())
        }
        Some(bytes) if letter.cut => {
            format!("{}\n... the first {} bytes; no more are kept", visible::bytes(bytes), bytes.len())
        }
        Some(bytes) => visible::bytes(bytes),
    };
    format!("{at}\n{}\n{record}\n", visible::line(reason))
}

/// What `--since` and `--reason` ask for. `since` is a time that has passed (`90m`, `24h`, `7d`) or a moment.
fn which(since: Option<&str>, reason: Option<&str>) -> Result<Which> {
    Ok(Which { since: since.map(moment_of).transpose()?, reason: reason.map(String::from) })
}

#[cfg(test)]
mod tests {
    use checkpoint::{Epoch, Micros, TopicPartition};
    use serde_json::Value;

    use super::*;

    fn letter(bytes: &[u8]) -> DeadLetter {
        DeadLetter {
            target: String::new(),
            stage: "decode".into(),
            column: Some("qty".into()),
            epoch: Epoch(7),
            closed_at: Some(Micros(1_795_514_400_500_000)),
            partition: TopicPartition::new("clicks", 3),
            offset: 42,
            index: 0,
            timestamp: Some(Micros(1_795_514_400_123_000)),
            reason: "out of range for integer: 1e9".into(),
            bytes: Some(bytes.into()),
            cut: false,
        }
    }

    fn group(example: DeadLetter) -> Group {
        Group { reason: "out of range for integer".into(), count: 2, example }
    }

    #[test]
    fn a_record_is_shown_as_it_was_sent() {
        let shown = text(&[group(letter(br#"{"qty":1e9,"note":"a \"b\" \u00e9"}"#))]);
        assert_eq!(
            shown,
            "2 at decode column qty: out of range for integer\n    clicks[3] at offset 42, epoch 7, closed 2026-11-24T10:00:00Z\n    \
             out of range for integer: 1e9\n    {\"qty\":1e9,\"note\":\"a \\\"b\\\" \\u00e9\"}\n2 dead letters of 1 kind\n"
        );
        assert_eq!(text(&[]), "no dead letters\n");
        let two_lines = each_text(&letter(b"{\n\t\"qty\": 1e9\n}"));
        assert!(two_lines.ends_with("    {\n    \t\"qty\": 1e9\n    }\n"), "{two_lines}");
    }

    #[test]
    fn a_record_cannot_act_on_the_terminal() {
        let mut bad = letter(b"\x1b]0;x\x07\xff\x9b2J\r");
        bad.reason = "not JSON: \u{1b}[31m\n1 at decode: forged".into();
        bad.partition = TopicPartition::new("a\u{9b}", 3);
        let shown = text(&[Group { reason: "x\u{1b}".into(), count: 1, example: bad }]);
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
        assert!(shown.contains("    <U+001B>]0;x<U+0007><0xFF><0x9B>2J<U+000D>\n"), "{shown}");
        assert_eq!(shown.lines().count(), 5, "{shown}");
    }

    #[test]
    fn a_long_record_is_cut_for_people_alone() {
        let long = "\u{fc}".repeat(150);
        let shown = text(&[group(letter(long.as_bytes()))]);
        assert!(shown.contains("\u{fc}\n    ... 200 of 300 bytes; --json has all\n"), "{shown}");
        assert!(each_text(&letter(long.as_bytes())).contains(&format!("    {long}\n")));
        let json: Value = serde_json::to_value(line(&group(letter(long.as_bytes())))).unwrap();
        assert_eq!((&json["example"]["record"], &json["example"]["record_cut"]), (&long.into(), &false.into()));
        let kept = DeadLetter { cut: true, ..letter(b"abc") };
        assert!(each_text(&kept).ends_with("    abc\n    ... the first 3 bytes; no more are kept\n"));
    }

    #[test]
    fn json_has_all() {
        let json: Value = serde_json::to_value(each_line(&letter(b"a\xff"))).unwrap();
        let expected = serde_json::json!({
            "target": null, "stage": "decode", "column": "qty", "epoch": 7, "closed_at": "2026-11-24T10:00:00.500000Z", "topic": "clicks",
            "partition": 3, "offset": 42, "record_index": 0, "timestamp": "2026-11-24T10:00:00.123000Z",
            "reason": "out of range for integer: 1e9", "record": "a\u{fffd}", "record_hex": "61ff", "record_cut": false,
        });
        assert_eq!(json, expected);
        let json: Value = serde_json::to_value(line(&group(letter(b"a")))).unwrap();
        assert_eq!((&json["example"]["record"], &json["example"]["record_hex"]), (&"a".into(), &Value::Null));
        let none = DeadLetter { bytes: None, closed_at: None, timestamp: None, ..letter(b"") };
        let json: Value = serde_json::to_value(each_line(&none)).unwrap();
        assert_eq!(
            (&json["record"], &json["closed_at"], &json["timestamp"]),
            (&Value::Null, &Value::Null, &Value::Null)
        );
        assert!(
            each_text(&none).contains("which was folded into the base") && each_text(&none).ends_with("no value\n")
        );
    }
}
