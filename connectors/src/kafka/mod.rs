//! Kafka through librdkafka: partitions assigned by hand, committed records only, no offset ever taken from Kafka.
//!
//! [`native`] is the one file of the workspace with unsafe code: a batch is taken from librdkafka's queue in one call,
//! which costs about half of taking message by message, and topic ids have no safe wrapper yet.

mod native;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use checkpoint::{
    LastRecord, TopicPartition, manifest,
    protocol::{SourceFacts, Start},
};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};

use crate::{Error, Fault, Log, Moved, RawBatch, Reader, Result, StartAt};

/// How long a question to the brokers may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Properties of librdkafka that the protocol depends on, each with the reason. A job file cannot set them.
pub const OWNED: &[(&str, &str)] = &[
    ("bootstrap.servers", "it is `brokers`"),
    ("metadata.broker.list", "it is `brokers`"),
    ("group.id", "partitions are dealt to workers by place, never by a consumer group"),
    ("group.instance.id", "partitions are dealt to workers by place, never by a consumer group"),
    ("group.protocol", "partitions are dealt to workers by place, never by a consumer group"),
    ("group.remote.assignor", "partitions are dealt to workers by place, never by a consumer group"),
    ("partition.assignment.strategy", "partitions are dealt to workers by place, never by a consumer group"),
    ("isolation.level", "records of aborted transactions must not be read"),
    ("auto.offset.reset", "reading starts exactly where the manifest ends, or the job halts"),
    ("enable.auto.commit", "the manifest remembers positions, and nothing else"),
    ("auto.commit.interval.ms", "the manifest remembers positions, and nothing else"),
    ("enable.auto.offset.store", "the manifest remembers positions, and nothing else"),
    ("offset.store.method", "the manifest remembers positions, and nothing else"),
    ("check.crcs", "a damaged batch must not be loaded"),
    ("enable.partition.eof", "an end-of-partition event moves librdkafka's position one too far"),
    ("allow.auto.create.topics", "a topic that is not there is an error of the job file"),
    ("queued.max.messages.kbytes", "it is part of `[memory] budget`"),
];

/// Properties that a job file may set, and what they are otherwise where that is not librdkafka's own default.
pub const DEFAULTS: &[(&str, &str)] = &[
    ("fetch.wait.max.ms", "100"),
    ("fetch.min.bytes", "1"),
    ("queued.min.messages", "100000"),
    ("fetch.queue.backoff.ms", "20"),
    ("socket.keepalive.enable", "true"),
    ("reconnect.backoff.max.ms", "5000"),
];

/// How to reach a cluster.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `host:port,host:port`.
    pub brokers: String,
    /// Name of the job; the client's name in the brokers' logs and quotas.
    pub job: String,
    /// Properties of librdkafka, secrets already resolved, none of [`OWNED`].
    pub properties: Vec<(String, String)>,
    /// What one reader may hold in librdkafka's own queue, in KiB.
    pub queue_kb: usize,
    /// Whether readers give the records' headers.
    pub headers: bool,
}

/// A Kafka cluster.
pub struct Kafka {
    settings: Settings,
    /// The client that asks about topics: a running job asks every few seconds, and a connection is dear.
    asking: Mutex<Option<Arc<BaseConsumer>>>,
}

/// The longest a batch may be, in records.
const BATCH_RECORDS: usize = 8192;

impl Kafka {
    /// No connection is made yet.
    pub fn new(settings: Settings) -> Kafka {
        Kafka { settings, asking: Mutex::default() }
    }

    fn asking(&self) -> Result<Arc<BaseConsumer>> {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        match &*asking {
            Some(client) => Ok(client.clone()),
            None => Ok(asking.insert(Arc::new(self.consumer()?)).clone()),
        }
    }

    fn consumer(&self) -> Result<BaseConsumer> {
        let mut config = ClientConfig::new();
        let properties = self.settings.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in DEFAULTS.iter().copied().chain(properties) {
            config.set(name, value);
        }
        config
            .set("bootstrap.servers", &self.settings.brokers)
            .set("client.id", format!("tidegate-{}", self.settings.job))
            .set("group.id", format!("tidegate-{}", self.settings.job))
            .set("isolation.level", "read_committed")
            .set("check.crcs", "true")
            .set("auto.offset.reset", "error")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "false")
            .set("allow.auto.create.topics", "false")
            .set("queued.max.messages.kbytes", self.settings.queue_kb.to_string());
        config.set_log_level(RDKafkaLogLevel::Error);
        config.create().map_err(|e| {
            let fault = if matches!(e, KafkaError::ClientConfig(..)) { Fault::Refused } else { Fault::Outage };
            Error::new(fault, "cannot make a Kafka client").because(e)
        })
    }
}

/// An error of librdkafka in our words.
fn failed(what: String, error: KafkaError) -> Error {
    use RDKafkaErrorCode::*;
    let fault = match error.rdkafka_error_code() {
        Some(UnknownTopicOrPartition | UnknownTopic | UnknownPartition) => Fault::Missing,
        Some(
            TopicAuthorizationFailed
            | GroupAuthorizationFailed
            | ClusterAuthorizationFailed
            | Authentication
            | SaslAuthenticationFailed,
        ) => Fault::Denied,
        Some(AutoOffsetReset | OffsetOutOfRange) => Fault::Refused,
        _ => Fault::Outage,
    };
    Error::new(fault, what).because(error)
}

impl Log for Kafka {
    fn partitions(&self, topic: &str) -> Result<Option<BTreeMap<i32, SourceFacts>>> {
        let consumer = self.asking()?;
        let what = || format!("cannot read the partitions of topic {topic}");
        let metadata = consumer.fetch_metadata(Some(topic), ANSWER_WITHIN).map_err(|e| failed(what(), e))?;
        let Some(found) = metadata.topics().iter().find(|t| t.name() == topic) else { return Ok(None) };
        if let Some(error) = found.error() {
            let error = KafkaError::MetadataFetch(error.into());
            return match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Ok(None),
                _ => Err(failed(what(), error)),
            };
        }
        if found.partitions().is_empty() {
            return Ok(None);
        }
        let topic_id = native::topic_id(consumer.client(), topic, ANSWER_WITHIN).map_err(|e| failed(what(), e))?;
        let mut partitions = BTreeMap::new();
        for partition in found.partitions() {
            let (low, high) =
                consumer.fetch_watermarks(topic, partition.id(), ANSWER_WITHIN).map_err(|e| failed(what(), e))?;
            partitions.insert(partition.id(), SourceFacts { topic_id: topic_id.clone(), low, high, last: None });
        }
        Ok(Some(partitions))
    }

    fn starts(&self, topic: &str, at: StartAt) -> Result<BTreeMap<i32, Start>> {
        let partitions =
            self.partitions(topic)?.ok_or_else(|| Error::new(Fault::Missing, format!("there is no topic {topic}")))?;
        let mut offsets: BTreeMap<i32, i64> = BTreeMap::new();
        if let StartAt::Time(ms) = at {
            let mut asked = TopicPartitionList::new();
            for partition in partitions.keys() {
                let what = || format!("cannot ask for a time in topic {topic}");
                asked.add_partition_offset(topic, *partition, Offset::Offset(ms)).map_err(|e| failed(what(), e))?;
            }
            let what = || format!("cannot find the offsets of a time in topic {topic}");
            let found = self.consumer()?.offsets_for_times(asked, ANSWER_WITHIN).map_err(|e| failed(what(), e))?;
            for element in found.elements_for_topic(topic) {
                if let Offset::Offset(offset) = element.offset() {
                    offsets.insert(element.partition(), offset);
                }
            }
        }
        let start = |partition: i32, facts: &SourceFacts| match at {
            StartAt::Earliest => facts.low,
            StartAt::Latest => facts.high,
            // No record so young: whatever comes next.
            StartAt::Time(_) => offsets.get(&partition).copied().unwrap_or(facts.high),
        };
        Ok(partitions
            .iter()
            .map(|(p, facts)| (*p, Start { topic_id: facts.topic_id.clone(), offset: start(*p, facts) }))
            .collect())
    }

    fn record_at(&self, partition: &TopicPartition, offset: i64) -> Result<Option<LastRecord>> {
        let mut reader = self.open(&[(partition.clone(), offset)])?;
        let since = Instant::now();
        while since.elapsed() < ANSWER_WITHIN {
            match reader.take(Duration::from_millis(100), 1) {
                // Below the first offset there is: gone by retention.
                Err(e) if e.fault == Fault::Refused => return Ok(None),
                Err(e) => return Err(e),
                Ok(Some(batch)) if !batch.is_empty() => {
                    let there = batch.offsets[0] == offset;
                    return Ok(there.then(|| LastRecord {
                        offset,
                        timestamp_ms: batch.timestamps_ms[0],
                        fingerprint: manifest::fingerprint(batch.keys.get(0), batch.values.get(0)),
                    }));
                }
                Ok(_) => {}
            }
        }
        Err(Error::new(
            Fault::Outage,
            format!("{partition}: no answer for the record at offset {offset} within {ANSWER_WITHIN:?}"),
        ))
    }

    fn read(&self, from: &[(TopicPartition, i64)]) -> Result<Box<dyn Reader>> {
        Ok(Box::new(self.open(from)?))
    }
}

impl Kafka {
    fn open(&self, from: &[(TopicPartition, i64)]) -> Result<KafkaReader> {
        let consumer = self.consumer()?;
        let mut list = TopicPartitionList::new();
        for (partition, offset) in from {
            let what = || format!("cannot assign {partition}");
            list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(*offset))
                .map_err(|e| failed(what(), e))?;
        }
        consumer.assign(&list).map_err(|e| failed("cannot assign partitions".into(), e))?;
        Ok(KafkaReader {
            queue: native::Queue::new(Arc::new(consumer), self.settings.headers)?,
            positions: from.iter().map(|(_, offset)| *offset).collect(),
            assigned: Assigned::new(from.iter().map(|(p, _)| p.clone()).collect()),
            ready: VecDeque::new(),
        })
    }
}

/// The partitions of a reader: each has a place, and each topic is a group of them.
struct Assigned {
    partitions: Vec<TopicPartition>,
    groups: Vec<usize>,
    places: BTreeMap<i32, Vec<usize>>,
}

impl Assigned {
    fn new(partitions: Vec<TopicPartition>) -> Assigned {
        let mut topics: Vec<&str> = Vec::new();
        let mut groups = Vec::new();
        let mut places: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        for (place, partition) in partitions.iter().enumerate() {
            groups.push(topics.iter().position(|t| *t == &*partition.topic).unwrap_or_else(|| {
                topics.push(&partition.topic);
                topics.len() - 1
            }));
            places.entry(partition.partition).or_default().push(place);
        }
        Assigned { partitions, groups, places }
    }

    fn place(&self, topic: &str, partition: i32) -> Option<usize> {
        self.places.get(&partition)?.iter().copied().find(|place| &*self.partitions[*place].topic == topic)
    }

    fn group(&self, place: usize) -> usize {
        self.groups[place]
    }
}

/// Reads some partitions.
struct KafkaReader {
    queue: native::Queue,
    assigned: Assigned,
    /// Where each partition stands behind the last batch.
    positions: Vec<i64>,
    /// Batches of one topic each that were taken together.
    ready: VecDeque<RawBatch>,
}

impl Reader for KafkaReader {
    fn next(&mut self, wait: Duration) -> Result<Option<RawBatch>> {
        self.take(wait, BATCH_RECORDS)
    }
}

impl KafkaReader {
    fn take(&mut self, wait: Duration, most: usize) -> Result<Option<RawBatch>> {
        if let Some(batch) = self.ready.pop_front() {
            return Ok(Some(batch));
        }
        let groups = self.assigned.groups.iter().max().map_or(0, |last| last + 1);
        let mut batches = vec![RawBatch::default(); groups];
        self.queue.take(wait, most, &self.assigned, &mut batches)?;
        // Straight after the batch was taken, and before anything else can move it: what the consumer says now is
        // where this batch ends, control records included.
        let positions =
            self.queue.consumer().position().map_err(|e| failed("cannot read the consumer's position".into(), e))?;
        for element in positions.elements() {
            let Offset::Offset(position) = element.offset() else { continue }; // nothing came yet
            let Some(place) = self.assigned.place(element.topic(), element.partition()) else { continue };
            let known = &mut self.positions[place];
            if position == *known {
                continue;
            }
            if position < *known {
                return Err(Error::bug(format!(
                    "{}: the position went back from {known} to {position}",
                    self.assigned.partitions[place]
                )));
            }
            *known = position;
            let batch = &mut batches[self.assigned.group(place)];
            match batch.moved.iter_mut().find(|m| m.partition == place as i32) {
                Some(moved) => moved.position = position,
                None => {
                    batch.moved.push(Moved { partition: place as i32, position, leader_epoch: None, last_row: None })
                }
            }
        }
        if let Some(moved) = batches.iter().flat_map(|b| &b.moved).find(|m| m.position < 0) {
            return Err(Error::bug(format!(
                "{}: records without a position",
                self.assigned.partitions[moved.partition as usize]
            )));
        }
        self.ready.extend(batches.into_iter().filter(|batch| !batch.moved.is_empty()));
        Ok(self.ready.pop_front())
    }
}
