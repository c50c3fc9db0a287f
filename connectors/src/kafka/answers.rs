//! What a client's statistics say of its partitions: how far each goes, and whether its leader answers.
//!
//! librdkafka keeps the last stable offset of each fetch response and gives it nowhere else. Its fetch requests ask for every
//! partition of a broker that is active, so what the broker answers is about all of them.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use super::assigned::Assigned;

/// How often a reader's client gives statistics. With 2,000 partitions they are about 3 MB.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// What is known of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) last_stable: Option<i64>,
    pub(super) high_watermark: Option<i64>,
    /// Whether its leader has answered since the statistics before.
    pub(super) is_new: bool,
}

#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    brokers: BTreeMap<String, Broker>,
    #[serde(default)]
    topics: BTreeMap<String, Topic>,
}

#[derive(Deserialize)]
struct Broker {
    nodeid: i64,
    state: String,
    /// Microseconds since anything came from it; -1 if nothing did.
    rxidle: i64,
}

#[derive(Deserialize)]
struct Topic {
    partitions: BTreeMap<String, Partition>,
}

#[derive(Deserialize)]
struct Partition {
    partition: i32,
    leader: i64,
    fetch_state: String,
    hi_offset: i64,
    ls_offset: i64,
}

/// The partitions of a reader that the statistics know, each with its place. Text that is not understood says nothing.
pub(super) fn answers(text: &str, assigned: &Assigned) -> Vec<(usize, Answer)> {
    let Ok(Statistics { brokers, topics }) = serde_json::from_str(text) else { return Vec::new() };
    let every_us = EVERY.as_micros() as i64;
    let answers = |leader: i64| {
        let is_up = |broker: &Broker| broker.state == "UP" && (0..every_us).contains(&broker.rxidle);
        brokers.values().any(|broker| broker.nodeid == leader && is_up(broker))
    };
    let known = |offset: i64| (offset >= 0).then_some(offset); // librdkafka's invalid offset is -1001
    let mut found = Vec::new();
    for (name, topic) in &topics {
        for Partition { partition, leader, fetch_state, hi_offset, ls_offset } in topic.partitions.values() {
            let Some(place) = assigned.place(name, *partition) else { continue };
            let (last_stable, high_watermark) = (known(*ls_offset), known(*hi_offset));
            let is_new = last_stable.is_some() && fetch_state == "active" && answers(*leader);
            found.push((place, Answer { last_stable, high_watermark, is_new }));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use checkpoint::TopicPartition;

    use super::*;

    #[test]
    fn what_statistics_say() {
        let assigned = Assigned::new(vec![TopicPartition::new("t", 1), TopicPartition::new("t", 0)]);
        let text = |state: &str, rxidle: i64, fetch: &str| {
            format!(
                r#"{{"name":"x","brokers":{{"b:1/1":{{"name":"b:1/1","nodeid":1,"state":"{state}","rxidle":{rxidle},"req":{{"Fetch":3}}}}}},
                "topics":{{"t":{{"topic":"t","partitions":{{
                "0":{{"partition":0,"leader":1,"fetch_state":"{fetch}","hi_offset":9,"ls_offset":7}},
                "1":{{"partition":1,"leader":2,"fetch_state":"active","hi_offset":-1001,"ls_offset":-1001}},
                "-1":{{"partition":-1,"leader":-1,"fetch_state":"none","hi_offset":-1001,"ls_offset":-1001}}}}}}}}}}"#
            )
        };
        let good = Answer { last_stable: Some(7), high_watermark: Some(9), is_new: true };
        let old = Answer { is_new: false, ..good };
        for (text, expected) in [
            (text("UP", 5_000, "active"), good),
            (text("UP", 1_500_000, "active"), old),
            (text("UP", -1, "active"), old),
            (text("DOWN", 5_000, "active"), old),
            (text("UP", 5_000, "offset-query"), old),
        ] {
            assert_eq!(answers(&text, &assigned), [(1, expected), (0, Answer::default())], "{text}");
        }
        assert_eq!(answers("", &assigned), []);
    }
}
