//! `tidegate check`: validates a job against Kafka, S3 and Redshift before it runs, all at once, and changes nothing.
//!
//! What does not depend on another finding is looked at in any case; what does is listed as not checked, with the reason.

mod others;
mod said;
mod target;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use checkpoint::{TopicPartition, protocol};
use connectors::{Fault, Log, Objects, RawBatch, Read, ReadFrom, Warehouse};
use operators::{
    Raw,
    dead_letters::{RejectOptions, Rejects},
    decode::{Decode, DecodeOptions},
    places::Place,
    rows::Origin,
};
use serde::Serialize;

use said::Said;

use super::output::{print, print_escaped};
use crate::{
    error::{Code, CodedError, Result},
    job::{self, Job, StreamOptions},
    memory, plan, ports,
    preflight::preflight,
    recover::source_facts,
    witness,
};

/// Validate a job against Kafka, S3 and Redshift; changes nothing. Exit code 4 on a finding.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The job file.
    job: String,
    /// Print each finding as a JSON object, one a line.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let checked = check(&job::look(&arguments.job, job::ALL_SYSTEMS)?);
    match arguments.json {
        true => print_escaped(&checked.json()?),
        false => print(&checked.text()),
    };
    match checked.is_good() {
        true => Ok(()),
        false => Err(CodedError::new(Code::Findings, "")),
    }
}

/// Something wrong.
struct Finding {
    code: &'static str,
    /// The key of the job file that it comes from.
    key: String,
    what: String,
    remedy: String,
}

/// What was said, as `--json` gives it. Names stay what they are.
#[derive(Serialize)]
struct Line<'a> {
    kind: &'static str,
    code: Option<&'a str>,
    key: Option<&'a str>,
    what: &'a str,
    remedy: Option<&'a str>,
}

/// All that a check said.
#[derive(Default)]
struct Checked {
    findings: Vec<Finding>,
    good: Vec<String>,
    notes: Vec<String>,
    not_checked: Vec<String>,
}

/// How many records of a stream are read to see whether they decode.
const SAMPLE: usize = 200;
/// How long `check` waits for them.
const SAMPLE_WITHIN: Duration = Duration::from_secs(5);

impl Checked {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.findings.is_empty()
    }

    fn found(&mut self, key: impl Into<String>, error: &CodedError) {
        let (key, code) = (key.into(), error.code);
        // One finding a line of what several things are wrong.
        for what in error.line().lines() {
            let (key, what) = (key.clone(), what.to_string());
            self.findings.push(Finding { code: code.id(), key, what, remedy: error.remedy() });
        }
    }

    /// What was said elsewhere comes after what was said here.
    fn add(&mut self, other: Checked) {
        let Checked { findings, good, notes, not_checked } = other;
        self.findings.extend(findings);
        self.good.extend(good);
        self.notes.extend(notes);
        self.not_checked.extend(not_checked);
    }

    fn skip(&mut self, what: &str, because: &str) {
        self.not_checked.push(format!("{what}: {because}"));
    }

    fn take(&mut self, said: Vec<Said>) {
        for one in said {
            match one {
                Said::Found(key, error) => self.found(key, &error),
                Said::Good(what) => self.good.push(what),
                Said::Note(what) => self.notes.push(what),
                Said::NotChecked(what, because) => self.skip(what, &because),
            }
        }
    }

    /// The text for a person.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for good in &self.good {
            text += &format!("ok: {good}\n");
        }
        for note in &self.notes {
            text += &format!("note: {note}\n");
        }
        for Finding { code, key, what, remedy } in &self.findings {
            text += &format!("finding[{code}]: {key}: {what}\n    remedy: {remedy}\n");
        }
        for skipped in &self.not_checked {
            text += &format!("not checked: {skipped}\n");
        }
        text + &match self.findings.len() {
            0 => "no findings\n".to_string(),
            1 => "1 finding\n".to_string(),
            n => format!("{n} findings\n"),
        }
    }

    /// One object a line, findings first.
    pub fn json(&self) -> Result<String> {
        let findings = self.findings.iter().map(|finding| Line {
            kind: "finding",
            code: Some(finding.code),
            key: Some(&finding.key),
            what: &finding.what,
            remedy: Some(&finding.remedy),
        });
        let others = [("not-checked", &self.not_checked), ("note", &self.notes), ("ok", &self.good)];
        let others = others.into_iter().flat_map(|(kind, said)| {
            said.iter().map(move |what| Line { kind, code: None, key: None, what, remedy: None })
        });
        let lines = findings.chain(others).map(|line| serde_json::to_string(&line).map(|line| line + "\n"));
        lines.collect::<Result<_, _>>().map_err(|e| CodedError::new(Code::Bug, e.to_string()))
    }
}

/// Looks at everything.
fn check(job: &Job) -> Checked {
    let mut checked = Checked::default();
    // How many workers there will be is not known here; more of them need more.
    if let Err(error) = memory::admit(job, 1) {
        checked.found("memory.budget", &error);
    }
    // All at once: one that does not answer is waited for, and the others need not be.
    let (log, objects, mut warehouse) = std::thread::scope(|scope| {
        let (log, objects) = (scope.spawn(|| alone(job, kafka)), scope.spawn(|| alone(job, s3)));
        let (warehouse, of_warehouse) = alone(job, warehouse);
        let ((log, of_kafka), (objects, of_s3)) = (ended(log), ended(objects));
        [of_kafka, of_s3, of_warehouse].into_iter().for_each(|looked| checked.add(looked));
        (log, objects, warehouse)
    });
    match (&log, &mut warehouse) {
        (Some(log), Some(warehouse)) => retention(job, log, &mut **warehouse, &mut checked),
        _ => checked
            .skip("whether the topics still have what is not loaded yet", "it needs Kafka and the control tables"),
    }
    if let Some(warehouse) = &mut warehouse {
        changed_plan(job, &mut **warehouse, &mut checked);
    }
    match (&objects, &mut warehouse) {
        (Some(objects), Some(warehouse)) => {
            witnesses(job, &**objects, &mut **warehouse, &mut checked);
            role(job, &**objects, &mut **warehouse, &mut checked);
        }
        _ => checked.skip(
            "whether Redshift may read what is staged ([redshift] iam_role)",
            "it needs S3 and the control tables",
        ),
    }
    checked
}

/// Looks at one system, and gives what is said of it by itself.
fn alone<T>(job: &Job, look: impl Fn(&Job, &mut Checked) -> T) -> (T, Checked) {
    let mut checked = Checked::default();
    (look(job, &mut checked), checked)
}

/// What a thread came to. A panic in it has ended the process.
fn ended<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Brokers, topics, and a sample of the records of each stream.
fn kafka(job: &Job, checked: &mut Checked) -> Option<Arc<dyn Log>> {
    let log: Arc<dyn Log> = match ports::kafka(job, 1) {
        Ok(log) => Arc::new(log),
        Err(error) => {
            checked.found("kafka", &error);
            return None;
        }
    };
    let mut all = true;
    for stream in &job.streams {
        for topic in &stream.topics {
            match log.partitions(topic) {
                Err(error) => {
                    checked.found("kafka.brokers", &error.into());
                    checked.skip("topics and records", "the brokers did not answer");
                    return None;
                }
                Ok(None) => {
                    let what = format!("there is no topic {topic}, or it may not be seen");
                    checked.found(format!("stream {}: topic", stream.name), &CodedError::new(Code::Names, what));
                    checked.skip(&format!("records of topic {topic}"), "there is no such topic");
                    all = false;
                }
                Ok(Some(partitions)) => {
                    checked.good.push(format!("topic {topic}: {} partitions", partitions.len()));
                    let ends = partitions.iter().map(|(p, facts)| {
                        let newest = (SAMPLE / partitions.len().max(1)).max(1) as i64;
                        (
                            TopicPartition::new(topic.as_str(), *p),
                            facts.low.max(facts.last_stable - newest),
                            facts.last_stable,
                        )
                    });
                    sample(job, stream, topic, &*log, ends.collect(), checked);
                }
            }
        }
    }
    all.then_some(log)
}

/// The newest records of a topic, decoded.
fn sample(
    job: &Job,
    stream: &StreamOptions,
    topic: &str,
    log: &dyn Log,
    ends: Vec<(TopicPartition, i64, i64)>,
    checked: &mut Checked,
) {
    let key = format!("stream {}: columns", stream.name);
    let unread: Vec<_> = ends.into_iter().filter(|(_, from, end)| from < end).collect();
    if unread.is_empty() {
        return checked.notes.push(format!("topic {topic} is empty, so nothing of it was decoded"));
    }
    let from: Vec<ReadFrom> =
        unread.iter().map(|(partition, from, _)| ReadFrom::offset(partition.clone(), *from)).collect();
    let places: Arc<[Place]> = unread
        .iter()
        .map(|(partition, start, _)| Place {
            partition: partition.clone(),
            topic_id: String::new(),
            stream: 0,
            start: *start,
            leader_epoch: None,
            until: None,
        })
        .collect();
    let rejects = Rejects::new(RejectOptions::default(), places);
    let options =
        DecodeOptions { stream: stream.name.clone(), format: stream.format, columns: stream.columns.as_slice().into() };
    let mut decode = Decode::new(options, rejects, Arc::new(|_| {}));
    let mut reader = match log.read(&from) {
        Ok(reader) => reader,
        Err(error) => return checked.found("kafka", &error.into()),
    };
    let numbers: Vec<i32> = (0..from.len() as i32).collect();
    let (mut read, mut bad, mut example) = (0, 0, None);
    let since = Instant::now();
    while read < SAMPLE && since.elapsed() < SAMPLE_WITHIN {
        let batch: RawBatch = match reader.next(Duration::from_millis(200)) {
            Ok(Some(Read::Batch(batch))) => batch,
            // Nothing more within the wait: what there was has come, or it is after an open transaction.
            Ok(None) if read > 0 => break,
            Ok(None) => continue,
            Ok(Some(Read::Lost { error, .. })) | Err(error) => return checked.found("kafka", &error.into()),
        };
        let records = batch.len();
        let rows = Raw::new(Origin::new(batch, &numbers));
        let letters = decode.batch(0, rows).letters;
        read += records;
        if let Some(letters) = letters {
            bad += letters.len();
            example = example.or_else(|| letters.reason(0));
        }
    }
    match example {
        None => checked.good.push(format!("topic {topic}: {read} records decode")),
        Some(example) => {
            let what = format!("topic {topic}: {bad} of {read} records do not decode; one: {example}");
            // A job that sets everything aside would run, and load nothing.
            match job.errors.halt || bad == read {
                true => checked.found(key, &CodedError::new(Code::BadRecord, what)),
                false => checked.notes.push(format!("{key}: {what} (they become dead letters)")),
            }
        }
    }
}

/// Writes an object, reads it back and removes it.
fn s3(job: &Job, checked: &mut Checked) -> Option<Box<dyn Objects>> {
    let objects = match ports::staging(job) {
        Ok(objects) => objects,
        Err(error) => {
            checked.found("staging", &error);
            return None;
        }
    };
    let key = format!("{}/check/{}", job.name, uuid::Uuid::new_v4().simple());
    let body = Bytes::from_static(b"tidegate check");
    let tried = objects.put(&key, body.clone()).and_then(|()| {
        let found = objects.get(&key)?;
        objects.delete(&[&key])?;
        match found {
            Some(found) if found == body => Ok(()),
            _ => Err(connectors::Error::new(
                Fault::Mismatch,
                format!("S3 GET {}: it is not what was written", objects.url(&key)),
            )),
        }
    });
    match tried {
        Ok(()) => {
            checked.good.push(format!("{}: written, read and removed", objects.url(&job.name)));
            Some(Box::new(objects))
        }
        Err(error) => {
            let key = match error.fault {
                Fault::Denied => "staging.access_key_id, secret_access_key",
                Fault::Missing => "staging.url",
                Fault::Mismatch => "staging.region, endpoint",
                _ => "staging.url, region, endpoint",
            };
            checked.found(key, &error.into());
            None
        }
    }
}

/// Login, control tables, targets and rights. `None` if the control tables cannot be relied on.
fn warehouse(job: &Job, checked: &mut Checked) -> Option<Box<dyn Warehouse>> {
    let ports = ports::warehouse(job).and_then(|warehouse| Ok((warehouse, ports::inspect(job)?)));
    let (mut warehouse, mut inspect) = match ports {
        Ok(ports) => ports,
        Err(error) => {
            checked.found("redshift", &error);
            return None;
        }
    };
    match inspect.log_in() {
        Ok(isolation) => checked.good.push(format!("Redshift: logged in as {}, {isolation}", job.redshift.user)),
        Err(error) => {
            let key = match error.fault {
                Fault::Denied => "redshift.user, password, tls",
                Fault::NoDatabase => "redshift.database",
                _ => "redshift.host, port",
            };
            checked.found(key, &error.into());
            checked.skip("tables, columns and rights", "there was no login");
            return None;
        }
    }
    match inspect.slices() {
        Ok(Some(slices)) => checked.notes.push(format!(
            "Redshift has {slices} slices; a file below 128 MB is read by one of them, so a load of small files uses as many \
             as there are workers (run --workers)"
        )),
        Ok(None) => checked.skip("how many slices share the work of a COPY", "stv_slices may not be seen here"),
        Err(error) => checked.found("redshift", &error.into()),
    }
    let (said, is_readable) = target::look(job, &mut *warehouse, &mut *inspect);
    checked.take(said);
    checked.take(others::look(job, &mut *inspect));
    match plan::dead_letters(job, &mut |table| warehouse.columns(table)) {
        Ok(_) => is_readable.then_some(warehouse),
        Err(error) => {
            checked.found("job", &error);
            None
        }
    }
}

/// What the manifest says is loaded, held against what Kafka has.
fn retention(job: &Job, log: &Arc<dyn Log>, warehouse: &mut dyn Warehouse, checked: &mut Checked) {
    let read = warehouse.read().map_err(CodedError::of_tables).and_then(|facts| Ok(protocol::admit(&facts)?));
    let cut = match read {
        Ok(history) => history.cut,
        Err(error) => return checked.found("redshift", &error),
    };
    let held = source_facts(job, &**log, &cut).and_then(|facts| {
        // Topics that no epoch has read yet begin at their `start`.
        let known = facts.into_iter().filter(|(partition, _)| cut.knows_topic(&partition.topic)).collect();
        Ok(protocol::check_source(&cut, &known)?)
    });
    match held {
        Ok(seek) if seek.is_empty() => checked.good.push("nothing was loaded yet".into()),
        Ok(seek) => checked.good.push(format!("{} partitions go on where the manifest ends", seek.len())),
        Err(error) => checked.found("stream: topic", &error),
    }
}

/// What the job means otherwise than when it loaded last.
fn changed_plan(job: &Job, warehouse: &mut dyn Warehouse, checked: &mut Checked) {
    // A job without a plan has findings already.
    let Ok(plan) = plan::plan(job, &mut |table| warehouse.columns(table)) else { return };
    match plan::changed(&plan, warehouse) {
        Ok(None) => {}
        Ok(Some((epoch, changes))) => {
            checked.notes.extend(changes.iter().map(|change| format!("{change} since epoch {epoch}")));
        }
        Err(error) => checked.found("redshift", &error.into()),
    }
}

/// One row into a temporary table, rolled back: whether the role may read what we stage, and COPY takes our files.
fn role(job: &Job, objects: &dyn Objects, warehouse: &mut dyn Warehouse, checked: &mut Checked) {
    // Rights on the tables have been looked at one by one.
    match preflight(job, &[], objects, warehouse) {
        Ok(()) => checked.good.push("Redshift read a staged file, and loaded it; rolled back".into()),
        Err(error) => {
            let key = match error.code {
                Code::Denied => "redshift.iam_role",
                Code::Mismatch => "staging.url",
                _ => "redshift",
            };
            checked.found(key, &error);
        }
    }
}

/// Whether the control tables are those that earlier starts bear witness of.
fn witnesses(job: &Job, objects: &dyn Objects, warehouse: &mut dyn Warehouse, checked: &mut Checked) {
    let looked = witness::list(job, objects)
        .and_then(|found| Ok((found, warehouse.read()?)))
        .and_then(|(found, facts)| witness::check(job, &found, &facts, warehouse));
    match looked {
        Ok(()) => checked.good.push("the control tables are the ones that earlier starts had".into()),
        Err(error) => checked.found("job", &error),
    }
}
