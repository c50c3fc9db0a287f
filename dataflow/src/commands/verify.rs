//! `tidegate verify`: whether what the control tables say is true.

use connectors::inspect::{Filled, Found, OriginColumns, Scope, Topic, Verification};
use operators::query::{Input, SourceValue, select::Value};
use serde::Serialize;

use super::{output::print, since::moment_of};
use crate::{
    error::{Code, CodedError, Result},
    job::{self, Job, TargetOptions},
    ports,
};

/// Compare the control tables and the targets with each other: cuts, digests, counts, rows. Exit code 4 on a finding.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The job file.
    job: String,
    /// A target that others write to as well: findings that their rows explain become warnings.
    #[arg(long, value_name = "SCHEMA.TABLE")]
    edited: Vec<String>,
    /// Only so many of the newest epochs, and those before them back to a whole cut.
    #[arg(long, value_name = "N", conflicts_with_all = ["since", "new"])]
    last: Option<u64>,
    /// Only epochs that were closed since: a time that has passed (90m, 24h, 7d) or a moment.
    #[arg(long, value_name = "TIME", conflicts_with = "new")]
    since: Option<String>,
    /// Only epochs that were not verified yet.
    #[arg(long)]
    new: bool,
    /// Print the SQL statements instead of running them.
    #[arg(long, conflicts_with = "json")]
    sql: bool,
    /// Print each finding as a JSON object, one a line.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let job = job::load(&arguments.job)?;
    if arguments.sql {
        print(&sql(&job)?);
        return Ok(());
    }
    let scope = match (arguments.last, &arguments.since) {
        (Some(number), _) => Scope::Last(number),
        (None, Some(since)) => Scope::Since(moment_of(since)?),
        (None, None) if arguments.new => Scope::New,
        (None, None) => Scope::All,
    };
    let verified = verify(&job, &arguments.edited, scope)?;
    print(if arguments.json { &verified.json } else { &verified.text });
    match verified.good {
        true => Ok(()),
        false => Err(CodedError::new(Code::Findings, "")),
    }
}

/// What a verification says.
struct Verified {
    /// The text for a person.
    text: String,
    /// One object a line.
    json: String,
    /// Whether anything is wrong.
    good: bool,
}

#[derive(Serialize)]
struct FindingLine<'a> {
    severity: &'static str,
    what: &'a str,
    target: Option<&'a str>,
    rows: &'a [String],
}

/// Checks the control tables and targets of a job. Findings about targets that are named in `edited` are warnings: others
/// write to them.
fn verify(job: &Job, edited: &[String], scope: Scope) -> Result<Verified> {
    for table in edited {
        if !job.targets.iter().any(|target| target.table.to_string() == *table) {
            let targets: Vec<String> = job.targets.iter().map(|target| target.table.to_string()).collect();
            let what = format!("--edited {table}: the job has no such target; it has {}", targets.join(", "));
            return Err(CodedError::new(Code::Usage, what));
        }
    }
    let targets: Vec<Filled> = job.targets.iter().map(|target| filled(job, target)).collect();
    let verified = ports::inspect(job)?.verify(&targets, scope).map_err(CodedError::of_tables)?;
    let Verification { epochs, found, unproved, first } = verified;
    let warning = |found: &Found| found.edits_disturb && found.target.as_ref().is_some_and(|t| edited.contains(t));
    let (mut text, mut json) = (String::new(), String::new());
    for finding in &found {
        let severity = if warning(finding) { "warning" } else { "finding" };
        text += &format!("{severity}: {}\n", finding.what);
        finding.rows.iter().for_each(|row| text += &format!("    {row}\n"));
        let line =
            FindingLine { severity, what: &finding.what, target: finding.target.as_deref(), rows: &finding.rows };
        json += &(serde_json::to_string(&line).map_err(|e| CodedError::new(Code::Bug, e.to_string()))? + "\n");
    }
    let findings = found.iter().filter(|found| !warning(found)).count();
    unproved.iter().for_each(|what| text += &format!("not proved: {what}\n"));
    let unplaced = targets.iter().filter(|target| target.origin.is_none());
    for target in unplaced {
        text += &format!(
            "not checked: which records are in {}: its query selects no _partition and _offset\n",
            target.table
        );
    }
    let from = if first == 0 { String::new() } else { format!(" from epoch {first} on") };
    text += &match findings {
        0 => format!("{epochs} epochs verified{from}, no problems\n"),
        1 => format!("{epochs} epochs verified{from}, 1 finding\n"),
        findings => format!("{epochs} epochs verified{from}, {findings} findings\n"),
    };
    Ok(Verified { text, json, good: findings == 0 })
}

/// The statements of the checks, as a person would run them.
fn sql(job: &Job) -> Result<String> {
    let targets: Vec<Filled> = job.targets.iter().map(|target| filled(job, target)).collect();
    let checks = ports::inspect(job)?.verify_sql(&targets).map_err(CodedError::of_tables)?;
    Ok(checks.iter().map(|check| format!("-- no row, or: {}\n{};\n\n", check.what, check.sql)).collect())
}

/// The target, and what its query says of where its rows came from.
fn filled(job: &Job, target: &TargetOptions) -> Filled {
    let selection = &target.selection;
    let column = |value: SourceValue| {
        let is = |v: &Value| matches!(v, Value::Input(place) if selection.inputs[*place] == Input::Source(value));
        selection.columns.iter().find(|column| is(&column.value)).map(|column| column.name.clone())
    };
    let topics = job.streams.iter().find(|s| s.name == selection.stream).map(|s| s.topics.as_slice());
    let topic = match (column(SourceValue::Topic), topics) {
        (Some(column), _) => Some(Topic::Column(column)),
        (None, Some([only])) => Some(Topic::Only(only.clone())),
        _ => None,
    };
    let origin = match (topic, column(SourceValue::Partition), column(SourceValue::Offset)) {
        (Some(topic), Some(partition), Some(offset)) => Some(OriginColumns { topic, partition, offset }),
        _ => None,
    };
    Filled { table: target.table.clone(), origin, from: target.verify_from }
}
