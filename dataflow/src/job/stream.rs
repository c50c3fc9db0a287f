//! `[[stream]]`: what is read.

use connectors::StartAt;
use operators::{
    decode::Format,
    query::names::stream_refusal,
    schema::SourceColumn,
    values::{reading::Reading, timestamp},
};
use toml::de::DeValue;

use super::{
    column,
    findings::Findings,
    reader::{Placed, Section},
};

/// A stream: append-only topics.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// Its name in queries, in lower case.
    pub name: String,
    /// Its topics; records of all have the same columns.
    pub topics: Vec<String>,
    /// How their values are written.
    pub format: Format,
    /// Where a topic begins when no epoch has read it yet.
    pub start: StartAt,
    /// Whether columns that do not say otherwise take a value in its type's own form alone.
    pub strict: bool,
    /// Whether the keys of a record match in any case.
    pub any_case: bool,
    /// The declared columns.
    pub columns: Vec<SourceColumn>,
}

/// All of them.
pub fn read(root: &mut Section<'_>, findings: &mut Findings) -> Vec<StreamOptions> {
    let mut streams: Vec<StreamOptions> = Vec::new();
    for mut section in root.sections(findings, "stream") {
        let name = section.text(findings, "name");
        let topics = read_topics(&mut section, findings);
        let formats: Vec<(&str, Format)> = Format::ALL.iter().map(|format| (format.word(), *format)).collect();
        let format = section.one_of(findings, "format", &formats);
        if format == Some(Format::Raw) {
            section.refuse(findings, "keys", "with format = \"raw\", whose records have no keys", "remove it");
        }
        let start = read_start(&mut section, findings);
        let strict = section.flag(findings, "strict").unwrap_or_default();
        let any_case = section.one_of(findings, "keys", &[("exact", false), ("ignore-case", true)]).unwrap_or_default();
        let columns = column::read(&mut section, format, Reading { strict, any_case, ..Reading::default() }, findings);
        if !columns.is_empty()
            && let Some(Err(why)) = format.map(|format| format.check(&columns))
        {
            findings.add(section.span(), why, "");
        }
        if let Some(name) = &name
            && let Some((what, help)) = stream_refusal(&name.value)
        {
            findings.add(name.span.clone(), what, help);
        }
        if let Some(name) = &name
            && streams.iter().any(|s| s.name == name.value.to_lowercase())
        {
            findings.add(
                name.span.clone(),
                format!("stream {} is declared twice", name.value),
                "give each stream a name of its own",
            );
        }
        for topic in topics.iter().filter(|topic| !is_topic_name(&topic.value)) {
            findings.add(
                topic.span.clone(),
                format!("{:?} cannot be the name of a topic", topic.value),
                "write a name as Kafka has it: letters, digits, `.`, `_` and `-`, at most 249; a pattern is not one",
            );
        }
        for (number, topic) in topics.iter().enumerate() {
            let earlier = topics[..number].iter().any(|t| t.value == topic.value);
            if earlier || streams.iter().any(|s| s.topics.contains(&topic.value)) {
                let what = match earlier {
                    true => format!("topic {} is listed twice", topic.value),
                    false => format!("topic {} belongs to another stream already", topic.value),
                };
                findings.add(topic.span.clone(), what, "remove it from one of the two places");
            }
        }
        section.finish(findings);
        if let (Some(name), Some(format)) = (name, format) {
            let topics = topics.into_iter().map(|topic| topic.value).collect();
            let name = name.value.to_lowercase();
            streams.push(StreamOptions { name, topics, format, start, strict, any_case, columns });
        }
    }
    streams
}

/// Whether Kafka can have a topic of this name (`org.apache.kafka.common.internals.Topic`).
fn is_topic_name(name: &str) -> bool {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=249).contains(&name.len()) && name.chars().all(is_legal) && !matches!(name, "." | "..")
}

/// `topic = "a"` or `topics = ["a", "b"]`.
fn read_topics(section: &mut Section<'_>, findings: &mut Findings) -> Vec<Placed<String>> {
    let is_list = section.has("topics");
    match section.texts(findings, "topics") {
        None if is_list => Vec::new(), // what is wrong with it was said
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
    let value = match section.start(findings, "start") {
        Some(Ok(value)) => value,
        Some(Err("latest")) => return StartAt::Latest,
        _ => return StartAt::Earliest,
    };
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
    let what = match value.get_ref() {
        DeValue::String(text) => format!("`start` cannot be {text:?}"),
        _ => "`start` takes one key, `time`".into(),
    };
    findings.add(value.span(), what, help);
    StartAt::Earliest
}
