//! `tidegate dead-letters`: what was set aside, by target, stage, column and reason, with one example of each.

use connectors::inspect::{Group, Which};
use serde::Serialize;

use super::{output::print, since::moment_of};
use crate::{
    error::{Code, CodedError, Result},
    job, ports,
};

/// List the records that could not be loaded, by target, stage, column and reason, with one example of each.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The job file.
    job: String,
    /// Only those that were set aside since: 90m, 24h, 7d, 2026-11-24 or 2026-11-24T10:00:00Z.
    #[arg(long)]
    since: Option<String>,
    /// Only those whose reason contains this text.
    #[arg(long)]
    reason: Option<String>,
    /// Print JSON objects, one a line.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let which = which(arguments.since.as_deref(), arguments.reason.as_deref())?;
    let job = job::load(&arguments.job)?;
    let groups = ports::inspect(&job)?.dead_letters(&which).map_err(CodedError::of_tables)?;
    let shown = if arguments.json { json(&groups)? } else { text(&groups) };
    print(&shown);
    Ok(())
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
    closed_at: Option<&'a str>,
    topic: &'a str,
    partition: i32,
    offset: i64,
    reason: &'a str,
    /// Bytes that are not UTF-8 are replaced.
    record: String,
    record_cut: bool,
}

fn line(group: &Group) -> Line<'_> {
    let example = &group.example;
    Line {
        target: (!group.target.is_empty()).then_some(&*group.target),
        stage: &group.stage,
        column: group.column.as_deref(),
        reason: &group.reason,
        count: group.count,
        example: ExampleLine {
            epoch: example.epoch.0,
            closed_at: example.closed_at.as_deref(),
            topic: &example.partition.topic,
            partition: example.partition.partition,
            offset: example.offset,
            reason: &example.reason,
            record: String::from_utf8_lossy(&example.bytes).into_owned(),
            record_cut: example.cut,
        },
    }
}

/// The groups as JSON, one object a line.
fn json(groups: &[Group]) -> Result<String> {
    let lines = groups.iter().map(|group| serde_json::to_string(&line(group)).map(|line| line + "\n"));
    lines.collect::<Result<_, _>>().map_err(|e| CodedError::new(Code::Bug, e.to_string()))
}

/// The groups for a person.
fn text(groups: &[Group]) -> String {
    let mut out = String::new();
    for group in groups {
        let Line { target, stage, column, reason, count, example } = line(group);
        let column = column.map_or(String::new(), |column| format!(" column {column}"));
        let target = target.map_or(String::new(), |target| format!(" for {target}"));
        out += &format!("{count} at {stage}{target}{column}: {reason}\n");
        let closed_at = example.closed_at.unwrap_or("which was folded into the base");
        out += &format!(
            "    {}[{}] at offset {}, epoch {}, {closed_at}\n",
            example.topic, example.partition, example.offset, example.epoch
        );
        out += &format!("    {}\n", example.reason);
        let more = if example.record_cut { " ..." } else { "" };
        out += &format!("    {:?}{more}\n", example.record);
    }
    let all: u64 = groups.iter().map(|g| g.count).sum();
    out + &match groups.len() {
        0 => "no dead letters\n".to_string(),
        kinds => format!("{all} dead letter{} of {kinds} kind{}\n", plural(all), plural(kinds as u64)),
    }
}

fn plural(number: u64) -> &'static str {
    if number == 1 { "" } else { "s" }
}

/// What `--since` and `--reason` ask for. `since` is a time that has passed (`90m`, `24h`, `7d`) or a moment.
fn which(since: Option<&str>, reason: Option<&str>) -> Result<Which> {
    Ok(Which { since: since.map(moment_of).transpose()?, reason: reason.map(String::from) })
}

#[cfg(test)]
mod tests {
    use checkpoint::{Epoch, TopicPartition};
    use connectors::inspect::Example;

    use super::*;

    #[test]
    fn shown() {
        let example = Example {
            epoch: Epoch(7),
            closed_at: Some("2026-11-24 10:00:00+00".into()),
            partition: TopicPartition::new("clicks", 3),
            offset: 42,
            reason: "out of range for integer: 1e9".into(),
            bytes: b"{\"qty\":1e9".into(),
            cut: true,
        };
        let group = Group {
            target: String::new(),
            stage: "decode".into(),
            column: Some("qty".into()),
            reason: "out of range for integer".into(),
            count: 2,
            example,
        };
        let shown = text(std::slice::from_ref(&group));
        assert_eq!(
            shown,
            "2 at decode column qty: out of range for integer\n    clicks[3] at offset 42, epoch 7, 2026-11-24 10:00:00+00\n    \
             out of range for integer: 1e9\n    \"{\\\"qty\\\":1e9\" ...\n2 dead letters of 1 kind\n"
        );
        let json: serde_json::Value = serde_json::from_str(&json(&[group]).unwrap()).unwrap();
        assert_eq!((&json["target"], &json["example"]["offset"]), (&serde_json::Value::Null, &42.into()));
        assert_eq!(text(&[]), "no dead letters\n");
    }
}
