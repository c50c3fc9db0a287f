//! What a person decides after a halt: that a range of offsets is passed over, that a topic is another one by now, or that the tables
//! belong to this database.
//!
//! Each is an epoch without rows, of a kind of its own, with who, when and why: part of the digest like all others, so nobody can
//! take it back unseen. It takes a generation of its own, so whatever still runs somewhere is shut out; and it is refused while a
//! process of the job has a session open, because what a halt is about is not decided beside one that works.

use std::collections::BTreeMap;

use checkpoint::{
    Decision, Epoch, EpochRecord, History, Kind, Link, Span, TopicPartition,
    protocol::{self, Fence, Range, SourceFacts, TableFacts},
    witness::Home,
};
use connectors::{Adoption, Load, Log};
use operators::time::now;

use crate::{
    error::{Code, CodedError, Result},
    job::{Job, StreamOptions},
    myself::myself,
    ports,
    preflight::preflight,
    recover::{acquire, acquire_without_witness, load_alone, look_at_tables},
    takeover::{self, TakeOver},
    witness,
};

/// How long the column is that says who.
const BY_BYTES: usize = 256;
/// How long the column is that says why.
const WHY_BYTES: usize = 1024;

/// A decision of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accept {
    /// Records of a partition are lost, or are to be left out: offsets `from..to` are passed over.
    Loss {
        /// The partition.
        partition: TopicPartition,
        /// Where it stands.
        from: i64,
        /// Where it is to go on.
        to: i64,
    },
    /// A topic of this name is another one than the one that was read.
    NewSource {
        /// Its name.
        topic: String,
        /// Whether it has the same records at the same offsets, as a mirror has: then it is read on where the old one was left.
        keep_offsets: bool,
    },
}

/// What a person says about a decision.
pub struct Person<'a> {
    /// Why, at most [`WHY_BYTES`] long.
    pub why: &'a str,
    /// Whether it is to be done, and not only said.
    pub confirmed: bool,
    /// That no process runs, where that cannot be seen.
    pub nobody_runs: bool,
}

impl<'a> Person<'a> {
    /// Why must fit into its column.
    pub fn new(why: &'a str, confirmed: bool, nobody_runs: bool) -> Result<Person<'a>> {
        match why.len() <= WHY_BYTES {
            true => Ok(Person { why, confirmed, nobody_runs }),
            false => {
                Err(CodedError::new(Code::Usage, format!("--why has {} bytes, and may have {WHY_BYTES}", why.len())))
            }
        }
    }

    fn manner(&self) -> TakeOver {
        TakeOver::Never { unseen: self.nobody_runs }
    }
}

/// What a decision comes to.
#[derive(Debug, PartialEq, Eq)]
pub struct Decided {
    kind: Kind,
    spans: Vec<Span>,
    /// In words, one thing a line.
    pub text: String,
}

/// What the decision would do, given where the tables and the topic stand now. Pure but for the questions to Kafka.
fn decide(job: &Job, accept: &Accept, history: &History, log: &dyn Log) -> Result<Decided> {
    let usage = |what: String| Err(CodedError::new(Code::Usage, what));
    match accept {
        Accept::Loss { partition, from, to } => {
            let (topic, number) = (&partition.topic, partition.partition);
            stream_of(job, topic)?;
            if !history.cut.knows_topic(topic) {
                return usage(format!(
                    "--partition {topic}/{number}: no epoch has read topic {topic}, so it begins where `start` of its stream says"
                ));
            }
            let position = history.cut.get(partition);
            let stands = position.map_or(0, |position| position.end);
            if *from != stands {
                return usage(format!("--from {from}: {partition} stands at offset {stands}; write --from {stands}"));
            }
            if to <= from {
                return usage(format!("--to {to}: it must be above --from {from}"));
            }
            let facts = log.partitions(topic)?.and_then(|partitions| partitions.get(&number).cloned());
            let Some(facts) = facts else {
                return usage(format!("--partition {partition}: there is no such partition"));
            };
            if *to > facts.last_stable {
                return usage(format!("--to {to}: it must be at most {}, where {partition} ends", facts.last_stable));
            }
            let topic_id = position.map_or(facts.topic_id, |position| position.topic_id.clone());
            let span =
                Span { partition: partition.clone(), topic_id, start: *from, end: *to, leader_epoch: None, last: None };
            let text = format!("{partition}: offsets {from} to {} are passed over and never loaded\n", to - 1);
            Ok(Decided { kind: Kind::Loss, spans: vec![span], text })
        }
        Accept::NewSource { topic, keep_offsets } => {
            let stream = stream_of(job, topic)?;
            if !history.cut.knows_topic(topic) {
                return usage(format!("--topic {topic}: no epoch has read it, so it begins where the job file says"));
            }
            let Some(partitions) = log.partitions(topic)? else {
                return Err(CodedError::new(Code::Names, format!("there is no topic {topic}")));
            };
            let known = |number| history.cut.get(&TopicPartition::new(topic.as_str(), number));
            let is_same = |(number, facts): (&i32, &SourceFacts)| {
                known(*number).is_some_and(|position| !facts.topic_id.is_empty() && position.topic_id == facts.topic_id)
            };
            if !keep_offsets && partitions.iter().any(is_same) {
                return usage(format!(
                    "--topic {topic}: it is the topic that was read; from its beginning its records would be loaded twice; \
                     --keep-offsets goes on where it stands"
                ));
            }
            let starts = if *keep_offsets { BTreeMap::new() } else { log.starts(topic, stream.start)? };
            let (mut spans, mut text) = (Vec::new(), String::new());
            for (number, facts) in partitions {
                let partition = TopicPartition::new(topic.as_str(), number);
                let stood = history.cut.get(&partition).map(|position| position.end);
                let start = match starts.get(&number) {
                    Some(start) => start.offset.max(facts.low),
                    // Where both logs agree: not past the end of the new one, and not before its beginning.
                    None => stood.unwrap_or(0).min(facts.last_stable).max(facts.low),
                };
                let before = stood.map_or("was not there".into(), |stood| format!("stood at offset {stood}"));
                text += &format!("{partition}: {before}, goes on at offset {start} of the new topic\n");
                if let Some(stood) = stood.filter(|stood| *keep_offsets && *stood < start) {
                    text +=
                        &format!("{partition}: offsets {stood} to {} are passed over and never loaded\n", start - 1);
                }
                let topic_id = facts.topic_id;
                spans.push(Span { partition, topic_id, start, end: start, leader_epoch: None, last: None });
            }
            let gone = history
                .cut
                .iter()
                .filter(|(p, _)| *p.topic == **topic && !spans.iter().any(|span| span.partition == **p));
            gone.for_each(|(partition, _)| text += &format!("{partition}: is not there any more, and is forgotten\n"));
            text += "rows that were loaded from the old topic stay in the targets\n";
            Ok(Decided { kind: Kind::NewSource, spans, text })
        }
    }
}

fn stream_of<'j>(job: &'j Job, topic: &str) -> Result<&'j StreamOptions> {
    let stream = job.streams.iter().find(|stream| stream.topics.iter().any(|t| t == topic));
    stream.ok_or_else(|| {
        CodedError::new(
            Code::Usage,
            format!("no stream of the job reads topic {topic}; the job file must name it first"),
        )
    })
}

/// Says what the decision does; and does it, if it is confirmed.
pub fn accept(job: &Job, accept: &Accept, person: &Person<'_>, say: &mut dyn FnMut(&str)) -> Result<()> {
    let log = ports::kafka(job, 1)?;
    let objects = ports::staging(job)?;
    let mut warehouse = ports::warehouse(job)?;
    let facts = look_at_tables(job, &objects, &mut *warehouse)?;
    let manner = person.manner();
    takeover::wait_for_holder(&mut *warehouse, &facts.fence, &myself(), &manner)?;
    let decided = decide(job, accept, &protocol::admit(&facts)?, &log)?;
    say(&decided.text);
    if !person.confirmed {
        return Err(CodedError::new(Code::Unconfirmed, ""));
    }
    let (holder, facts) = acquire(job, &objects, &mut *warehouse, &facts, &manner)?;
    let mut history = protocol::admit(&facts)?;
    // Once more, from the tables as they are after the fence: they decide, not what was said before.
    let Decided { kind, spans, .. } = decide(job, accept, &history, &log)?;
    let link = link(&mut history, kind, spans, by(person.why, Vec::new()))?;
    load_alone(&mut *warehouse, &load(holder, link, None))?;
    say("recorded; start the job again\n");
    Ok(())
}

/// Makes the control tables those of the database that they are in, under a new fence id; the cut stays as it is.
pub fn adopt(job: &Job, person: &Person<'_>) -> Result<Adopted> {
    let objects = ports::staging(job)?;
    let mut warehouse = ports::warehouse(job)?;
    let witnesses = witness::list(job, &objects)?.witnesses;
    let facts = warehouse.read().map_err(CodedError::of_tables)?;
    let old = facts.fence.fence_id.clone();
    // Only the name of the database may be another one; whatever else is wrong stays wrong.
    admit_here(&facts)?;
    let home = witness::home(job, &facts);
    // Nobody knows where a witness is from that cannot be understood. It would halt each start, so it is adopted as well.
    let is_here =
        |body: &[u8]| Home::from_body(body).is_ok_and(|there| there.is(&home)) || Home::from_body(body).is_err();
    let of_here = witnesses.iter().filter(|w| w.fence_id != old && is_here(&w.body));
    let mut adopted = vec![old.clone()];
    adopted.extend(of_here.map(|witness| witness.fence_id.clone()));
    preflight(job, &[], &objects, &mut *warehouse)?;
    let (holder, facts) = acquire_without_witness(&mut *warehouse, &facts, &person.manner())?;
    let mut history = admit_here(&facts)?;
    let fence_id = uuid::Uuid::new_v4().to_string();
    let link = link(&mut history, Kind::Adopt, Vec::new(), by(person.why, adopted))?;
    let epoch = link.record.epoch;
    let adoption = Adoption { fence_id: fence_id.clone(), namespace: facts.namespace.clone() };
    load_alone(&mut *warehouse, &load(holder.clone(), link, Some(adoption)))?;
    let fence = Fence { fence_id: fence_id.clone(), ..facts.fence.clone() };
    witness::put(job, &objects, &TableFacts { fence, ..facts }, &holder)?;
    Ok(Adopted { epoch, fence_id, instead_of: old })
}

/// What an adoption came to.
#[derive(Debug, serde::Serialize)]
pub struct Adopted {
    /// The first epoch under the new fence id.
    #[serde(serialize_with = "number")]
    pub epoch: Epoch,
    /// The new fence id.
    pub fence_id: String,
    /// The old one.
    pub instead_of: String,
}

fn number<S: serde::Serializer>(epoch: &Epoch, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(epoch.0)
}

/// The tables, whatever database they say they were made in.
fn admit_here(facts: &TableFacts) -> Result<History> {
    Ok(protocol::admit(&TableFacts { namespace: facts.fence.namespace.clone(), ..facts.clone() })?)
}

fn by(why: &str, adopted: Vec<String>) -> Decision {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "somebody".into());
    let by = format!("{user}@{}", myself().host);
    Decision { by: by[..by.floor_char_boundary(BY_BYTES)].into(), why: why.into(), adopted }
}

fn link(history: &mut History, kind: Kind, spans: Vec<Span>, decision: Decision) -> Result<Link> {
    let record = EpochRecord {
        epoch: history.next_epoch,
        kind,
        closed_at: now(),
        watermark: None,
        plan: String::new(),
        spans,
        decision: Some(decision),
        counts: BTreeMap::new(),
    };
    history.link(record).map_err(|e| CodedError::new(Code::Bug, e.to_string()))
}

fn load(holder: protocol::Holder, link: Link, adopt: Option<Adoption>) -> Load {
    let (first, digest) = (link.record.epoch, link.digest.clone());
    Load { holder, range: Range { first, last: first, digest }, links: vec![link], copies: Vec::new(), adopt }
}
