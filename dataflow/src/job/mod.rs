//! The job file, and the job that it means.
//!
//! A [`Job`] is valid by construction: whoever has one need not look again. Everything that is wrong with a file is found
//! at once, each with its place, and nothing is ever ignored: a key that is not known is refused, and so is one whose
//! feature is not there yet. `keys.rs` declares every key; each section has the file that reads it.

mod address;
mod column;
mod elsewhere;
mod epoch;
mod errors;
pub mod explain;
mod findings;
mod history;
mod kafka;
mod keys;
mod masked;
mod memory;
mod policy;
mod quoted;
mod reader;
mod redshift;
pub mod schema;
mod secret;
mod spelling;
mod staging;
mod stream;
mod target;
mod written;

use std::time::Duration;

use connectors::TableName;
use operators::dead_letters::RejectOptions;
use toml::de::DeTable;

use crate::error::{Code, CodedError, Result, set_job_file};
use elsewhere::Elsewhere;
pub use elsewhere::{Secret, System};
pub use epoch::EpochOptions;
use findings::{Finding, Findings, render};
pub use kafka::Property;
use reader::Section;
pub use redshift::RedshiftOptions;
pub use staging::StagingOptions;
pub use stream::StreamOptions;
pub use target::TargetOptions;
pub use written::{parse_duration, parse_percent};

/// A job.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its name: `[a-z][a-z0-9_]{0,40}`.
    pub name: String,
    /// `host:port,host:port`.
    pub brokers: String,
    /// Properties of librdkafka.
    pub properties: Vec<(String, Property)>,
    /// What is read.
    pub streams: Vec<StreamOptions>,
    /// What is filled, in name order of the tables.
    pub targets: Vec<TargetOptions>,
    /// When epochs end.
    pub epoch: EpochOptions,
    /// Where files wait for their load.
    pub staging: StagingOptions,
    /// The warehouse.
    pub redshift: RedshiftOptions,
    /// What is done about records that cannot be loaded.
    pub errors: RejectOptions,
    /// What all workers of a process may hold, in bytes.
    pub budget_bytes: u64,
    /// How long old epochs are kept as they are; `None` for ever.
    pub keep: Option<Duration>,
    /// How long the other systems are waited for.
    pub patience: Patience,
}

/// How long whoever has a job waits for the other systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// As long as they may take.
    Works,
    /// A few seconds: a person waits for the answer.
    Looks,
}

impl Job {
    /// The most bytes of an epoch: several fit into the budget, so that one is read while another is loaded.
    pub fn epoch_bytes(&self) -> u64 {
        self.epoch.max_bytes.min(self.budget_bytes / 4)
    }

    /// The table of its dead letters.
    pub fn dead_letters(&self) -> TableName {
        connectors::dead_letter_table(&self.redshift.schema, &self.name)
    }
}

/// All systems of a job.
pub const ALL_SYSTEMS: &[System] = &[System::Kafka, System::S3, System::Redshift];

/// Reads a job file, which the commands that messages show name from here on, for whoever reaches all systems.
///
/// # Errors
/// As [`load_for`].
pub fn load(path: &str) -> Result<Job> {
    load_for(path, ALL_SYSTEMS)
}

/// The same for whoever only looks at these systems.
///
/// # Errors
/// As [`load_for`].
pub fn look(path: &str, systems: &[System]) -> Result<Job> {
    Ok(Job { patience: Patience::Looks, ..load_for(path, systems)? })
}

/// The same for whoever reaches these systems: their secrets must be there.
///
/// # Errors
/// It cannot be read, or is not valid, or a secret is not there: all findings at once, each with its line.
pub fn load_for(path: &str, systems: &[System]) -> Result<Job> {
    set_job_file(path);
    let text = read_file(path)?;
    let (job, elsewhere) = parse_all(&text);
    let needed = elsewhere.iter().filter(|one| systems.contains(&one.system));
    let mut missing = Findings::default();
    for (one, (what, help)) in needed.filter_map(|one| Some((one, one.missing()?))) {
        missing.add(one.span.clone(), what, help);
    }
    let mut findings = match job {
        Ok(job) if missing.0.is_empty() => return Ok(job),
        Ok(_) => Vec::new(),
        Err(findings) => findings,
    };
    findings.append(&mut missing.0);
    findings.sort_by_key(|finding| finding.span.start);
    Err(rendered(path, &text, &findings))
}

fn read_file(path: &str) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| CodedError {
        code: Code::JobFile,
        what: format!("cannot read {path}"),
        source: Some(Box::new(e)),
    })
}

fn rendered(path: &str, text: &str, findings: &[Finding]) -> CodedError {
    CodedError::new(Code::JobFile, render(path, text, findings))
}

/// Reads the text of a job file.
fn parse(text: &str) -> Result<Job, Vec<Finding>> {
    parse_all(text).0
}

/// The same, and what stands elsewhere.
fn parse_all(text: &str) -> (Result<Job, Vec<Finding>>, Vec<Elsewhere>) {
    let mut findings = Findings::default();
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What a broken file means is a guess, so its syntax comes first and alone.
        let finding = |e: &toml::de::Error| Finding {
            span: e.span().unwrap_or(0..0),
            what: format!("not TOML: {}", e.message()),
            help: String::new(),
            hidden: None,
        };
        return (Err(errors.iter().map(finding).collect()), Vec::new());
    }
    let root = Section::root(&mut findings, document.get_ref(), 0..text.len().min(1));
    let job = read(root, text, &mut findings);
    let Findings(mut found, elsewhere) = findings;
    found.sort_by_key(|finding| finding.span.start);
    match job {
        Some(job) if found.is_empty() => (Ok(job), elsewhere),
        _ => (Err(found), elsewhere),
    }
}

/// The job of a text that is valid.
#[cfg(test)]
pub(crate) fn of_text(text: &str) -> Job {
    parse(text).unwrap_or_else(|findings| panic!("{findings:?}"))
}

fn read(mut root: Section<'_>, text: &str, findings: &mut Findings) -> Option<Job> {
    match root.number(findings, "version") {
        Some(version) if version.value == 1 => {}
        Some(version) => findings.add(
            version.span,
            format!("version {} of the job file is not known", version.value),
            "this program reads version 1",
        ),
        None if root.has("version") => {} // it is no number
        None => findings.add(root.span(), "the job file has no `version`", "begin it with version = 1"),
    }
    let name = root.text(findings, "job");
    if let Some(name) = &name
        && !is_job_name(&name.value)
    {
        findings.add(
            name.span.clone(),
            format!("{:?} cannot be the name of a job", name.value),
            "write a letter, then letters, digits and _, all lower case, at most 41",
        );
    }
    let kafka = root.section(findings, "kafka").and_then(|s| kafka::read(s, findings));
    let staging = root.section(findings, "staging").and_then(|s| staging::read(s, findings));
    let redshift = root.section(findings, "redshift").and_then(|s| redshift::read(s, findings));
    let epoch = root.section(findings, "epoch").and_then(|s| epoch::read(s, findings));
    let budget_bytes = root.section(findings, "memory").and_then(|s| memory::read(s, findings));
    let errors = root.section(findings, "errors").and_then(|s| errors::read(s, findings));
    let keep = root.section(findings, "history").and_then(|s| history::read(s, findings));
    let streams = stream::read(&mut root, findings);
    let targets = target::read(&mut root, text, &streams, findings);
    let whole = root.span();
    root.finish(findings);
    if let (Some(name), Some(redshift)) = (&name, &redshift) {
        let own = |table: &TableName| {
            let rest = table.table.strip_prefix(&name.value);
            table.schema == redshift.schema && rest.is_some_and(|rest| rest.starts_with('_'))
        };
        for target in targets.iter().filter(|target| own(&target.table)) {
            let what = format!("table {} has the name of one of the job's own tables", target.table);
            findings.add(whole.clone(), what, "give the target or the job another name");
        }
    }
    let (brokers, properties) = kafka?;
    Some(Job {
        name: name?.value,
        brokers,
        properties,
        streams,
        targets,
        epoch: epoch?,
        staging: staging?,
        redshift: redshift?,
        errors: errors?,
        budget_bytes: budget_bytes?,
        keep,
        patience: Patience::Works,
    })
}

fn is_job_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && name.len() <= 41
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
