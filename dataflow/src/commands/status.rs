//! `tidegate status`: where a job stands, by its control tables and the ends of its topics.
//!
//! **Complete up to.** Kafka is asked before what is loaded is read. Where all that it has by then is loaded, that is up to the moment of
//! the question. Where records wait, the oldest of them was put into its partition at its timestamp or later, unless its producer's
//! clock is ahead; so the tables have what was there up to that timestamp. Kafka takes timestamps that are up to an hour ahead. One that is
//! yet to come proves such a clock. One that is held up, and later than the close of the newest epoch, may come of one, unless that epoch
//! read its partition right up to it: what a transaction holds up may have been there for many epochs. Then nothing is known. (A running
//! job knows better: it remembers what Kafka said when.)

use std::collections::{BTreeMap, BTreeSet};

use checkpoint::{
    Cut, History, Micros, TopicPartition,
    protocol::{self, Halt, SourceFacts},
};
use connectors::{HaltNote, Log, OpenSession, inspect::EpochSummary};
use operators::time::now;
use serde::Serialize;

use super::output::{counted, json_line, print, print_escaped};
use crate::{
    error::{CodedError, Result},
    job::{self, Job},
    ports,
};

/// How many partitions of a topic are named that are held up.
const HELD_UP_SHOWN: usize = 5;

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
    let job = job::look(&arguments.job, &[job::System::Kafka, job::System::Redshift])?;
    let shown = status(&job, arguments.json)?;
    if arguments.json {
        print_escaped(&shown)
    } else {
        print(&shown)
    };
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
    complete_up_to: Option<String>,
    loaded_at: Option<String>,
    dead_letters: u64,
    lag_offsets: Option<u64>,
    topics: Vec<TopicLine<'a>>,
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
struct TopicLine<'a> {
    topic: &'a str,
    partitions: usize,
    /// Offsets between the cut and the high watermarks; `None` if Kafka did not say.
    lag_offsets: Option<u64>,
    held_up: Vec<HeldUpLine>,
    problem: Option<String>,
}

/// A partition that an open transaction holds up.
#[derive(Serialize)]
struct HeldUpLine {
    partition: i32,
    /// Where it begins.
    offset: i64,
    /// The timestamp of its first record; `None` if that is not known, or yet to come.
    #[serde(serialize_with = "told")]
    since: Option<Micros>,
    /// Whether that timestamp is yet to come.
    clock_is_ahead: bool,
}

fn told<S: serde::Serializer>(at: &Option<Micros>, to: S) -> Result<S::Ok, S::Error> {
    at.map(|at| at.to_string()).serialize(to)
}

/// Where a job stands, by its control tables and the ends of its topics; for a person, or as one object.
fn status(job: &Job, json: bool) -> Result<String> {
    let mut inspect = ports::inspect(job)?;
    let standing = inspect.standing().map_err(CodedError::of_tables)?;
    let log = ports::kafka(job, 1)?;
    let asked_at = now();
    let names = job.streams.iter().flat_map(|s| &s.topics).map(String::as_str);
    let said = ask(&log, names);
    // What is wrong with the tables is shown, and so is the halt that it led to.
    let tables = ports::warehouse(job)?.read().map_err(CodedError::of_tables)?;
    let admitted = protocol::admit(&tables);
    let in_the_newest =
        tables.spans.iter().filter(|(epoch, span)| epoch.next() == tables.fence.next_epoch && span.start < span.end);
    let moved: BTreeSet<&TopicPartition> = in_the_newest.map(|(_, span)| &span.partition).collect();
    let newest = inspect.epochs(1)?.pop();
    let topics: Vec<TopicFacts> =
        said.into_iter().map(|(topic, said)| topic_facts(&log, topic, said, &admitted, &moved)).collect();
    let complete_up_to = newest.as_ref().and_then(|epoch| complete_up_to(asked_at, epoch.closed_at, &topics));
    let topics: Vec<TopicLine> = topics.into_iter().map(|topic| topic_line(topic, asked_at)).collect();
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
            since: note.since.to_string(),
            host: &note.process.host,
            process: note.process.id,
            reason: &note.reason,
        }),
        last_epoch: newest.as_ref().map(|e| e.epoch),
        complete_up_to: complete_up_to.map(|at| at.to_string()),
        loaded_at: newest.as_ref().map(|e| e.loaded_at.to_string()),
        dead_letters: standing.dead_letters,
        lag_offsets: lags.map(|lags| lags.iter().sum()),
        topics,
    };
    if json {
        return json_line(&line);
    }
    let mut text =
        format!("job {}: generation {}, fence moved at {:.0}\n", line.job, line.generation, standing.changed_at);
    text += &match &newest {
        Some(EpochSummary { epoch, loaded_at, .. }) => format!("last epoch {epoch}: loaded at {loaded_at:.0}\n"),
        None => "nothing was loaded yet\n".to_string(),
    };
    text += &match complete_up_to {
        Some(at) => format!("complete up to {at:.0}\n"),
        None => "up to when the tables are complete is not known\n".to_string(),
    };
    if let Some(HaltNote { since, process, reason, .. }) = halt {
        text += &format!(
            "halted since {since:.0}, process {} on {}:\n  {}\n",
            process.id,
            process.host,
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
    text.extend(line.topics.iter().map(TopicLine::text));
    Ok(text)
}

impl TopicLine<'_> {
    /// For a person: a line, and one for each partition that is held up, of which only the first few are shown.
    fn text(&self) -> String {
        let TopicLine { topic, partitions, lag_offsets, held_up, problem } = self;
        let mut text = match lag_offsets {
            Some(lag) => {
                let (partitions, lag) = (counted(*partitions as u64, "partition"), counted(*lag, "offset"));
                format!("topic {topic}: {partitions}, {lag} not loaded\n")
            }
            None => String::new(),
        };
        for HeldUpLine { partition, offset, since, clock_is_ahead } in held_up.iter().take(HELD_UP_SHOWN) {
            let since = match since {
                Some(since) => format!(" since {since:.0}"),
                None if *clock_is_ahead => "; the clock of its producer is ahead".into(),
                None => String::new(),
            };
            text +=
                &format!("  {topic}[{partition}] is held up at offset {offset} by a transaction that is open{since}\n");
        }
        if held_up.len() > HELD_UP_SHOWN {
            text += &format!("  and {} more partitions\n", held_up.len() - HELD_UP_SHOWN);
        }
        text + &problem.as_ref().map_or(String::new(), |problem| format!("topic {topic}: {problem}\n"))
    }
}

fn sessions(number: usize) -> String {
    if number == 1 { "1 session of the job is".into() } else { format!("{number} sessions of the job are") }
}

/// What Kafka says of a topic, by partition; or why nothing is known of it.
type Said = Result<BTreeMap<i32, SourceFacts>, String>;

/// Asks for topics. Brokers that are away are waited for once, and not for each topic.
fn ask<'a>(log: &dyn Log, topics: impl Iterator<Item = &'a str>) -> Vec<(&'a str, Said)> {
    let mut away: Option<String> = None;
    let mut ends = |topic| match &away {
        Some(why) => Err(why.clone()),
        None => match log.partitions(topic) {
            Ok(Some(partitions)) => Ok(partitions),
            Ok(None) => Err("there is no such topic".into()),
            Err(error) => {
                let why = format!("unknown: {}", error.told());
                away = error.is_retriable().then(|| why.clone());
                Err(why)
            }
        },
    };
    topics.map(|topic| (topic, ends(topic))).collect()
}

/// A topic against what is loaded of it.
struct TopicFacts<'a> {
    topic: &'a str,
    partitions: Vec<PartitionLag>,
    /// Why not all is known.
    problem: Option<String>,
}

/// A partition against what is loaded of it.
#[derive(Default)]
struct PartitionLag {
    partition: i32,
    unloaded: u64,
    /// The timestamp of the first record that is not loaded.
    waits_since: Option<Micros>,
    /// Where an open transaction begins, and the timestamp of its first record.
    held_up: Option<(i64, Option<Micros>)>,
    /// Whether the newest epoch has something of it.
    moved: bool,
}

fn topic_facts<'a>(
    log: &dyn Log,
    topic: &'a str,
    said: Said,
    admitted: &Result<History, Halt>,
    moved: &BTreeSet<&TopicPartition>,
) -> TopicFacts<'a> {
    let none = |problem| TopicFacts { topic, partitions: Vec::new(), problem: Some(problem) };
    let said = match said {
        Ok(said) => said,
        Err(problem) => return none(problem),
    };
    let cut = match admitted {
        Ok(history) => &history.cut,
        Err(halt) => return none(CodedError::from(halt.clone()).line()),
    };
    let loaded = |partition: i32, facts: &SourceFacts| loaded_up_to(cut, &TopicPartition::new(topic, partition), facts);
    // Of each partition at most two records are asked for: where it stands, and where it is held up.
    let mut asked = Vec::new();
    for (partition, facts) in &said {
        let at = loaded(*partition, facts);
        let waits = (at < facts.high_watermark).then_some(at);
        let held_up = (facts.last_stable < facts.high_watermark && facts.last_stable > at).then_some(facts.last_stable);
        asked.extend(waits.into_iter().chain(held_up).map(|offset| (TopicPartition::new(topic, *partition), offset)));
    }
    let (firsts, problem) = match log.first_timestamps(&asked) {
        Ok(firsts) => (firsts, None),
        Err(error) => (vec![None; asked.len()], Some(format!("unknown how old its records are: {}", error.told()))),
    };
    let first = |partition: i32, offset: i64| {
        let at = asked.iter().position(|(p, o)| (p.partition, *o) == (partition, offset))?;
        Micros::from_millis(firsts.get(at).copied().flatten()?)
    };
    let lag = |(partition, facts): (i32, SourceFacts)| {
        let at = loaded(partition, &facts);
        // The tables were read after Kafka was asked: a transaction of which records are loaded is at its end.
        let is_held_up = facts.last_stable < facts.high_watermark && at <= facts.last_stable;
        PartitionLag {
            partition,
            unloaded: (facts.high_watermark - at).max(0) as u64,
            waits_since: first(partition, at),
            held_up: is_held_up.then(|| (facts.last_stable, first(partition, facts.last_stable))),
            moved: moved.contains(&TopicPartition::new(topic, partition)),
        }
    };
    TopicFacts { topic, partitions: said.into_iter().map(lag).collect(), problem }
}

/// Up to which offset a partition is loaded.
fn loaded_up_to(cut: &Cut, partition: &TopicPartition, facts: &SourceFacts) -> i64 {
    cut.get(partition).map_or(facts.low, |position| position.end).max(facts.low)
}

/// Up to when the tables have all that was in these topics; `None` where it is not known of one. They cannot have what came after their
/// newest epoch was closed, unless that is nothing.
fn complete_up_to(asked_at: Micros, closed_at: Micros, topics: &[TopicFacts<'_>]) -> Option<Micros> {
    let of_partition = |partition: &PartitionLag| {
        if partition.unloaded == 0 {
            return Some(asked_at);
        }
        let since = partition.waits_since?;
        let may_be_older = partition.held_up.is_some() && since >= closed_at && !partition.moved;
        (since <= asked_at && !may_be_older).then(|| since.min(closed_at))
    };
    let mut least = asked_at;
    for topic in topics {
        if topic.partitions.is_empty() {
            return None;
        }
        for partition in &topic.partitions {
            least = least.min(of_partition(partition)?);
        }
    }
    Some(least)
}

fn topic_line(facts: TopicFacts<'_>, asked_at: Micros) -> TopicLine<'_> {
    let TopicFacts { topic, partitions, problem } = facts;
    let held_up = partitions.iter().filter_map(|lag| {
        let (offset, since) = lag.held_up?;
        let clock_is_ahead = since.is_some_and(|since| since > asked_at);
        let since = since.filter(|_| !clock_is_ahead);
        Some(HeldUpLine { partition: lag.partition, offset, since, clock_is_ahead })
    });
    TopicLine {
        topic,
        partitions: partitions.len(),
        lag_offsets: (!partitions.is_empty()).then(|| partitions.iter().map(|lag| lag.unloaded).sum()),
        held_up: held_up.collect(),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_up_to_the_oldest_record_that_waits() {
        let (asked, closed) = (Micros(100), Micros(90));
        let loaded = || PartitionLag::default();
        let waits = |since| PartitionLag { unloaded: 1, waits_since: since, ..PartitionLag::default() };
        let held_up = |since| PartitionLag { held_up: Some((7, Some(since))), ..waits(Some(since)) };
        for (partitions, expected) in [
            (vec![loaded(), loaded()], Some(100)),
            (vec![loaded(), waits(Some(Micros(70))), waits(Some(Micros(80)))], Some(70)),
            (vec![loaded(), waits(Some(Micros(95)))], Some(90)),
            (vec![loaded(), held_up(Micros(70))], Some(70)),
            // A producer whose clock is ahead, or may be: the record may have been there for long when the newest epoch was closed.
            (vec![loaded(), waits(Some(Micros(101)))], None),
            (vec![loaded(), held_up(Micros(101))], None),
            (vec![loaded(), held_up(Micros(95))], None),
            (vec![loaded(), PartitionLag { moved: true, ..held_up(Micros(95)) }], Some(90)),
            (vec![loaded(), waits(None)], None),
            (vec![], None),
        ] {
            let topics = [TopicFacts { topic: "t", partitions, problem: None }];
            assert_eq!(complete_up_to(asked, closed, &topics), expected.map(Micros));
        }
    }

    #[test]
    fn nothing_is_held_up_since_a_time_yet_to_come() {
        let text = |since| {
            let partition = PartitionLag { unloaded: 1, held_up: Some((7, since)), ..PartitionLag::default() };
            let facts = TopicFacts { topic: "t", partitions: vec![partition], problem: None };
            topic_line(facts, Micros(3_000_000)).text().lines().nth(1).unwrap_or_default().to_string()
        };
        let held = "  t[0] is held up at offset 7 by a transaction that is open";
        assert_eq!(text(Some(Micros(2_000_000))), format!("{held} since 1970-01-01T00:00:02Z"));
        assert_eq!(text(Some(Micros(3_600_000_000))), format!("{held}; the clock of its producer is ahead"));
        assert_eq!(text(None), held);
    }
}
