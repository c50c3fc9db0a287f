//! The job file, and the job that it means.
//!
//! A [`Job`] is valid by construction: whoever has one need not look again. Everything that is wrong with a file is found
//! at once, each with its place, and nothing is ever ignored: a key that is not known is refused, and so is one whose
//! feature is not there yet.

pub mod defaults;
pub mod explain;
mod reader;

use std::{ops::Range, time::Duration};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use checkpoint::Micros;
use connectors::{ColumnKind, StartAt, TableName, redshift::Tls};
use operators::{
    dead_letters::RejectOptions,
    decode::Format,
    query::{
        refusal::Refusal,
        select::{self, Selection},
    },
    schema::{Mode, SourceColumn},
    sink::{encode::Compression, fit},
    values::{Action, Policy, path::Path, timestamp},
};
use toml::de::{DeTable, DeValue};

use crate::error::{Code, Error, Result, set_job_file};
use reader::{Finding, Findings, Placed, Section, expand, secret_of};
pub use reader::{Secret, parse_duration};

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
    pub streams: Vec<Stream>,
    /// What is filled, in name order of the tables.
    pub targets: Vec<Target>,
    /// When epochs end.
    pub epoch: Epoch,
    /// Where files wait for their load.
    pub staging: Staging,
    /// The warehouse.
    pub redshift: Redshift,
    /// What is done about records that cannot be loaded.
    pub errors: RejectOptions,
    /// What all workers of a process may hold, in bytes.
    pub budget_bytes: u64,
    /// How long old epochs are kept as they are; `None` for ever.
    pub keep: Option<Duration>,
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

/// The value of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Property {
    /// As it is written.
    Plain(String),
    /// Resolved when the client is made.
    Secret(Secret),
}

/// A stream: append-only topics.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Its name in queries, in lower case.
    pub name: String,
    /// Its topics; records of all have the same columns.
    pub topics: Vec<String>,
    /// How their values are written.
    pub format: Format,
    /// Where a topic begins when no epoch has read it yet.
    pub start: StartAt,
    /// The declared columns.
    pub columns: Vec<SourceColumn>,
}

/// A target: a table and the query that fills it.
#[derive(Clone, Debug)]
pub struct Target {
    /// The table.
    pub table: TableName,
    /// How its rows get into the table.
    pub mode: Mode,
    /// The query.
    pub selection: Selection,
    /// Its rows are verified from here on, because older ones are taken away; `None` for all.
    pub verify_from: Option<Micros>,
}

/// When epochs end.
#[derive(Clone, Debug)]
pub struct Epoch {
    /// The longest an epoch stays open.
    pub interval: Duration,
    /// The most bytes of keys and values.
    pub max_bytes: u64,
    /// The most records.
    pub max_rows: u64,
    /// How long epochs without rows wait for a load.
    pub idle_interval: Duration,
}

/// Where files wait.
#[derive(Clone, Debug)]
pub struct Staging {
    /// The bucket.
    pub bucket: String,
    /// The prefix, without a slash at its end; may be empty.
    pub prefix: String,
    /// The region of the bucket.
    pub region: Option<String>,
    /// Another server that speaks S3's protocol.
    pub endpoint: Option<String>,
    /// Access key id and secret access key; without them object_store's own chain decides.
    pub keys: Option<(Secret, Secret)>,
    /// Of the files.
    pub compression: Compression,
    /// The size at which a file is closed.
    pub file_bytes: u64,
}

/// The warehouse.
#[derive(Clone, Debug)]
pub struct Redshift {
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Database.
    pub database: String,
    /// User.
    pub user: String,
    /// Their password.
    pub password: Secret,
    /// The role that COPY assumes.
    pub iam_role: String,
    /// The schema of the control tables.
    pub schema: String,
    /// Encryption.
    pub tls: Tls,
    /// The longest a statement of a load may run.
    pub statement_timeout: Duration,
}

/// Reads a job file, which the commands that messages show name from here on.
///
/// # Errors
/// It cannot be read, or is not valid: all findings at once, each with its line.
pub fn load(path: &str) -> Result<Job> {
    set_job_file(path);
    let text = read_file(path)?;
    parse(&text).map_err(|findings| rendered(path, &text, &findings))
}

fn read_file(path: &str) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| Error {
        code: Code::JobFile,
        what: format!("cannot read {path}"),
        source: Some(Box::new(e)),
    })
}

fn rendered(path: &str, text: &str, findings: &[Finding]) -> Error {
    Error::new(Code::JobFile, render(path, text, findings))
}

/// Each finding with its line of the file.
fn render(path: &str, text: &str, findings: &[Finding]) -> String {
    let renderer = Renderer::plain();
    let reports = findings.iter().map(|finding| {
        let end = finding.span.end.min(text.len());
        // A table of many lines is shown by its first.
        let first_line = text[finding.span.start.min(end)..end].find('\n').map_or(end, |n| finding.span.start + n);
        let annotation = AnnotationKind::Primary.span(finding.span.start.min(end)..first_line).label(&*finding.help);
        let snippet = Snippet::source(text).path(path).annotation(annotation);
        renderer.render(&[Level::ERROR.primary_title(&*finding.what).element(snippet)])
    });
    reports.collect::<Vec<_>>().join("\n\n")
}

/// Reads the text of a job file.
fn parse(text: &str) -> Result<Job, Vec<Finding>> {
    let mut findings = Findings::default();
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What a broken file means is a guess, so its syntax comes first and alone.
        return Err(errors
            .iter()
            .map(|e| Finding {
                span: e.span().unwrap_or(0..0),
                what: format!("not TOML: {}", e.message()),
                help: String::new(),
            })
            .collect());
    }
    let root = Section::new(document.get_ref(), 0..text.len().min(1), "job file");
    let job = read(root, text, &mut findings);
    match job {
        Some(job) if findings.0.is_empty() => Ok(job),
        _ => {
            findings.0.sort_by_key(|f| f.span.start);
            Err(findings.0)
        }
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
        None => findings.add(root.span(), "the job file has no `version`", "begin it with version = 1"),
    }
    let name = root.required(findings, "job");
    if let Some(name) = &name
        && !is_job_name(&name.value)
    {
        findings.add(
            name.span.clone(),
            format!("{:?} cannot be the name of a job", name.value),
            "a letter, then letters, digits and _, all lower case, at most 41",
        );
    }
    root.not_yet(findings, "table", "a topic whose newest row per key counts");
    root.not_yet(findings, "status", "status page and metrics");
    let kafka = section(&mut root, findings, "kafka").and_then(|s| read_kafka(s, findings));
    let staging = section(&mut root, findings, "staging").and_then(|s| read_staging(s, findings));
    let redshift = section(&mut root, findings, "redshift").and_then(|s| read_redshift(s, findings));
    let epoch = read_epoch(root.section(findings, "epoch"), findings);
    let budget_bytes = read_memory(root.section(findings, "memory"), findings);
    let errors = read_errors(root.section(findings, "errors"), findings);
    let keep = read_history(root.section(findings, "history"), findings);
    let streams = read_streams(&mut root, findings);
    let targets = read_targets(&mut root, text, &streams, findings);
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
        epoch,
        staging: staging?,
        redshift: redshift?,
        errors,
        budget_bytes,
        keep,
    })
}

/// The least time for which epochs are kept: somebody may want to see why a row of yesterday is there.
const LEAST_KEEP: Duration = Duration::from_secs(24 * 3600);

fn read_history(history: Option<Section<'_>>, findings: &mut Findings) -> Option<Duration> {
    let mut history = history?;
    let (span, keep) = (history.span(), history.duration(findings, "keep"));
    if keep.is_some_and(|keep| keep < LEAST_KEEP) {
        findings.add(span, "`keep` is too short", "at least \"1d\"");
    }
    history.finish(findings);
    keep
}

fn read_errors(errors: Option<Section<'_>>, findings: &mut Findings) -> RejectOptions {
    let Some(mut errors) = errors else { return RejectOptions::default() };
    let halt = errors.one_of(findings, "reject", &[("dead-letter", false), ("halt", true)]).unwrap_or(false);
    let halt_above = errors.text(findings, "halt_above").and_then(|share| {
        if share.value == "off" {
            return None;
        }
        let percent = share.value.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
        let found = percent.filter(|percent| (0.0..100.0).contains(percent)).map(|percent| percent / 100.0);
        if found.is_none() {
            let what = format!("`halt_above`: {:?} is not a share", share.value);
            findings.add(share.span, what, "write it like \"5%\", from 0% up to 100%, or \"off\"");
        }
        found
    });
    errors.finish(findings);
    RejectOptions { halt, halt_above }
}

fn is_job_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && name.len() <= 41
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// A section that must be there.
fn section<'a>(root: &mut Section<'a>, findings: &mut Findings, key: &'static str) -> Option<Section<'a>> {
    let found = root.section(findings, key);
    if found.is_none() {
        findings.add(root.span(), format!("the job file has no [{key}]"), "");
    }
    found
}

type Properties = Vec<(String, Property)>;

fn read_kafka(mut kafka: Section<'_>, findings: &mut Findings) -> Option<(String, Properties)> {
    let brokers = kafka.required(findings, "brokers");
    let mut properties = Vec::new();
    if let Some(section) = kafka.section(findings, "properties") {
        for (name, span, value) in section.entries() {
            if let Some((_, reason)) = connectors::kafka::OWNED.iter().find(|(owned, _)| *owned == name) {
                findings.add(span, format!("`{name}` cannot be set"), *reason);
                continue;
            }
            let property = match value.get_ref() {
                DeValue::String(text) => expand(findings, text, value.span()).map(Property::Plain),
                DeValue::Integer(number) => Some(Property::Plain(number.as_str().replace('_', ""))),
                DeValue::Boolean(value) => Some(Property::Plain(value.to_string())),
                _ => secret_of(findings, name, value).map(Property::Secret),
            };
            properties.extend(property.map(|p| (name.to_string(), p)));
        }
    }
    kafka.finish(findings);
    Some((brokers?.value, properties))
}

fn read_staging(mut staging: Section<'_>, findings: &mut Findings) -> Option<Staging> {
    let url = staging.required(findings, "url");
    let place = url.and_then(|url| {
        let rest = url.value.strip_prefix("s3://").map(|rest| rest.trim_end_matches('/'));
        match rest.map(|rest| rest.split_once('/').unwrap_or((rest, ""))) {
            Some((bucket, prefix)) if !bucket.is_empty() => Some((bucket.to_string(), prefix.to_string())),
            _ => {
                findings.add(
                    url.span,
                    format!("{:?} is no place on S3", url.value),
                    "write it like s3://bucket/prefix",
                );
                None
            }
        }
    });
    let (id, secret) = (staging.secret(findings, "access_key_id"), staging.secret(findings, "secret_access_key"));
    if id.is_some() != secret.is_some() {
        findings.add(staging.span(), "access_key_id and secret_access_key go together", "");
    }
    let compressions = [("zstd", Compression::Zstd), ("snappy", Compression::Snappy), ("none", Compression::None)];
    let compression = staging.one_of(findings, "compression", &compressions).unwrap_or(defaults::COMPRESSION);
    let file_bytes = staging.size(findings, "file_size").map_or(defaults::FILE_SIZE_BYTES, |s| s.value);
    let region = staging.text(findings, "region").map(|r| r.value);
    let endpoint = staging.text(findings, "endpoint").map(|e| e.value);
    staging.finish(findings);
    let (bucket, prefix) = place?;
    Some(Staging { bucket, prefix, region, endpoint, keys: id.zip(secret), compression, file_bytes })
}

fn read_redshift(mut redshift: Section<'_>, findings: &mut Findings) -> Option<Redshift> {
    let host = redshift.required(findings, "host");
    let port =
        redshift.number(findings, "port").unwrap_or(Placed { value: defaults::PORT.into(), span: redshift.span() });
    let port =
        u16::try_from(port.value).map_err(|_| findings.add(port.span, format!("{} is no port", port.value), "")).ok();
    let database = redshift.required(findings, "database");
    let user = redshift.required(findings, "user");
    let password = redshift.secret(findings, "password");
    if password.is_none() && redshift.any("password").is_none() {
        findings.add(redshift.span(), "[redshift] has no `password`", "add password = { env = \"NAME\" }");
    }
    let iam_role = redshift.required(findings, "iam_role");
    let schema = redshift.text(findings, "schema").map_or(defaults::SCHEMA.into(), |s| s.value.to_lowercase());
    let ca_file = redshift.text(findings, "ca_file").map(|f| f.value);
    let verify = redshift.one_of(findings, "tls", &[("verify-full", true), ("off", false)]).unwrap_or(true);
    if !verify && ca_file.is_some() {
        findings.add(redshift.span(), "`ca_file` has no meaning with tls = \"off\"", "");
    }
    let tls = if verify { Tls::VerifyFull { ca_file } } else { Tls::Off };
    let statement_timeout = redshift.duration(findings, "statement_timeout").unwrap_or(defaults::STATEMENT_TIMEOUT);
    redshift.not_yet(findings, "query_group", "workload management");
    redshift.finish(findings);
    Some(Redshift {
        host: host?.value,
        port: port?,
        database: database?.value,
        user: user?.value,
        password: password?,
        iam_role: iam_role?.value,
        schema,
        tls,
        statement_timeout,
    })
}

fn read_epoch(epoch: Option<Section<'_>>, findings: &mut Findings) -> Epoch {
    let mut read = Epoch {
        interval: defaults::INTERVAL,
        max_bytes: defaults::MAX_BYTES,
        max_rows: defaults::MAX_ROWS,
        idle_interval: defaults::IDLE_INTERVAL,
    };
    let Some(mut epoch) = epoch else { return read };
    read.interval = epoch.duration(findings, "interval").unwrap_or(read.interval);
    read.max_bytes = epoch.size(findings, "max_bytes").map_or(read.max_bytes, |s| s.value);
    read.max_rows = epoch.number(findings, "max_rows").map_or(read.max_rows, |n| n.value.max(1));
    read.idle_interval = epoch.duration(findings, "idle_interval").unwrap_or(read.idle_interval);
    epoch.finish(findings);
    read
}

/// The least budget with which a job moves: a few batches.
const LEAST_BUDGET: u64 = 32_000_000;

fn read_memory(memory: Option<Section<'_>>, findings: &mut Findings) -> u64 {
    let Some(mut memory) = memory else { return defaults::BUDGET_BYTES };
    let budget = memory.size(findings, "budget");
    if let Some(budget) = &budget
        && budget.value < LEAST_BUDGET
    {
        findings.add(budget.span.clone(), "`budget` is too small", "at least 32 MB");
    }
    memory.finish(findings);
    budget.map_or(defaults::BUDGET_BYTES, |b| b.value)
}

fn read_streams(root: &mut Section<'_>, findings: &mut Findings) -> Vec<Stream> {
    let sections = root.sections(findings, "stream");
    if sections.is_empty() {
        findings.add(root.span(), "the job file has no [[stream]]", "");
    }
    let mut streams: Vec<Stream> = Vec::new();
    for mut section in sections {
        let name = section.required(findings, "name");
        let topics = read_topics(&mut section, findings);
        for (key, what) in [
            ("event_time", "event time and late rows"),
            ("dedup", "removing duplicates"),
            ("key", "columns out of the record's key"),
        ] {
            section.not_yet(findings, key, what);
        }
        let formats: Vec<(&str, Format)> = Format::ALL.iter().map(|format| (format.word(), *format)).collect();
        let format = section.one_of(findings, "format", &formats).unwrap_or(defaults::FORMAT);
        let start = read_start(&mut section, findings);
        let columns = read_columns(&mut section, findings);
        if !columns.is_empty()
            && let Err(why) = format.check(&columns)
        {
            findings.add(section.span(), why, "");
        }
        if let Some(name) = &name
            && streams.iter().any(|s| s.name == name.value.to_lowercase())
        {
            findings.add(name.span.clone(), format!("there are two streams {}", name.value), "");
        }
        for (number, topic) in topics.iter().enumerate() {
            let earlier = topics[..number].iter().any(|t| t.value == topic.value);
            if earlier || streams.iter().any(|s| s.topics.contains(&topic.value)) {
                let what = match earlier {
                    true => format!("topic {} stands here twice", topic.value),
                    false => format!("topic {} belongs to another stream already", topic.value),
                };
                findings.add(topic.span.clone(), what, "");
            }
        }
        section.finish(findings);
        if let Some(name) = name {
            let topics = topics.into_iter().map(|topic| topic.value).collect();
            streams.push(Stream { name: name.value.to_lowercase(), topics, format, start, columns });
        }
    }
    streams
}

/// `topic = "a"` or `topics = ["a", "b"]`.
fn read_topics(section: &mut Section<'_>, findings: &mut Findings) -> Vec<Placed<String>> {
    let several = section.texts(findings, "topics");
    match several {
        None => section.required(findings, "topic").into_iter().collect(),
        Some(topics) => {
            if let Some(topic) = section.text(findings, "topic") {
                findings.add(topic.span, "`topic` and `topics` exclude each other", "name them all in `topics`");
            }
            topics
        }
    }
}

fn read_start(section: &mut Section<'_>, findings: &mut Findings) -> StartAt {
    let Some(value) = section.any("start") else { return defaults::START };
    let help = "write \"earliest\", \"latest\" or { time = \"2026-11-24T00:00:00Z\" }";
    match value.get_ref() {
        DeValue::String(text) if text == "earliest" => return StartAt::Earliest,
        DeValue::String(text) if text == "latest" => return StartAt::Latest,
        DeValue::Table(table) if table.len() == 1 => {
            if let Some(time) = table.get("time").and_then(|t| t.get_ref().as_str()) {
                match timestamp::moment(time) {
                    Ok((micros, _)) => return StartAt::Time(micros.div_euclid(1000)),
                    Err(problem) => {
                        findings.add(value.span(), problem.reason(), help);
                        return StartAt::Earliest;
                    }
                }
            }
        }
        _ => {}
    }
    findings.add(value.span(), "`start` cannot be this", help);
    StartAt::Earliest
}

fn read_columns(section: &mut Section<'_>, findings: &mut Findings) -> Vec<SourceColumn> {
    let sections = section.sections(findings, "columns");
    if sections.is_empty() {
        findings.add(
            section.span(),
            "the stream has no `columns`",
            "add columns = [ { name = \"...\", type = \"...\" } ]",
        );
    }
    let mut columns: Vec<SourceColumn> = Vec::new();
    for mut column in sections {
        let (name, kind) = (column.required(findings, "name"), column.required(findings, "type"));
        let path = column.text(findings, "path").and_then(|path| {
            let read = Path::parse(&path.value);
            read.map_err(|why| {
                findings.add(
                    path.span,
                    format!("`path`: {why}"),
                    "write it like \"a.b[0].c\", or [\"a.b\"] for a key with a point",
                )
            })
            .ok()
        });
        let policy = column.section(findings, "on").map(|on| read_policy(on, Policy::default(), findings));
        column.finish(findings);
        let kind = kind.and_then(|kind| read_kind(&kind, findings));
        let Some(name) = name else { continue };
        if columns.iter().any(|c| c.name == name.value.to_lowercase()) {
            findings.add(
                name.span.clone(),
                format!("there are two columns {} (names are lower case in SQL)", name.value),
                "give one of them another name, and say with `path` which key of the record it is",
            );
        }
        if name.value.starts_with('_') {
            findings.add(name.span.clone(), "names that begin with _ are those of the record's own values", "");
        }
        // Of a type that is not understood it is there all the same, so that a query may name it.
        let declared = SourceColumn::new(&name.value, kind.unwrap_or(ColumnKind::Boolean));
        let path = path.unwrap_or(declared.path);
        columns.push(SourceColumn { path, policy: policy.unwrap_or_default(), ..declared });
    }
    columns
}

fn read_kind(text: &Placed<String>, findings: &mut Findings) -> Option<ColumnKind> {
    let help = "smallint, integer, bigint, decimal(p,s), real, double precision, boolean, char(n), varchar(n), \
                varbyte(n), date, timestamp, timestamptz";
    match ColumnKind::parse(&text.value) {
        Ok(kind @ ColumnKind::Other(_)) => {
            let why = match fit::can_fit(&kind, &kind) {
                Err(why)
                    if text.value.to_lowercase().starts_with("time") || text.value.eq_ignore_ascii_case("super") =>
                {
                    format!(": {why}")
                }
                _ => String::new(),
            };
            findings.add(text.span.clone(), format!("type {:?} is not supported{why}", text.value), help);
            None
        }
        Ok(kind) => Some(kind),
        Err(why) => {
            findings.add(text.span.clone(), why, help);
            None
        }
    }
}

/// What is done with values that do not fit. What it does not say stays as in `base`.
fn read_policy(mut on: Section<'_>, base: Policy, findings: &mut Findings) -> Policy {
    let (reject, null) = (("reject", Action::Reject), ("null", Action::Null));
    let (truncate, round) = (("truncate", Action::Truncate), ("round", Action::Round));
    let strip = ("strip", Action::Truncate);
    let policy = Policy {
        long: on.one_of(findings, "long", &[reject, truncate, null]).unwrap_or(base.long),
        range: on.one_of(findings, "range", &[reject, null]).unwrap_or(base.range),
        scale: on.one_of(findings, "scale", &[reject, round, truncate, null]).unwrap_or(base.scale),
        nul: on.one_of(findings, "nul", &[reject, strip, null]).unwrap_or(base.nul),
    };
    on.finish(findings);
    policy
}

fn read_targets(root: &mut Section<'_>, text: &str, streams: &[Stream], findings: &mut Findings) -> Vec<Target> {
    let sections = root.sections(findings, "target");
    if sections.is_empty() {
        findings.add(root.span(), "the job file has no [[target]]", "");
    }
    let known: Vec<(String, Vec<SourceColumn>)> = streams.iter().map(|s| (s.name.clone(), s.columns.clone())).collect();
    let mut targets: Vec<Target> = Vec::new();
    for mut section in sections {
        let (table, query) = (section.required(findings, "table"), section.required(findings, "query"));
        let modes: Vec<(&str, Mode)> = Mode::ALL.iter().map(|mode| (mode.word(), *mode)).collect();
        let mode = section.one_of(findings, "mode", &modes).unwrap_or(defaults::MODE);
        section.not_yet(findings, "key", "the key of an upsert");
        let on = section.section(findings, "on");
        let verify_from = section.text(findings, "verify_from").and_then(|from| {
            let micros = timestamp::moment(&from.value).ok().map(|(micros, _)| Micros(micros));
            if micros.is_none() {
                let what = format!("`verify_from`: {:?} is not a moment", from.value);
                findings.add(from.span, what, "write it like \"2026-11-24T00:00:00Z\"");
            }
            micros
        });
        section.finish(findings);
        let table = table.and_then(|table| read_table_name(&table, findings));
        if let Some((table, span)) = &table
            && targets.iter().any(|t| t.table == *table)
        {
            findings.add(span.clone(), format!("table {table} belongs to another target already"), "");
        }
        // A broken stream has findings of its own.
        let selection = query.filter(|_| !streams.is_empty()).and_then(|query| {
            let refused = |refusal: Refusal| {
                let span = place_in_query(text, &query, &refusal);
                findings.add(span, format!("the query: {}", refusal.what), refusal.help);
            };
            select::parse(&query.value, &known).map_err(refused).ok()
        });
        if let (Some((table, _)), Some(mut selection)) = (table, selection) {
            if let Some(on) = on {
                read_column_policies(on, &mut selection, findings);
            }
            targets.push(Target { table, mode, selection, verify_from });
        }
    }
    // Where something else is wrong, a query that is not understood may be the one that reads it.
    let whole = findings.0.is_empty();
    for stream in streams {
        if whole && !targets.iter().any(|t| t.selection.stream == stream.name) {
            let what = format!("no target reads stream {}", stream.name);
            findings.add(root.span(), what, "add a [[target]] whose query reads it, or remove the stream");
        }
    }
    targets.sort_by(|a, b| a.table.cmp(&b.table));
    targets
}

/// Where in the file a piece of a query stands. Where the file writes the query with escapes, it is the query as a whole.
fn place_in_query(file: &str, query: &Placed<String>, refusal: &Refusal) -> Range<usize> {
    match file.get(query.span.clone()).and_then(|written| written.find(&query.value)) {
        Some(begins) => {
            let inside = refusal.bytes(&query.value);
            query.span.start + begins + inside.start..query.span.start + begins + inside.end
        }
        None => query.span.clone(),
    }
}

/// `on = { note = { long = "truncate" } }`, by the target's columns.
fn read_column_policies(on: Section<'_>, selection: &mut Selection, findings: &mut Findings) {
    for (name, span, _) in on.entries() {
        let column = selection.columns.iter_mut().find(|c| c.name == name.to_lowercase());
        match (column, on.named_section(findings, name)) {
            (Some(column), Some(section)) => column.policy = read_policy(section, column.policy, findings),
            (None, _) => findings.add(span, format!("the query selects no column {name}"), ""),
            (_, None) => {}
        }
    }
}

fn read_table_name(table: &Placed<String>, findings: &mut Findings) -> Option<(TableName, Range<usize>)> {
    let folded = table.value.to_lowercase();
    match folded.split('.').collect::<Vec<_>>().as_slice() {
        [schema, name] if !schema.is_empty() && !name.is_empty() => {
            Some((TableName { schema: schema.to_string(), table: name.to_string() }, table.span.clone()))
        }
        _ => {
            findings.add(
                table.span.clone(),
                format!("{:?} is not a table with its schema", table.value),
                "write it like analytics.clicks",
            );
            None
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
