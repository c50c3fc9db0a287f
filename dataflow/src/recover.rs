//! Where a start begins: fence first, then read, then hold what was read against Kafka.

use std::collections::BTreeMap;

use checkpoint::{
    Cut, Micros, Nonce, TopicPartition,
    protocol::{self, Start},
};
use connectors::{AcquireOutcome, Acquired, Happened, Log, Warehouse};
use operators::{Failure, fetch::Place};

use crate::{
    error::{Code, Error, Result},
    job::Job,
    plan::Plan,
};

/// A start that may read and load.
pub struct Recovered {
    /// Its right, and where the manifest ends.
    pub acquired: Acquired,
    /// All partitions of the job, sorted, each where its first epoch begins.
    pub places: Vec<Place>,
}

/// How often a start repeats an acquire whose outcome it does not know.
const ACQUIRE_TRIES: u32 = 5;

/// Takes the fence and finds out from where to read.
pub fn recover(
    job: &Job,
    plan: &Plan,
    log: &dyn Log,
    warehouse: &mut dyn Warehouse,
    until_caught_up: bool,
) -> Result<Recovered> {
    // Before the fence: questions to Kafka may take long, and the fence is locked while it is taken.
    let starts = starts(job, log)?;
    let wanted = topics(job);
    let there: Vec<&str> = starts.keys().map(|partition| &*partition.topic).collect();
    let targets: Vec<String> = plan.targets.iter().map(|t| t.name()).collect();
    let acquired = acquire(warehouse, &mut |facts| {
        // What is missing by mistake is said below, once it is known that nothing worse is wrong.
        protocol::check_topics(&facts.cut, &wanted, &there)?;
        protocol::admit(facts, &starts, &targets, now(), &plan.hash)
    })?;
    let cut = &acquired.admitted.cut;
    let source = source_facts(job, log, cut)?;
    let seek = protocol::check_source(cut, &source)?;
    let places = seek.into_iter().map(|(partition, start)| {
        let stream =
            job.streams.iter().position(|s| s.topics.iter().any(|t| **t == *partition.topic)).unwrap_or_default();
        let facts = &source[&partition];
        Place {
            topic_id: facts.topic_id.clone(),
            stream,
            start,
            until: until_caught_up.then_some(facts.high),
            partition,
        }
    });
    let places: Vec<Place> = places.collect();
    Ok(Recovered { acquired, places })
}

/// Where each partition would begin if no epoch had read it. A topic that is not there has none, and is an error unless
/// the manifest knows it (which only the fence can tell).
fn starts(job: &Job, log: &dyn Log) -> Result<BTreeMap<TopicPartition, Start>> {
    let mut starts = BTreeMap::new();
    for (stream, topic) in job.streams.iter().flat_map(|s| s.topics.iter().map(move |topic| (s, topic))) {
        if log.partitions(topic)?.is_none() {
            continue;
        }
        let of_topic = log.starts(topic, stream.start)?;
        starts.extend(of_topic.into_iter().map(|(p, start)| (TopicPartition::new(topic.as_str(), p), start)));
    }
    Ok(starts)
}

/// Each try has a nonce of its own, so that a try whose outcome is not known is never mistaken for this one. A generation
/// may be burnt by it, which harms nobody.
fn acquire(warehouse: &mut dyn Warehouse, admit: connectors::Admit<'_>) -> Result<Acquired> {
    let mut tries = 0;
    loop {
        tries += 1;
        let nonce = Nonce::new(*uuid::Uuid::new_v4().as_bytes());
        return match warehouse.acquire(&nonce, admit) {
            Ok(AcquireOutcome::Acquired(acquired)) => Ok(acquired),
            Ok(AcquireOutcome::Halted(halt)) => Err(halt.into()),
            Ok(AcquireOutcome::Fenced { by }) => Err(Failure::Fenced { by }.into()),
            Err(error) if error.happened == Happened::Unknown && tries < ACQUIRE_TRIES => continue,
            Err(error) => Err(Error::of_tables(error)),
        };
    }
}

fn topics(job: &Job) -> Vec<&str> {
    job.streams.iter().flat_map(|stream| &stream.topics).map(String::as_str).collect()
}

/// What Kafka says of every partition of the job, and of the newest loaded record of each.
pub fn source_facts(job: &Job, log: &dyn Log, cut: &Cut) -> Result<BTreeMap<TopicPartition, protocol::SourceFacts>> {
    let mut facts = BTreeMap::new();
    let (wanted, mut there) = (topics(job), Vec::new());
    for topic in &wanted {
        if let Some(partitions) = log.partitions(topic)? {
            there.push(*topic);
            facts.extend(partitions.into_iter().map(|(p, f)| (TopicPartition::new(*topic, p), f)));
        }
    }
    let missing = protocol::check_topics(cut, &wanted, &there)?;
    if !missing.is_empty() {
        let missing: Vec<String> = missing.iter().map(|topic| format!("there is no topic {topic}")).collect();
        return Err(Error::new(Code::Names, missing.join("\n")));
    }
    for (partition, facts) in &mut facts {
        let Some(position) = cut.get(partition) else { continue };
        // Another topic, or a log that does not reach so far, is found without reading.
        let same = checkpoint::cut::same_topic(&facts.topic_id, &position.topic_id);
        if let Some(last) =
            position.last.as_ref().filter(|last| same && facts.low <= last.offset && last.offset < facts.high)
        {
            facts.last = log.record_at(partition, last.offset)?;
        }
    }
    Ok(facts)
}

fn now() -> Micros {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Micros(since.map_or(0, |d| d.as_micros() as i64))
}
