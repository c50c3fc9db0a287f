//! `tidegate status`: where a job stands, by its control tables and the ends of its topics.

use checkpoint::{
    History, Micros, TopicPartition,
    protocol::{self, Halt},
};
use connectors::{HaltNote, Log, OpenSession};
use serde::Serialize;

use super::output::print;
use crate::{
    error::{Code, CodedError, Result},
    job::{self, Job},
    ports,
};

/// Show where a job stands: what is loaded, how far the topics are ahead of it, and why it halted, if it did.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The job file.
    job: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    print(&status(&job::load(&arguments.job)?, arguments.json)?);
    Ok(())
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
fn status(job: &Job, json: bool) -> Result<String> {
    let mut inspect = ports::inspect(job)?;
    let standing = inspect.standing().map_err(CodedError::of_tables)?;
    // What is wrong with the tables is shown, and so is the halt that it led to.
    let admitted = protocol::admit(&ports::warehouse(job)?.read().map_err(CodedError::of_tables)?);
    let newest = inspect.epochs(1)?.pop();
    let log = ports::kafka(job, 1)?;
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
        let text = serde_json::to_string(&line).map_err(|e| CodedError::new(Code::Bug, e.to_string()))?;
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

/// A time as text, to the second.
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
        Err(halt) => return none(CodedError::from(halt.clone()).causes().join(": ")),
    };
    let lag = partitions.iter().map(|(number, facts)| {
        let at = cut.get(&TopicPartition::new(topic, *number)).map_or(facts.low, |position| position.end);
        (facts.high - at).max(0) as u64
    });
    TopicLine { topic: topic.into(), partitions: partitions.len(), lag_offsets: Some(lag.sum()), problem: None }
}
