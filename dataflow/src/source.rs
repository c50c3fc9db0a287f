//! Watches the topics of a running job: how far they go, whether they grew, and whether they are still the same ones.
//!
//! Reading does not notice that. A topic that is gone looks like one to which nothing comes, and in one that was made anew a
//! consumer goes on where it stood in the old one. (No epoch with such records is loaded: load asks as well. Here it is seen
//! when nothing is read.)

use std::{
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use checkpoint::{
    Micros, TopicPartition,
    protocol::{self, Halt, SourceFacts},
};
use connectors::Log;
use operators::{
    Failure,
    ending::{Ending, Reason},
    events::{Event, Task},
    failure::fail,
    outage::OUTAGE_WITHIN,
    places::Place,
    time::now,
};

use crate::{
    error::Result,
    process::spawn,
    report::{Report, partition::Ends},
};

/// How often Kafka is asked.
const EVERY: Duration = Duration::from_secs(5);
/// How many looks in a row a topic must be gone until that is believed: a broker that has just started may not know it yet.
const GONE_AFTER_LOOKS: u32 = 5;

/// A topic as the run knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    id: String,
    partitions: usize,
}

/// What a look at a topic shows, beside its end.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Same,
    Grew,
    /// Not there. It may only seem so.
    Gone,
}

/// Pure: what Kafka says of a topic, against what is known of it.
fn look(topic: &Arc<str>, known: &Known, found: Option<&BTreeMap<i32, SourceFacts>>) -> Result<Seen, Halt> {
    let Some(found) = found else { return Ok(Seen::Gone) };
    for facts in found.values() {
        protocol::check_topic(topic, &known.id, &facts.topic_id)?;
    }
    Ok(if found.len() > known.partitions { Seen::Grew } else { Seen::Same })
}

/// Asks Kafka now and then. When a topic has more partitions, or is gone, the job is drained and ends with that: what was read is
/// loaded. When one is another the process ends.
pub fn watch(places: &[Place], log: Arc<dyn Log>, ending: Reason, report: Arc<Report>) -> Result<()> {
    let mut topics: BTreeMap<Arc<str>, Known> = BTreeMap::new();
    for place in places {
        let new = || Known { id: place.topic_id.clone(), partitions: 0 };
        topics.entry(place.partition.topic.clone()).or_insert_with(new).partitions += 1;
    }
    spawn("source", move || {
        let watch = report.watch();
        let (doing, task) = (|| "asking Kafka how far its topics go".to_string(), Task::new());
        let mut gone: BTreeMap<Arc<str>, u32> = BTreeMap::new();
        let mut failing_since: Option<Instant> = None;
        loop {
            let (mut ends, asked_at) = (Vec::new(), now());
            let mut failed = None;
            for (topic, known) in &topics {
                let found = match log.partitions(topic) {
                    Ok(found) => found,
                    Err(error) => {
                        gone.remove(topic);
                        failed = Some(error);
                        continue;
                    }
                };
                match look(topic, known, found.as_ref()) {
                    Err(halt) => fail(Failure::Halt(halt)),
                    Ok(Seen::Same) => drop(gone.remove(topic)),
                    Ok(Seen::Gone) => {
                        let looks = gone.entry(topic.clone()).or_default();
                        *looks += 1;
                        if *looks >= GONE_AFTER_LOOKS {
                            ending.leave(Ending::TopicGone { topic: topic.to_string() });
                            return;
                        }
                    }
                    Ok(Seen::Grew) => {
                        let (now, before) = (found.map_or(0, |found| found.len()), known.partitions);
                        ending.leave(Ending::Grew { topic: topic.to_string(), before, now });
                        return;
                    }
                }
                let facts = found.into_iter().flatten();
                ends.extend(facts.map(|(partition, SourceFacts { last_stable, high_watermark, .. })| {
                    (TopicPartition { topic: topic.clone(), partition }, Ends { last_stable, high_watermark })
                }));
            }
            report.facts.ends(&ends, asked_at);
            if failed.is_none() {
                report.facts.answered(Instant::now());
                failed = ask_how_old(&*log, &report).err();
            }
            match failed {
                // Said once, not every five seconds.
                Some(source) => {
                    let since = *failing_since.get_or_insert_with(|| {
                        let (why, advice) = (source.to_string(), source.remedy.clone());
                        watch(Event::Retrying { doing: doing(), task, why, advice, pause: EVERY, left: OUTAGE_WITHIN });
                        Instant::now()
                    });
                    if since.elapsed() >= OUTAGE_WITHIN {
                        let minutes = OUTAGE_WITHIN.as_secs() / 60;
                        let doing = format!("Kafka has not said for {minutes} minutes how far its topics go");
                        fail(Failure::Port { doing, source });
                    }
                }
                None => {
                    if failing_since.take().is_some() {
                        watch(Event::Recovered { doing: doing(), task, done: doing() });
                    }
                }
            }
            thread::sleep(EVERY);
        }
    })
}

/// Asks for the timestamps of the records at which partitions are held up.
fn ask_how_old(log: &dyn Log, report: &Report) -> connectors::Result<()> {
    let asked = report.facts.to_ask();
    for ((partition, offset), ms) in asked.iter().zip(log.first_timestamps(&asked)?) {
        report.facts.is_old(partition, *offset, ms.and_then(Micros::from_millis));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_tells_same_grown_gone_and_another() {
        let topic: Arc<str> = "t".into();
        let known = Known { id: "one".into(), partitions: 2 };
        let facts = |id: &str, partitions: i32| -> BTreeMap<i32, SourceFacts> {
            let facts = SourceFacts { topic_id: id.into(), low: 0, last_stable: 0, high_watermark: 0, last: None };
            (0..partitions).map(|p| (p, facts.clone())).collect()
        };
        assert_eq!(look(&topic, &known, Some(&facts("one", 2))), Ok(Seen::Same));
        assert_eq!(look(&topic, &known, Some(&facts("one", 3))), Ok(Seen::Grew));
        assert_eq!(look(&topic, &known, None), Ok(Seen::Gone));
        // An old broker has no ids.
        assert_eq!(look(&topic, &known, Some(&facts("", 2))), Ok(Seen::Same));
        assert!(matches!(look(&topic, &known, Some(&facts("two", 3))), Err(Halt::TopicReplaced { .. })));
    }
}
