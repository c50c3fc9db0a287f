//! `tidegate verify` and `tidegate epochs`: what the control tables say, and whether it is true.

use connectors::redshift::{
    epochs::EpochSummary,
    verify::{Filled, Found, OriginColumns, Topic},
};
use operators::query::{Input, SourceValue, select::Value};
use serde::Serialize;

use crate::{
    error::{Code, Error, Result},
    job::{Job, Target},
    run,
};

/// What a verification says.
pub struct Verified {
    /// For a person.
    pub text: String,
    /// One object a line.
    pub json: String,
    /// Whether anything is wrong.
    pub good: bool,
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
pub fn verify(job: &Job, edited: &[String]) -> Result<Verified> {
    for table in edited {
        if !job.targets.iter().any(|target| target.table.to_string() == *table) {
            return Err(Error::new(Code::Usage, format!("--edited {table}: the job has no such target")));
        }
    }
    let targets: Vec<Filled> = job.targets.iter().map(|target| filled(job, target)).collect();
    let (epochs, found) = run::redshift(job)?.verify(&targets)?;
    let warning = |found: &Found| found.edits_disturb && found.target.as_ref().is_some_and(|t| edited.contains(t));
    let (mut text, mut json) = (String::new(), String::new());
    for finding in &found {
        let severity = if warning(finding) { "warning" } else { "finding" };
        text += &format!("{severity}: {}\n", finding.what);
        finding.rows.iter().for_each(|row| text += &format!("    {row}\n"));
        let line =
            FindingLine { severity, what: &finding.what, target: finding.target.as_deref(), rows: &finding.rows };
        json += &(serde_json::to_string(&line).map_err(|e| Error::new(Code::Bug, e.to_string()))? + "\n");
    }
    let findings = found.iter().filter(|found| !warning(found)).count();
    let unplaced = targets.iter().filter(|target| target.origin.is_none());
    for target in unplaced {
        text += &format!(
            "not checked: which records are in {}: its query selects no _partition and _offset\n",
            target.table
        );
    }
    text += &match findings {
        0 => format!("{epochs} epochs, all is as it was promised\n"),
        1 => format!("{epochs} epochs, 1 finding\n"),
        findings => format!("{epochs} epochs, {findings} findings\n"),
    };
    Ok(Verified { text, json, good: findings == 0 })
}

/// The statements of the checks, as a person would run them.
pub fn sql(job: &Job) -> Result<String> {
    let targets: Vec<Filled> = job.targets.iter().map(|target| filled(job, target)).collect();
    let checks = run::redshift(job)?.verify_sql(&targets);
    Ok(checks.iter().map(|check| format!("-- no row, or: {}\n{};\n\n", check.what, check.sql)).collect())
}

/// The target, and what its query says of where its rows came from.
fn filled(job: &Job, target: &Target) -> Filled {
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
    Filled { table: target.table.clone(), origin }
}

#[derive(Serialize)]
struct EpochLine<'a> {
    epoch: u64,
    generation: u64,
    closed_at: &'a str,
    loaded_at: &'a str,
    offsets: u64,
    rows: u64,
    filtered: u64,
    dead_letters: u64,
}

/// The newest epochs of a job, the newest first; a table, or one object a line.
pub fn epochs(job: &Job, most: u64, json: bool) -> Result<String> {
    let epochs = run::redshift(job)?.epochs(most)?;
    if json {
        let lines = epochs.iter().map(|epoch| {
            let EpochSummary { epoch, generation, closed_at, loaded_at, offsets, rows, filtered, dead_letters } = epoch;
            let line = EpochLine {
                epoch: *epoch,
                generation: *generation,
                closed_at,
                loaded_at,
                offsets: *offsets,
                rows: *rows,
                filtered: *filtered,
                dead_letters: *dead_letters,
            };
            serde_json::to_string(&line).map(|line| line + "\n")
        });
        return lines.collect::<Result<_, _>>().map_err(|e| Error::new(Code::Bug, e.to_string()));
    }
    let heads = ["epoch", "generation", "closed at", "loaded at", "offsets", "rows", "filtered", "dead letters"];
    let mut table = vec![heads.map(String::from)];
    table.extend(epochs.into_iter().map(|e| {
        let numbers = [e.offsets, e.rows, e.filtered, e.dead_letters].map(|n| n.to_string());
        let [offsets, rows, filtered, letters] = numbers;
        [e.epoch.to_string(), e.generation.to_string(), e.closed_at, e.loaded_at, offsets, rows, filtered, letters]
    }));
    let widths: Vec<usize> =
        (0..heads.len()).map(|i| table.iter().map(|row| row[i].len()).max().unwrap_or(0)).collect();
    let line = |row: &[String; 8]| {
        let cells = row.iter().zip(&widths).enumerate().map(|(i, (cell, width))| match i {
            // Times begin at the left, numbers end at the right.
            2 | 3 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string() + "\n"
    };
    Ok(table.iter().map(line).collect())
}
