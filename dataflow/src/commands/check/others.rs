//! Of `check`: other jobs that fill the same tables, by what their control tables say.
//!
//! Two jobs may well fill one table, each from topics of its own; then the rows of one are not in the counts of the other. The same
//! topic by two jobs into one table is each record twice.

use checkpoint::cut::same_topic;
use connectors::{
    Inspect, Log, TableName,
    inspect::{NewestLoad, OtherJob},
};
use serde::Deserialize;

use super::said::Said;
use crate::{
    error::{Code, CodedError},
    job::Job,
};

/// A plan, as far as it is asked for.
#[derive(Deserialize)]
struct Plan {
    parts: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    means: Means,
}

/// A stream or a target.
#[derive(Deserialize)]
#[serde(untagged)]
enum Means {
    Target { schema: String, table: String, stream: String },
    Stream { stream: String, topics: Vec<String> },
}

/// What another job has in common with a target of ours.
#[derive(Debug, PartialEq, Eq)]
struct Shared {
    table: TableName,
    /// The topics that the other one reads into it.
    topics: Vec<String>,
    /// Those of them that ours reads into it too.
    twice: Vec<String>,
}

/// What there is to say of other jobs. Without Kafka two topics of one name count as one.
pub(super) fn look(job: &Job, inspect: &mut dyn Inspect, log: Option<&dyn Log>) -> Vec<Said> {
    let what = "whether other jobs load into the same tables";
    let others = match inspect.other_jobs() {
        Ok(others) => others,
        Err(error) => return vec![Said::NotChecked(what, error.told())],
    };
    let (mut said, mut hidden) = (Vec::new(), Vec::new());
    for found in others {
        let OtherJob { schema, job: other, newest } = &found;
        let Some(NewestLoad { loaded_at, plan }) = newest else {
            hidden.push(format!("{schema}.{other}"));
            continue;
        };
        let Ok(shared) = shared(job, plan) else {
            let why = format!("the plan of job {other} (schema {schema}) is of another program");
            said.push(Said::NotChecked(what, why));
            continue;
        };
        for Shared { table, topics, twice } in shared {
            let by = format!("job {other} (control tables in schema {schema}, newest load {loaded_at})");
            let twice = match log {
                Some(log) if !twice.is_empty() => match same_topics(&found, twice, inspect, log) {
                    Ok(twice) => twice,
                    Err(error) => {
                        said.push(Said::NotChecked(what, error.told()));
                        continue;
                    }
                },
                _ => twice,
            };
            if twice.is_empty() {
                said.push(Said::Note(format!(
                    "table {table} is filled by {by} as well, from topic {}: its rows are not in the counts of this job, so \
                     `verify` needs `--edited {table}`",
                    topics.join(", ")
                )));
                continue;
            }
            let what = format!("{by} fills table {table} from topic {} too: each record comes twice", twice.join(", "));
            said.push(Said::Found(format!("target {table}: table"), CodedError::new(Code::LoadedTwice, what)));
        }
    }
    if !hidden.is_empty() {
        said.push(Said::NotChecked(what, format!("the control tables of {} may not be read", hidden.join(", "))));
    }
    said
}

/// Those of the topics that are the same: one of the same name may be of another cluster.
fn same_topics(
    other: &OtherJob,
    topics: Vec<String>,
    inspect: &mut dyn Inspect,
    log: &dyn Log,
) -> connectors::Result<Vec<String>> {
    let theirs = inspect.topics_of(other)?;
    let mut same = Vec::new();
    for topic in topics {
        let ours = log.topic_id(&topic)?.unwrap_or_default();
        let mut ids = theirs.iter().filter(|(name, _)| *name == topic).map(|(_, id)| id).peekable();
        // What it has not read yet it will read from where its job file says.
        if ids.peek().is_none() || ids.any(|id| same_topic(id, &ours)) {
            same.push(topic);
        }
    }
    Ok(same)
}

/// The targets that a plan of another job has as well. Pure.
fn shared(job: &Job, plan: &str) -> Result<Vec<Shared>, serde_json::Error> {
    let parts = serde_json::from_str::<Plan>(plan)?.parts;
    let topics_of = |wanted: &str| -> Vec<String> {
        let streams = parts.iter().filter_map(|part| match &part.means {
            Means::Stream { stream, topics } if stream == wanted => Some(topics.clone()),
            _ => None,
        });
        streams.flatten().collect()
    };
    let mut found = Vec::new();
    for part in &parts {
        let Means::Target { schema, table, stream } = &part.means else { continue };
        let table = TableName { schema: schema.clone(), table: table.clone() };
        let Some(ours) = job.targets.iter().find(|target| target.table == table) else { continue };
        let our_topics = job.streams.iter().filter(|s| s.name == ours.selection.stream).flat_map(|s| &s.topics);
        let our_topics: Vec<&String> = our_topics.collect();
        let topics = topics_of(stream);
        let twice = topics.iter().filter(|topic| our_topics.contains(topic)).cloned().collect();
        found.push(Shared { table, topics, twice });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_jobs_share() {
        let plan = r#"{"format":"tidegate plan 3","hash":"h","parts":[
            {"part":"stream s","sha256":"h","means":{"stream":"s","format":"json","topics":["a","b"],"columns":[]}},
            {"part":"target public.t","sha256":"h","means":{"schema":"public","table":"t","mode":"append","stream":"s","query":"q","columns":[]}}]}"#;
        let job = |topic: &str, table: &str| {
            crate::job::of_text(&format!(
                r#"version = 1
job = "j"
[kafka]
brokers = "b"
[[stream]]
name = "mine"
topic = "{topic}"
columns = [{{ name = "id", type = "bigint" }}]
[[target]]
table = "{table}"
query = "SELECT id FROM mine"
[staging]
url = "s3://b/p"
region = "r"
[redshift]
host = "h"
database = "d"
user = "u"
password = {{ env = "P" }}
iam_role = "arn:r"
"#
            ))
        };
        let found = |topic: &str, table: &str| shared(&job(topic, table), plan).unwrap();
        assert_eq!(found("a", "public.other"), []);
        let table = || TableName { schema: "public".into(), table: "t".into() };
        let topics = || vec!["a".to_string(), "b".to_string()];
        assert_eq!(found("c", "public.t"), [Shared { table: table(), topics: topics(), twice: vec![] }]);
        assert_eq!(found("b", "public.t"), [Shared { table: table(), topics: topics(), twice: vec!["b".into()] }]);
        assert!(shared(&job("a", "public.t"), "tidegate plan 9").is_err());
    }
}
