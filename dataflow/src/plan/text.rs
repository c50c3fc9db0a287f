//! What a job means, as text that a person can read, and its hashes. The format is `tidegate plan 3`:
//!
//! * Everything that decides which rows come out is in it, and nothing else: names, topics, columns with types, paths and
//!   policies, queries, and of the targets' tables the columns that are filled. Not addresses, intervals, sizes, worker counts,
//!   nor where a topic begins that was never read (the manifest records where it did).
//! * Each stream and each target is a *part*: a JSON object on lines of their own, keys in a fixed order, one line for each
//!   column, what is not set left out. Topics are sorted, columns stand as they are declared.
//! * The hash of a part is the SHA-256 of its text. A target's part names its stream and does not contain it.
//! * The hash of the plan is the SHA-256 of a line `tidegate plan 3` and one line for each part, its name as a JSON string, a
//!   blank and its hash; streams first, each kind sorted by name.
//! * The text is one JSON document: format, hash, and of each part name, hash and, under `means`, its text as it was hashed.
//!
//! `<job>_plans` keeps the text for as long as the job does, and the manifest says by hash which epoch had which. So none of this
//! may change without a new number in the format's name; what a new feature adds is left out where it is not used.

use std::fmt::Write;

use checkpoint::hex;
use operators::{
    dead_letters::RejectOptions,
    query::select::SelectedColumn,
    schema::{SourceColumn, Target},
    values::{
        Action, Policy,
        path::Segment,
        reading::{Epoch, Layout, Reading},
        zone,
    },
};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    error::{Code, CodedError, Result},
    job::{self, Job},
};

const FORMAT: &str = "tidegate plan 3";

/// A stream or a target.
struct Part {
    name: String,
    text: String,
    hash: String,
}

/// Hash and text of a plan. `targets` are the job's, in its order, as their tables are.
pub(super) fn hash_and_text(job: &Job, targets: &[impl AsRef<Target>]) -> Result<(String, String)> {
    let fitted = job.targets.iter().zip(targets).map(|(target, fitted)| target_part(target, Some(fitted.as_ref())));
    let parts = parts(job, fitted.collect::<Result<_>>()?)?;
    let hash = hash_of(&listed(FORMAT, &parts)?);
    let parts = parts.iter().map(|part| {
        let (name, Part { text, hash, .. }) = (json(&part.name)?, part);
        Ok(format!("{{\"part\":{name},\"sha256\":\"{hash}\",\"means\":\n{text}}}"))
    });
    let parts = parts.collect::<Result<Vec<_>>>()?.join(",\n");
    let text = format!("{{\"format\":\"{FORMAT}\",\"hash\":\"{hash}\",\"parts\":[\n{parts}\n]}}\n");
    Ok((hash, text))
}

/// Hash of what the job file means by itself, of where its files go and of what it does about records that cannot be loaded: what
/// all processes of a cluster must agree on before one of them has read a table.
pub fn meaning(job: &Job) -> Result<String> {
    let targets = job.targets.iter().map(|target| target_part(target, None)).collect::<Result<_>>()?;
    let mut text = listed("tidegate meaning 1", &parts(job, targets)?)?;
    let job::StagingOptions { bucket, prefix, endpoint, .. } = &job.staging;
    let RejectOptions { halt, halt_above } = job.errors;
    text +=
        &json(&Around { bucket, prefix, endpoint, dead_letters: job.dead_letters().to_string(), halt, halt_above })?;
    Ok(hash_of(&text))
}

fn parts(job: &Job, mut targets: Vec<Part>) -> Result<Vec<Part>> {
    let mut parts = job.streams.iter().map(stream_part).collect::<Result<Vec<_>>>()?;
    parts.sort_by(|a, b| a.name.cmp(&b.name));
    targets.sort_by(|a, b| a.name.cmp(&b.name));
    parts.append(&mut targets);
    Ok(parts)
}

/// The text whose hash stands for all parts.
fn listed(head: &str, parts: &[Part]) -> Result<String> {
    let mut text = format!("{head}\n");
    for part in parts {
        let _ = writeln!(text, "{} {}", json(&part.name)?, part.hash); // a String takes all
    }
    Ok(text)
}

// Everything a stream or a target has is named below, so that nothing new is forgotten.

fn stream_part(stream: &job::StreamOptions) -> Result<Part> {
    // What a stream says of how it is read stands in its columns.
    let job::StreamOptions { name, topics, format, start: _, strict: _, any_case: _, columns } = stream;
    let mut topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    topics.sort_unstable();
    let columns = columns.iter().map(|column| {
        let SourceColumn { name, path, kind, reading, policy } = column;
        let path = path.0.iter().map(|step| match step {
            Segment::Key(key) => PathStep::Key(key),
            Segment::Item(number) => PathStep::Item(*number),
        });
        json(&Declared {
            name,
            kind: kind.to_string(),
            path: path.collect(),
            read: Read::new(reading),
            on: On::new(policy),
        })
    });
    part(format!("stream {name}"), &Stream { stream: name, format: format.word(), topics }, columns)
}

/// The part of a target; without `fitted` as far as the job file says it.
fn target_part(target: &job::TargetOptions, fitted: Option<&Target>) -> Result<Part> {
    // From where on it is verified does not decide which rows come out.
    let job::TargetOptions { table, mode, selection, verify_from: _ } = target;
    let columns = selection.columns.iter().enumerate().map(|(i, column)| {
        let SelectedColumn { name, value: _, kind, policy } = column; // the value is in the query's text
        let filled = fitted.and_then(|fitted| fitted.columns.at(0).get(i));
        let name = filled.map_or(name, |column| &column.name);
        json(&FilledColumn {
            name,
            from: kind.to_string(),
            kind: filled.map(|column| column.kind.to_string()),
            not_null: filled.is_some_and(|column| column.not_null),
            on: On::new(policy),
        })
    });
    let (schema, name) = (&table.schema, &table.table);
    let (mode, stream, query) = (mode.word(), &selection.stream, &selection.text);
    let head = TargetTable { schema, table: name, mode, stream, query };
    part(format!("target {table}"), &head, columns)
}

fn part(name: String, head: &impl Serialize, columns: impl Iterator<Item = Result<String>>) -> Result<Part> {
    let (head, columns) = (json(head)?, columns.collect::<Result<Vec<_>>>()?.join(",\n "));
    let text = format!("{},\"columns\":[\n {columns}]}}", head.trim_end_matches('}'));
    Ok(Part { name, hash: hash_of(&text), text })
}

#[derive(Serialize)]
struct Stream<'a> {
    stream: &'a str,
    format: &'a str,
    topics: Vec<&'a str>,
}

#[derive(Serialize)]
struct Declared<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: String,
    path: Vec<PathStep<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    read: Option<Read<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on: Option<On>,
}

/// How a column is read, where its type alone does not say it.
#[derive(Serialize)]
struct Read<'a> {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    strict: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    any_case: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layout: Option<&'a str>,
    /// With the version of the database that says what it means.
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
}

impl<'a> Read<'a> {
    fn new(reading: &'a Reading) -> Option<Read<'a>> {
        let Reading { strict, any_case, epoch, layout, zone } = reading;
        (*reading != Reading::default()).then(|| Read {
            strict: *strict,
            any_case: *any_case,
            time: epoch.map(Epoch::word),
            layout: layout.as_ref().map(Layout::text),
            zone: zone.map(|zone| format!("{zone} {}", zone::DATABASE)),
        })
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum PathStep<'a> {
    Key(&'a str),
    Item(usize),
}

#[derive(Serialize)]
struct TargetTable<'a> {
    schema: &'a str,
    table: &'a str,
    mode: &'a str,
    stream: &'a str,
    query: &'a str,
}

#[derive(Serialize)]
struct FilledColumn<'a> {
    name: &'a str,
    from: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    not_null: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    on: Option<On>,
}

/// What is done with values that do not fit, where they are not rejected.
#[derive(Serialize)]
struct On {
    #[serde(skip_serializing_if = "Option::is_none")]
    long: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scale: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nul: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    empty: Option<&'static str>,
}

impl On {
    fn new(policy: &Policy) -> Option<On> {
        let [long, range, scale, nul, empty] =
            policy.words().map(|(_, action, word)| (action != Action::Reject).then_some(word));
        (*policy != Policy::default()).then_some(On { long, range, scale, nul, empty })
    }
}

#[derive(Serialize)]
struct Around<'a> {
    bucket: &'a str,
    prefix: &'a str,
    endpoint: &'a Option<String>,
    dead_letters: String,
    halt: bool,
    halt_above: Option<f64>,
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| CodedError::new(Code::Bug, format!("a plan cannot be written: {e}")))
}

fn hash_of(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
#[path = "text_tests.rs"]
pub(super) mod tests;
