//! Kafka through librdkafka: partitions assigned by hand, committed records only, no offset ever taken from Kafka.
//!
//! [`native`] is the one file of the workspace with unsafe code: a batch is taken from librdkafka's queue in one call,
//! which costs about half of taking message by message, and topic ids have no safe wrapper yet.

mod answers;
mod assigned;
mod bounds;
mod client;
mod ends;
mod error;
mod native;
mod properties;
mod reader;
mod settings;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use checkpoint::{
    LastRecord, TopicPartition,
    protocol::{SourceFacts, Start},
};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::Consumer,
    error::{KafkaError, RDKafkaErrorCode},
};

use crate::{Error, Fault, Log, ReadFrom, Reader, Result, StartAt, Trust};
use client::{Client, UNCOMMITTED};
use ends::{are_read_up, first_timestamps, next_readable, records_at};
use error::{Asked, failed};
use reader::KafkaReader;

pub use properties::{NAMES, PropertyProblem, check_property};
pub use settings::{ANSWER_WITHIN, DEFAULTS, OWNED, Settings};

/// For the client that asks for topic ids. A request to the controller waits for its connection, and with sparse connections librdkafka
/// begins a new one whenever the last one failed, without a pause: at an address that refuses, twelve thousand times a second
/// (`rd_kafka_broker_find_by_nodeid0` and `RD_KAFKA_OP_CONNECT` of 2.12.1). Without them it has a connection to each broker, and pauses.
const PATIENT: &[(&str, &str)] = &[("enable.sparse.connections", "false")];

/// A Kafka cluster.
pub struct Kafka {
    settings: Settings,
    /// The client that asks about topics: a running job asks every few seconds, and a connection is dear.
    asking: Asking,
    /// The same for what no transaction hides: a client of librdkafka has one isolation level.
    asking_uncommitted: Asking,
    /// Whether we were let in before.
    rights: Arc<Trust>,
}

impl Kafka {
    /// No connection is made yet.
    pub fn new(settings: Settings) -> Kafka {
        let uncommitted = [PATIENT, UNCOMMITTED].concat();
        let (asking, asking_uncommitted) = (Asking::new(PATIENT), Asking::new(&uncommitted));
        Kafka { settings, asking, asking_uncommitted, rights: Arc::default() }
    }

    fn asking(&self) -> Result<Arc<Client>> {
        self.asking.client(&self.settings)
    }

    /// A refusal after a first success is an outage. The client that was refused keeps its secrets, so the next question is for a
    /// new one.
    fn judge<T>(&self, result: Result<T>) -> Result<T> {
        if result.as_ref().is_err_and(|error| matches!(error.fault, Fault::Denied | Fault::Settings | Fault::Mismatch))
        {
            self.asking.forget();
            self.asking_uncommitted.forget();
        }
        self.rights.judge(result)
    }
}

/// A client that is made when it is first needed.
struct Asking {
    properties: Vec<(&'static str, &'static str)>,
    client: Mutex<Option<Arc<Client>>>,
}

impl Asking {
    fn new(properties: &[(&'static str, &'static str)]) -> Asking {
        Asking { properties: properties.to_vec(), client: Mutex::default() }
    }

    fn client(&self, settings: &Settings) -> Result<Arc<Client>> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        match &*client {
            Some(client) => Ok(client.clone()),
            None => Ok(client.insert(Arc::new(Client::with(settings, &self.properties)?)).clone()),
        }
    }

    fn forget(&self) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Where a partition begins and ends.
struct Marks {
    low: i64,
    last_stable: i64,
    high_watermark: i64,
}

/// The questions themselves.
impl Kafka {
    fn try_partitions(&self, topic: &str) -> Result<Option<BTreeMap<i32, SourceFacts>>> {
        let (client, within) = (self.asking()?, self.settings.answer_within);
        let consumer = &client.consumer;
        let asked = Asked::of_topic("METADATA", topic);
        let metadata = client.ask(within, &asked, |wait| consumer.fetch_metadata(Some(topic), wait))?;
        let Some(found) = metadata.topics().iter().find(|t| t.name() == topic) else { return Ok(None) };
        if let Some(error) = found.error() {
            let error = KafkaError::MetadataFetch(error.into());
            return match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Ok(None),
                _ => Err(failed(&asked, error, None)),
            };
        }
        if found.partitions().is_empty() {
            return Ok(None);
        }
        let topic_id = client.ask(within, &asked, |wait| native::topic_id(consumer.client(), topic, wait))?;
        let Some(topic_id) = topic_id else { return Ok(None) };
        let ids: Vec<i32> = found.partitions().iter().map(|partition| partition.id()).collect();
        let facts = |Marks { low, last_stable, high_watermark }| SourceFacts {
            topic_id: topic_id.clone(),
            low,
            last_stable,
            high_watermark,
            last: None,
        };
        let marks = self.marks(&client, topic, &ids)?;
        Ok(Some(marks.into_iter().map(|(partition, marks)| (partition, facts(marks))).collect()))
    }

    fn try_topic_id(&self, topic: &str) -> Result<Option<String>> {
        let client = self.asking()?;
        let asked = Asked::of_topic("DESCRIBE_TOPIC_PARTITIONS", topic);
        client.ask(self.settings.answer_within, &asked, |wait| native::topic_id(client.consumer.client(), topic, wait))
    }

    fn try_starts(&self, topic: &str, at: StartAt) -> Result<BTreeMap<i32, Start>> {
        let partitions = self.try_partitions(topic)?.ok_or_else(|| {
            Error::new(Fault::Missing, format!("Kafka METADATA topic {topic}: there is no such topic"))
        })?;
        let mut offsets: BTreeMap<i32, i64> = BTreeMap::new();
        if let StartAt::Time(ms) = at {
            let asked = Asked::of_topic("LIST_OFFSETS", topic);
            let mut list = TopicPartitionList::new();
            for partition in partitions.keys() {
                list.add_partition_offset(topic, *partition, Offset::Offset(ms))
                    .map_err(|e| failed(&asked, e, None))?;
            }
            let (client, within) = (self.asking()?, self.settings.answer_within);
            let found = client.ask(within, &asked, |wait| client.consumer.offsets_for_times(list.clone(), wait))?;
            for element in found.elements_for_topic(topic) {
                if let Offset::Offset(offset) = element.offset() {
                    offsets.insert(element.partition(), offset);
                }
            }
        }
        let start = |partition: i32, facts: &SourceFacts| match at {
            StartAt::Earliest => facts.low,
            StartAt::Latest => facts.last_stable,
            // No record so young: whatever comes next.
            StartAt::Time(_) => offsets.get(&partition).copied().unwrap_or(facts.last_stable),
        };
        Ok(partitions
            .iter()
            .map(|(p, facts)| (*p, Start { topic_id: facts.topic_id.clone(), offset: start(*p, facts) }))
            .collect())
    }

    /// Where partitions begin and end: three questions for all of them. Which end is meant is up to the client's isolation level. The
    /// last stable offset is asked for last: one below the high watermark is that of a transaction which was open all the while.
    fn marks(&self, committed: &Client, topic: &str, partitions: &[i32]) -> Result<BTreeMap<i32, Marks>> {
        let ask = |client: &Client, at: Offset| -> Result<BTreeMap<i32, i64>> {
            let asked = Asked::of_topic("LIST_OFFSETS", topic);
            let mut list = TopicPartitionList::new();
            for partition in partitions {
                list.add_partition_offset(topic, *partition, at).map_err(|e| failed(&asked, e, None))?;
            }
            // In the place of a time, as Kafka's own protocol has it: -2 for the first offset and -1 for the last.
            let answer = client.ask(self.settings.answer_within, &asked, |wait| {
                let answer = client.consumer.offsets_for_times(list.clone(), wait)?;
                // Each may have an error of its own.
                answer.elements().iter().try_for_each(|element| element.error())?;
                Ok(answer)
            })?;
            let mut offsets = BTreeMap::new();
            for element in answer.elements() {
                let Offset::Offset(offset) = element.offset() else {
                    let what = format!(
                        "Kafka LIST_OFFSETS {topic}[{}]: the offset is {:?}",
                        element.partition(),
                        element.offset()
                    );
                    return Err(Error::new(Fault::Outage, what));
                };
                offsets.insert(element.partition(), offset);
            }
            Ok(offsets)
        };
        let low = ask(committed, Offset::Beginning)?;
        // A client asks for no partition that was added after it last heard of its topic.
        let uncommitted = self.asking_uncommitted.client(&self.settings)?;
        let known = Asked::of_topic("METADATA", topic);
        let within = self.settings.answer_within;
        uncommitted.ask(within, &known, |wait| uncommitted.consumer.fetch_metadata(Some(topic), wait))?;
        let high_watermarks = ask(&uncommitted, Offset::End)?;
        let last_stable = ask(committed, Offset::End)?;
        let marks = |(partition, low)| {
            let last_stable = *last_stable.get(&partition)?;
            let high_watermark = (*high_watermarks.get(&partition)?).max(last_stable);
            Some((partition, Marks { low, last_stable, high_watermark }))
        };
        Ok(low.into_iter().filter_map(marks).collect())
    }
}

impl Log for Kafka {
    fn partitions(&self, topic: &str) -> Result<Option<BTreeMap<i32, SourceFacts>>> {
        self.judge(self.try_partitions(topic))
    }

    fn topic_id(&self, topic: &str) -> Result<Option<String>> {
        self.judge(self.try_topic_id(topic))
    }

    fn starts(&self, topic: &str, at: StartAt) -> Result<BTreeMap<i32, Start>> {
        self.judge(self.try_starts(topic, at))
    }

    fn records_at(&self, at: &[(TopicPartition, i64)]) -> Result<Vec<Option<LastRecord>>> {
        self.judge(records_at(&self.settings, at))
    }

    fn is_read_up(&self, at: &[(TopicPartition, i64, i64)]) -> Result<Vec<bool>> {
        self.judge(are_read_up(&self.settings, at))
    }

    fn next_readable(&self, partition: &TopicPartition, from: i64) -> Result<i64> {
        self.judge(next_readable(&self.settings, partition, from))
    }

    fn first_timestamps(&self, at: &[(TopicPartition, i64)]) -> Result<Vec<Option<i64>>> {
        self.judge(first_timestamps(&self.settings, at))
    }

    fn read(&self, from: &[ReadFrom]) -> Result<Box<dyn Reader>> {
        Ok(Box::new(KafkaReader::open(&self.settings, from, self.rights.clone())?))
    }
}
