//! `tidegate check`: validates a job against Kafka, S3 and Redshift before it runs, all at once, and changes nothing.
//!
//! What does not depend on another finding is looked at in any case; what does is listed as not checked, with the reason.

mod candidates;
mod column;
mod epoch;
mod follow;
mod groups;
mod instead;
mod layouts;
mod nearest;
mod others;
mod said;
mod sample;
mod seen;
mod shown;
mod target;
mod tried;
mod values;

use std::sync::Arc;

use bytes::Bytes;
use checkpoint::protocol;
use connectors::{Fault, Inspect, Log, Objects, Warehouse};
use serde::Serialize;

use self::{
    said::{Advice, Said},
    sample::TopicSample,
    target::Catalog,
    tried::{Tried, tried},
};
use super::output::{print, print_escaped};
use crate::{
    error::{Code, CodedError, Result},
    job::{self, Job},
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
    /// Notes that say what to do, and where.
    advice: Vec<Advice>,
    not_checked: Vec<String>,
}

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
            // Several questions may meet the same thing.
            if self.findings.iter().all(|found| found.what != what) {
                self.findings.push(Finding { code: code.id(), key, what, remedy: error.remedy() });
            }
        }
    }

    /// What the records said.
    fn tried(&mut self, job: &Job, tried: Tried) {
        let Tried { findings, notes, good } = tried;
        let code = if job.errors.halt { Code::BadRecord } else { Code::Rejected };
        let finding = |Advice { key, what, remedy }| Finding { code: code.id(), key, what, remedy };
        self.findings.extend(findings.into_iter().map(finding));
        self.advice.extend(notes);
        self.good.extend(good);
    }

    /// What was said elsewhere comes after what was said here.
    fn add(&mut self, other: Checked) {
        let Checked { findings, good, notes, advice, not_checked } = other;
        self.findings.extend(
            findings
                .into_iter()
                .filter(|new| self.findings.iter().all(|found| found.what != new.what))
                .collect::<Vec<_>>(),
        );
        self.good.extend(good);
        self.notes.extend(notes);
        self.advice.extend(advice);
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
        for Advice { key, what, remedy } in &self.advice {
            text += &format!("note: {key}: {what}\n    remedy: {remedy}\n");
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
        let advice = self.advice.iter().map(|Advice { key, what, remedy }| Line {
            kind: "note",
            code: None,
            key: Some(key),
            what,
            remedy: Some(remedy),
        });
        let lines =
            findings.chain(advice).chain(others).map(|line| serde_json::to_string(&line).map(|line| line + "\n"));
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
    let ((log, samples), objects, found) = std::thread::scope(|scope| {
        let (log, objects) = (scope.spawn(|| alone(job, kafka)), scope.spawn(|| alone(job, s3)));
        let (warehouse, of_warehouse) = alone(job, warehouse);
        let ((log, of_kafka), (objects, of_s3)) = (ended(log), ended(objects));
        [of_kafka, of_s3, of_warehouse].into_iter().for_each(|looked| checked.add(looked));
        (log, objects, warehouse)
    });
    let Found { mut warehouse, inspect, columns } = found;
    checked.tried(job, tried(job, &samples, &columns));
    if let Some(mut inspect) = inspect {
        checked.take(others::look(job, &mut *inspect, log.as_deref()));
    }
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

/// Brokers, topics, and a sample of the records of each.
fn kafka(job: &Job, checked: &mut Checked) -> (Option<Arc<dyn Log>>, Vec<TopicSample>) {
    let mut samples = Vec::new();
    let log: Arc<dyn Log> = match ports::kafka(job, 1) {
        Ok(log) => Arc::new(log),
        Err(error) => {
            checked.found("kafka", &error);
            return (None, samples);
        }
    };
    let mut all = true;
    for (number, stream) in job.streams.iter().enumerate() {
        for topic in &stream.topics {
            match log.partitions(topic) {
                Err(error) => {
                    let (key, because) = match error.fault {
                        Fault::Settings => ("kafka.properties", "no client could be made"),
                        Fault::Outage => ("kafka.brokers", "the brokers did not answer"),
                        _ => ("kafka.brokers, properties", "the brokers did not say"),
                    };
                    checked.found(key, &error.into());
                    checked.skip("topics and records", because);
                    return (None, samples);
                }
                Ok(None) => {
                    let what = format!("there is no topic {topic}, or it may not be seen");
                    checked.found(format!("stream {}: topic", stream.name), &CodedError::new(Code::Names, what));
                    checked.skip(&format!("records of topic {topic}"), "there is no such topic");
                    all = false;
                }
                Ok(Some(partitions)) => {
                    checked.good.push(format!("topic {topic}: {} partitions", partitions.len()));
                    let mut read = sample::read(&*log, number, topic, &partitions);
                    if let Some(error) = read.error.take() {
                        checked.found(format!("stream {}: topic", stream.name), &error.into());
                        checked.skip(&format!("some records of topic {topic}"), "they could not be read");
                    }
                    samples.push(read);
                }
            }
        }
    }
    (all.then_some(log), samples)
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

/// What is found of the warehouse.
#[derive(Default)]
struct Found {
    /// `None` if the control tables cannot be relied on.
    warehouse: Option<Box<dyn Warehouse>>,
    /// `None` if nobody could log in.
    inspect: Option<Box<dyn Inspect>>,
    /// The columns of the targets.
    columns: Catalog,
}

/// Login, control tables, targets and rights; and the columns of the targets.
fn warehouse(job: &Job, checked: &mut Checked) -> Found {
    let ports = ports::warehouse(job).and_then(|warehouse| Ok((warehouse, ports::inspect(job)?)));
    let (mut warehouse, mut inspect) = match ports {
        Ok(ports) => ports,
        Err(error) => {
            checked.found("redshift", &error);
            return Found::default();
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
            return Found::default();
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
    let target::Looked { said, columns, is_readable } = target::look(job, &mut *warehouse, &mut *inspect);
    checked.take(said);
    let warehouse = match plan::dead_letters(job, &mut |table| warehouse.columns(table)) {
        Ok(_) => is_readable.then_some(warehouse),
        Err(error) => {
            checked.found("job", &error);
            None
        }
    };
    Found { warehouse, inspect: Some(inspect), columns }
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
