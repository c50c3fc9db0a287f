//! `tidegate status`, `epochs` and `verify`: what the control tables say, and whether it is true.

use checkpoint::{
    History, Micros, TopicPartition,
    protocol::{self, Halt},
};
use connectors::{
    HaltNote, Log, OpenSession, Warehouse,
    redshift::{
        epochs::EpochSummary,
        verify::{Filled, Found, OriginColumns, Scope, Topic, Verification},
    },
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
pub fn verify(job: &Job, edited: &[String], scope: Scope) -> Result<Verified> {
    for table in edited {
        if !job.targets.iter().any(|target| target.table.to_string() == *table) {
            return Err(Error::new(Code::Usage, format!("--edited {table}: the job has no such target")));
        }
    }
    let targets: Vec<Filled> = job.targets.iter().map(|target| filled(job, target)).collect();
    let redshift = run::redshift(job)?;
    let Verification { epochs, found, unproved, first } = redshift.verify(&targets, scope).map_err(Error::of_tables)?;
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
        0 => format!("{epochs} epochs{from}, all is as it was promised\n"),
        1 => format!("{epochs} epochs{from}, 1 finding\n"),
        findings => format!("{epochs} epochs{from}, {findings} findings\n"),
    };
    Ok(Verified { text, json, good: findings == 0 })
}

/// The statements of the checks, as a person would run them.
pub fn sql(job: &Job) -> Result<String> {
    let targets: Vec<Filled> = job.targets.iter().map(|target| filled(job, target)).collect();
    let checks = run::redshift(job)?.verify_sql(&targets).map_err(Error::of_tables)?;
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
    Filled { table: target.table.clone(), origin, from: target.verify_from }
}

#[derive(Serialize)]
struct EpochLine<'a> {
    epoch: u64,
    kind: &'a str,
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
            let EpochSummary { epoch, kind, generation, closed_at, loaded_at, offsets, rows, filtered, dead_letters } =
                epoch;
            let line = EpochLine {
                epoch: *epoch,
                kind,
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
    let heads =
        ["epoch", "kind", "generation", "closed at", "loaded at", "offsets", "rows", "filtered", "dead letters"];
    let mut table = vec![heads.map(String::from)];
    table.extend(epochs.into_iter().map(|e| {
        let numbers = [e.offsets, e.rows, e.filtered, e.dead_letters].map(|n| n.to_string());
        let [offsets, rows, filtered, letters] = numbers;
        [
            e.epoch.to_string(),
            e.kind,
            e.generation.to_string(),
            e.closed_at,
            e.loaded_at,
            offsets,
            rows,
            filtered,
            letters,
        ]
    }));
    let widths: Vec<usize> =
        (0..heads.len()).map(|i| table.iter().map(|row| row[i].len()).max().unwrap_or(0)).collect();
    let line = |row: &[String; 9]| {
        let cells = row.iter().zip(&widths).enumerate().map(|(i, (cell, width))| match i {
            // Words and times begin at the left, numbers end at the right.
            1 | 3 | 4 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string() + "\n"
    };
    Ok(table.iter().map(line).collect())
}

#[derive(Serialize)]
struct StatusLine<'a> {
    job: &'a str,
    generation: u64,
    /// Never guessed: only a process itself can say that it lives.
    process: &'static str,
    sessions: Option<usize>,
    halt: Option<HaltLine<'a>>,
    last_epoch: Option<u64>,
    complete_up_to: Option<&'a str>,
    loaded_at: Option<&'a str>,
    dead_letters: u64,
    lag_offsets: Option<u64>,
    topics: Vec<TopicLine>,
}

/// Why the job stands still.
#[derive(Serialize)]
struct HaltLine<'a> {
    code: &'a str,
    since: String,
    host: &'a str,
    process: u32,
    reason: &'a str,
}

#[derive(Serialize)]
struct TopicLine {
    topic: String,
    partitions: usize,
    /// Offsets between the cut and the end of the topic; `None` if Kafka did not say.
    lag_offsets: Option<u64>,
    problem: Option<String>,
}

/// Where a job stands, by its control tables and the ends of its topics; for a person, or as one object.
pub fn status(job: &Job, json: bool) -> Result<String> {
    let mut redshift = run::redshift(job)?;
    let standing = redshift.standing().map_err(Error::of_tables)?;
    // What is wrong with the tables is shown, and so is the halt that it led to.
    let admitted = protocol::admit(&redshift.read().map_err(Error::of_tables)?);
    let newest = redshift.epochs(1)?.pop();
    let log = run::kafka(job, 1)?;
    let topics: Vec<TopicLine> =
        job.streams.iter().flat_map(|s| &s.topics).map(|topic| topic_line(&log, topic, &admitted)).collect();
    // One of an older generation is history; and beside an open session somebody works.
    let is_current = |note: &&HaltNote| {
        // A stopped process of an older generation works no more.
        let works = |session: &OpenSession| session.generation.is_some_and(|generation| generation >= note.generation);
        note.generation.0 == standing.generation && !standing.sessions.iter().flatten().any(works)
    };
    let halt = standing.halt.as_ref().filter(is_current);
    let lags: Option<Vec<u64>> = topics.iter().map(|topic| topic.lag_offsets).collect();
    let line = StatusLine {
        job: &job.name,
        generation: standing.generation,
        process: "unknown",
        sessions: standing.sessions.as_ref().map(Vec::len),
        halt: halt.map(|note| HaltLine {
            code: &note.code,
            since: seconds(note.since),
            host: &note.process.host,
            process: note.process.id,
            reason: &note.reason,
        }),
        last_epoch: newest.as_ref().map(|e| e.epoch),
        complete_up_to: newest.as_ref().map(|e| e.closed_at.as_str()),
        loaded_at: newest.as_ref().map(|e| e.loaded_at.as_str()),
        dead_letters: standing.dead_letters,
        lag_offsets: lags.map(|lags| lags.iter().sum()),
        topics,
    };
    if json {
        let text = serde_json::to_string(&line).map_err(|e| Error::new(Code::Bug, e.to_string()))?;
        return Ok(text + "\n");
    }
    let mut text =
        format!("job {}: generation {}, fence moved at {} UTC\n", line.job, line.generation, standing.changed_at);
    text += &match (line.last_epoch, line.complete_up_to, line.loaded_at) {
        (Some(epoch), Some(closed), Some(loaded)) => {
            format!("last epoch {epoch}: complete up to {closed}, loaded at {loaded} UTC\n")
        }
        _ => "nothing was loaded yet\n".to_string(),
    };
    if let Some(HaltLine { since, host, process, reason, .. }) = &line.halt {
        text += &format!(
            "halted since {since} UTC, process {process} on {host}:\n  {}\n",
            reason.trim_end().replace('\n', "\n  ")
        );
    }
    text += &match line.sessions {
        None => "Redshift does not show sessions here; whether a process lives only that process can say\n".to_string(),
        Some(0) => {
            "no session of the job is open in Redshift; whether a process lives only that process can say\n".to_string()
        }
        Some(n) => {
            format!("{n} open in Redshift; whether a process lives only that process can say\n", n = sessions(n))
        }
    };
    text += &format!("dead letters: {}\n", line.dead_letters);
    for TopicLine { topic, partitions, lag_offsets, problem } in &line.topics {
        text += &match (lag_offsets, problem) {
            (Some(lag), _) => format!("topic {topic}: {partitions} partitions, {lag} offsets not loaded\n"),
            (None, Some(problem)) => format!("topic {topic}: {problem}\n"),
            (None, None) => format!("topic {topic}: unknown\n"),
        };
    }
    Ok(text)
}

/// To the second.
fn seconds(at: Micros) -> String {
    at.to_text().split('.').next().unwrap_or_default().into()
}

fn sessions(number: usize) -> String {
    if number == 1 { "1 session of the job is".into() } else { format!("{number} sessions of the job are") }
}

fn topic_line(log: &dyn Log, topic: &str, admitted: &Result<History, Halt>) -> TopicLine {
    let none =
        |problem: String| TopicLine { topic: topic.into(), partitions: 0, lag_offsets: None, problem: Some(problem) };
    let partitions = match log.partitions(topic) {
        Ok(Some(partitions)) => partitions,
        Ok(None) => return none("there is no such topic".into()),
        Err(error) => return none(format!("unknown: {error}")),
    };
    let cut = match admitted {
        Ok(history) => &history.cut,
        Err(halt) => return none(Error::from(halt.clone()).causes().join(": ")),
    };
    let lag = partitions.iter().map(|(number, facts)| {
        let at = cut.get(&TopicPartition::new(topic, *number)).map_or(facts.low, |position| position.end);
        (facts.high - at).max(0) as u64
    });
    TopicLine { topic: topic.into(), partitions: partitions.len(), lag_offsets: Some(lag.sum()), problem: None }
}
