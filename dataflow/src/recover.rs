//! Where a start begins: everything that can be found out without the fence first, then the fence, then the tables in one snapshot
//! that is valid only with it, then what Kafka has of it.
//!
//! 1. *Unfenced, without effect*: the witnesses are listed, the tables read and admitted, Kafka is asked (after the cut was read,
//!    so that its low watermarks are not older than that). What is wrong here ends the start, and harms nobody.
//! 2. *The fence*: whoever holds it is waited for ([`crate::takeover`]); then one statement takes it.
//! 3. *One snapshot* whose fence row is exactly ours. Only what is in it counts; what step 1 read is thrown away.
//! 4. Topics that the cut does not know are announced, where Kafka says now that they begin; an ordinary load.

use std::{collections::BTreeMap, thread, time::Duration};

use checkpoint::{
    Cut, Generation, History, Nonce, TopicPartition,
    protocol::{self, Holder, Outcome, Range, Snapshot, SourceFacts, Start, TableFacts, Taken},
};
use connectors::{
    Fault, Happened, Load, LoadStep, Log, Objects, OpenSession, Process, Took, Warehouse,
    retry::{Policy, Retry},
};
use operators::{Failure, places::Place, time::now};
use tracing::{info, warn};

use crate::{
    again::{ACQUIRE, again},
    error::{Code, CodedError, Result},
    halts,
    job::Job,
    myself::myself,
    plan::{Change, Plan, changed},
    takeover::{self, TakeOver},
    witness,
};

/// A start that may read and load.
pub struct Recovered {
    /// Its right to load.
    pub holder: Holder,
    /// The fence id of the control tables.
    pub fence_id: String,
    /// Where it goes on.
    pub history: History,
    /// All partitions of the job, sorted, each where its first epoch begins.
    pub places: Vec<Place>,
}

/// How old a snapshot may be that the warehouse gives.
const STALE: Policy = Policy { within: Duration::from_secs(3), ..ACQUIRE };

/// How a start is to go about it.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    /// What is done about a process that holds the fence.
    pub take_over: TakeOver,
    /// Whether each place has an end.
    pub until_caught_up: bool,
}

/// Takes the fence and finds out from where to read.
pub fn recover(
    job: &Job,
    plan: &Plan,
    log: &dyn Log,
    objects: &dyn Objects,
    warehouse: &mut dyn Warehouse,
    manner: &Manner,
) -> Result<Recovered> {
    let targets: Vec<String> = plan.targets.iter().map(|target| target.name()).collect();
    let facts = look(job, log, objects, warehouse, plan, &targets)?;
    let (holder, facts) = acquire(job, objects, warehouse, &facts, &manner.take_over)?;
    let mut history = protocol::admit(&facts)?;
    if let Some((epoch, changes)) = again(|| changed(plan, warehouse))? {
        for Change { part, what } in changes {
            info!(
                event = "plan-changed",
                part,
                change = what,
                since_epoch = epoch.0,
                "{part}: {what} since epoch {epoch}"
            );
        }
    }
    again(|| warehouse.keep_plan(&plan.hash, &plan.text))?;
    // Kafka once more: what has been read so far may be older than the cut by now. Announcement and check go by the same look.
    let source = Source::ask(job, log, &history.cut)?;
    if let Some(record) = protocol::announcement(&history, &source.starts, &targets, now(), &plan.hash) {
        let link = history.link(record).map_err(|e| CodedError::new(Code::Bug, e.to_string()))?;
        let (first, digest) = (link.record.epoch, link.digest.clone());
        let range = Range { first, last: first, digest };
        let load = Load { holder: holder.clone(), range, links: vec![link], copies: Vec::new(), adopt: None };
        load_alone(warehouse, &load)?;
    }
    let seek = protocol::check_source(&history.cut, &source.facts)?;
    let places = seek.into_iter().map(|(partition, start)| {
        let reads = |s: &crate::job::StreamOptions| s.topics.iter().any(|t| **t == *partition.topic);
        let facts = &source.facts[&partition];
        Place {
            topic_id: facts.topic_id.clone(),
            stream: job.streams.iter().position(reads).unwrap_or_default(),
            start,
            leader_epoch: history.cut.get(&partition).and_then(|position| position.leader_epoch),
            until: manner.until_caught_up.then_some(facts.last_stable),
            partition,
        }
    });
    let places = places.collect();
    if manner.until_caught_up {
        say_held_up(&source.facts);
    }
    Ok(Recovered { holder, fence_id: facts.fence.fence_id, places, history })
}

/// Where reading ends at the start of a transaction that is open, more is in the topic than will be loaded.
fn say_held_up(facts: &BTreeMap<TopicPartition, SourceFacts>) {
    let mut held_up = facts.iter().filter(|(_, facts)| facts.last_stable < facts.high_watermark);
    let Some((TopicPartition { topic, partition }, SourceFacts { last_stable, high_watermark, .. })) = held_up.next()
    else {
        return;
    };
    let others = held_up.count();
    warn!(
        event = "held-up",
        topic = %topic,
        partition,
        offset = last_stable,
        others,
        "{topic}[{partition}] is held up at offset {last_stable} by an open transaction: nothing of it is read from there on, up to \
         offset {high_watermark}{}",
        if others == 0 { String::new() } else { format!("; {others} other partitions are held up too") }
    );
}

/// Everything that can be found out without the fence. Nothing of it has an effect.
fn look(
    job: &Job,
    log: &dyn Log,
    objects: &dyn Objects,
    warehouse: &mut dyn Warehouse,
    plan: &Plan,
    targets: &[String],
) -> Result<TableFacts> {
    let mut facts = look_at_tables(job, objects, warehouse)?;
    loop {
        let mut history = protocol::admit(&facts)?;
        let source = Source::ask(job, log, &history.cut)?;
        if let Some(record) = protocol::announcement(&history, &source.starts, targets, now(), &plan.hash) {
            history.link(record).map_err(|e| CodedError::new(Code::Bug, e.to_string()))?;
        }
        let Err(halt) = protocol::check_source(&history.cut, &source.facts) else { return Ok(facts) };
        // Beside a job that works the cut moves on, and retention after it: what is missing may long be loaded.
        let again = look_at_tables(job, objects, warehouse)?;
        if again.fence.next_epoch == facts.fence.next_epoch {
            return Err(halt.into());
        }
        facts = again;
    }
}

/// Reads the tables, and holds them against the witnesses. A snapshot may be a moment old, and then looks like one of restored
/// tables; so that is believed when it stays so.
pub fn look_at_tables(job: &Job, objects: &dyn Objects, warehouse: &mut dyn Warehouse) -> Result<TableFacts> {
    let mut retry = Retry::new(STALE);
    let witnesses = witness::list(job, objects)?;
    loop {
        let facts = again(|| warehouse.read())?;
        halts::found(facts.fence.generation);
        protocol::admit(&TableFacts { namespace: facts.fence.namespace.clone(), ..facts.clone() })?;
        match witness::check(job, &witnesses, &facts, warehouse) {
            Err(error) if error.code == Code::Witness => {
                if !retry.rest() {
                    return Err(error);
                }
            }
            result => return result.map(|()| facts),
        }
    }
}

/// Takes the fence as it was seen, and reads the snapshot that is valid with it. Puts a witness of it.
pub fn acquire(
    job: &Job,
    objects: &dyn Objects,
    warehouse: &mut dyn Warehouse,
    seen: &TableFacts,
    take_over: &TakeOver,
) -> Result<(Holder, TableFacts)> {
    let (holder, facts) = acquire_without_witness(warehouse, seen, take_over)?;
    // Before anything is loaded: what comes after it can be missed then, should the tables be restored to a moment before. Under
    // the fence id of the snapshot, which is the one that is ours.
    witness::put(job, objects, &facts, &holder)?;
    Ok((holder, facts))
}

/// The same without a witness, for tables that are about to get another fence id: in a clone the old one belongs to the original.
pub fn acquire_without_witness(
    warehouse: &mut dyn Warehouse,
    seen: &TableFacts,
    take_over: &TakeOver,
) -> Result<(Holder, TableFacts)> {
    let holder = take(warehouse, seen, take_over)?;
    let facts = snapshot(warehouse, &holder)?;
    Ok((holder, facts))
}

/// Records who we are, takes the fence, and says that we hold it.
fn take(warehouse: &mut dyn Warehouse, seen: &TableFacts, take_over: &TakeOver) -> Result<Holder> {
    let (process, nonce) = (myself(), Nonce::new(*uuid::Uuid::new_v4().as_bytes()));
    again(|| warehouse.record(&process, &nonce))?;
    let holder = take_as(warehouse, seen, &process, &nonce, take_over)?;
    halts::taken(holder.generation);
    again(|| warehouse.hold(&holder))?;
    Ok(holder)
}

/// Takes the fence, from whoever holds it.
fn take_as(
    warehouse: &mut dyn Warehouse,
    seen: &TableFacts,
    process: &Process,
    nonce: &Nonce,
    take_over: &TakeOver,
) -> Result<Holder> {
    let mut fence = seen.fence.clone();
    takeover::wait_for_holder(warehouse, &fence, process, take_over)?;
    let mut retry = Retry::new(ACQUIRE);
    loop {
        let from = fence.generation;
        let took = warehouse.take(from, &mut |step| say_if_queued(step, "the statement that takes the fence"));
        // Then it was ours, and whoever has it now has shut us out.
        let was_ours = matches!(took, Ok(Took::Yes));
        let error = match took {
            // Held by a load that is under way, longer than we wait: its process is stopped, or cut off, or slow beyond all.
            Ok(Took::Held) => {
                end_others(warehouse, from)?;
                None
            }
            Ok(Took::Yes | Took::No) => None,
            Err(error) if error.is_retriable() => Some(error),
            Err(error) => return Err(CodedError::of_tables(error)),
        };
        // Whatever was answered, the row says whose it is.
        let error = match warehouse.read() {
            // Shown from a moment before: once more. The same statement again takes nothing twice.
            Ok(facts) if facts.fence.generation < from && retry.elapsed() < STALE.within => None,
            Ok(facts) => match protocol::after_taking(from, nonce, &facts.fence)? {
                Taken::Ours(holder) => return Ok(holder),
                Taken::NotYet => error,
                Taken::Moved { by } if was_ours => return Err(Failure::Fenced { by }.into()),
                Taken::Moved { by } => {
                    info!(event = "overtaken", generation = by.0, "generation {by} took the fence before us");
                    fence = facts.fence;
                    takeover::wait_for_holder(warehouse, &fence, process, take_over)?;
                    retry = Retry::new(ACQUIRE);
                    continue;
                }
            },
            Err(error) if error.is_retriable() => Some(error),
            Err(error) => return Err(CodedError::of_tables(error)),
        };
        if !retry.rest() {
            return Err(match error {
                Some(error) => error.into(),
                None => CodedError::new(
                    Code::Unreachable,
                    "Redshift: the fence is held by a session that could not be ended",
                ),
            });
        }
    }
}

/// Ends what sessions of others there are, but for those of a newer generation than the one that is to be taken over.
fn end_others(warehouse: &mut dyn Warehouse, from: Generation) -> Result<()> {
    let others = again(|| warehouse.sessions())?.unwrap_or_default();
    let older: Vec<OpenSession> =
        others.into_iter().filter(|other| other.generation.is_none_or(|generation| generation <= from)).collect();
    for OpenSession { process, pid, .. } in &older {
        let (host, id) = (&process.host, process.id);
        warn!(
            event = "session-ended",
            host,
            process = id,
            "ending session {pid} of process {id} on {host}, which holds the fence"
        );
    }
    again(|| warehouse.end(&older))
}

/// Reads until the snapshot is valid with our fence.
fn snapshot(warehouse: &mut dyn Warehouse, holder: &Holder) -> Result<TableFacts> {
    let mut retry = Retry::new(ACQUIRE);
    loop {
        let error = match warehouse.read() {
            Ok(facts) => match protocol::check_snapshot(holder, &facts.fence)? {
                Snapshot::Valid => return Ok(facts),
                Snapshot::Fenced { by } => return Err(Failure::Fenced { by }.into()),
                Snapshot::Older => None,
            },
            Err(error) if error.is_retriable() => Some(error),
            Err(error) => return Err(CodedError::of_tables(error)),
        };
        if !retry.rest() {
            return Err(match error {
                Some(error) => error.into(),
                None => CodedError::new(Code::Unreachable, "Redshift shows tables that are older than our fence"),
            });
        }
    }
}

fn say_if_queued(step: LoadStep, what: &str) {
    if step == LoadStep::Queued {
        info!(event = "queued", "Redshift has queued {what}, nobody is in the way");
    }
}

/// Loads an epoch that has no rows, however often it takes.
pub fn load_alone(warehouse: &mut dyn Warehouse, load: &Load) -> Result<()> {
    let mut retry = Retry::new(ACQUIRE);
    loop {
        let mut result = warehouse.load(load, &mut |step| say_if_queued(step, "the load"));
        while let Err(error) = &result
            && error.happened == Happened::Unknown
        {
            let (doing, why) = ("recording an epoch without rows", error.told());
            warn!(event = "retrying", doing, why, "the answer to COMMIT is lost: {why}");
            result = warehouse.resolve(&load.holder, &load.range).map_err(connectors::Error::unknown);
            match result.as_ref().err().map(|error| retry.after(error)) {
                Some(Some(pause)) => thread::sleep(pause),
                Some(None) => break,
                None => {}
            }
        }
        let failed = match result {
            Ok(Outcome::Committed) => return Ok(()),
            Ok(Outcome::NotCommitted) => connectors::Error::new(Fault::Outage, "its transaction was rolled back"),
            Ok(Outcome::Fenced { by }) => return Err(Failure::Fenced { by }.into()),
            Ok(Outcome::Halt(halt)) => return Err(halt.into()),
            Err(error) => error,
        };
        let pause = if failed.happened == Happened::No { retry.after(&failed) } else { None };
        let Some(pause) = pause else { return Err(failed.into()) };
        thread::sleep(pause);
    }
}

/// What Kafka says of the topics of a job.
pub struct Source {
    /// The facts of every partition, and of its newest loaded record.
    pub facts: BTreeMap<TopicPartition, SourceFacts>,
    /// Where each partition of a topic that the cut does not know begins.
    pub starts: BTreeMap<TopicPartition, Start>,
}

impl Source {
    /// Asks. `cut` was read before, so nothing that is said is older than it.
    pub fn ask(job: &Job, log: &dyn Log, cut: &Cut) -> Result<Source> {
        let mut starts = BTreeMap::new();
        for (stream, topic) in job.streams.iter().flat_map(|s| s.topics.iter().map(move |topic| (s, topic))) {
            if cut.knows_topic(topic) || log.partitions(topic)?.is_none() {
                continue;
            }
            let of_topic = log.starts(topic, stream.start)?;
            starts.extend(of_topic.into_iter().map(|(p, start)| (TopicPartition::new(topic.as_str(), p), start)));
        }
        let facts = source_facts(job, log, cut)?;
        // Retention goes on between the two answers. Nobody has read these partitions yet, so they begin where the later one says.
        for (partition, start) in &mut starts {
            start.offset = facts.get(partition).map_or(start.offset, |facts| start.offset.max(facts.low));
        }
        Ok(Source { facts, starts })
    }
}

fn topics(job: &Job) -> Vec<&str> {
    job.streams.iter().flat_map(|stream| &stream.topics).map(String::as_str).collect()
}

/// What Kafka says of every partition of the job, and of the newest loaded record of each.
pub fn source_facts(job: &Job, log: &dyn Log, cut: &Cut) -> Result<BTreeMap<TopicPartition, SourceFacts>> {
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
        return Err(CodedError::new(Code::Names, missing.join("\n")));
    }
    let mut asked = Vec::new();
    for (partition, facts) in &facts {
        let Some(position) = cut.get(partition) else { continue };
        // Another topic, or a log that does not reach so far, is found without reading.
        let same = checkpoint::cut::same_topic(&facts.topic_id, &position.topic_id);
        let last =
            position.last.as_ref().filter(|last| same && facts.low <= last.offset && last.offset < facts.last_stable);
        asked.extend(last.map(|last| (partition.clone(), last.offset)));
    }
    for ((partition, _), found) in asked.iter().zip(log.records_at(&asked)?) {
        if let Some(facts) = facts.get_mut(partition) {
            facts.last = found;
        }
    }
    Ok(facts)
}
