//! Topics, and records for them: what a demonstration or a rehearsal needs of a Kafka client.

use std::{
    str::FromStr,
    sync::Mutex,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    error::KafkaError,
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext},
    types::RDKafkaErrorCode,
};

use crate::error::{Result, StackError};

/// How long the broker may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long it may take until somebody answers at all: a person waits who may have the wrong address.
const REACHED_WITHIN: Duration = Duration::from_secs(10);

/// A topic to be made: `NAME` or `NAME:PARTITIONS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its partitions; 4 unless said otherwise.
    pub partitions: i32,
}

impl FromStr for Topic {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Topic, String> {
        let (name, partitions) = text.split_once(':').unwrap_or((text, "4"));
        // As Kafka has it.
        let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() || name.len() > 249 || !name.chars().all(is_legal) || matches!(name, "." | "..") {
            return Err(format!("{name:?} is not a name: letters, digits, `.`, `_` and `-`, at most 249"));
        }
        match partitions.parse::<i32>() {
            Ok(partitions @ 1..=1000) => Ok(Topic { name: name.into(), partitions }),
            _ => Err(format!("{partitions:?} is not a number of partitions, from 1 to 1000: write it like clicks:6")),
        }
    }
}

/// Makes a topic unless it is there. How many partitions it has.
pub fn ensure(brokers: &str, topic: &Topic) -> Result<i32> {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().map_err(StackError::kafka("make a client"))?;
    let (since, doing) = (Instant::now(), format!("make topic {}", topic.name));
    let unreached =
        |error| StackError::kafka(format!("be reached at {brokers} within {} s", REACHED_WITHIN.as_secs()))(error);
    let mut asked = false;
    loop {
        // Of all topics: asking for one by name would make it, with as many partitions as the broker likes.
        let metadata = admin.inner().fetch_metadata(None, REACHED_WITHIN).map_err(unreached)?;
        if let Some(found) = metadata.topics().iter().find(|t| t.name() == topic.name) {
            return Ok(found.partitions().len() as i32);
        }
        if !asked {
            let new = NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(1));
            let runtime = tokio::runtime::Runtime::new().map_err(StackError::io("start a runtime"))?;
            let options = AdminOptions::new().operation_timeout(Some(ANSWER_WITHIN));
            let made = runtime.block_on(admin.create_topics([&new], &options)).map_err(StackError::kafka(&*doing))?;
            // A rival's topic is as good.
            if let Some(Err((_, code))) = made.into_iter().next()
                && code != RDKafkaErrorCode::TopicAlreadyExists
            {
                return Err(StackError::kafka(doing)(KafkaError::AdminOp(code)));
            }
            asked = true;
        }
        if since.elapsed() > ANSWER_WITHIN {
            let gone = std::io::Error::from(std::io::ErrorKind::TimedOut);
            return Err(StackError::io(doing)(gone));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The first record that the broker refused: its number, from 0, and why.
#[derive(Default)]
struct Refused(Mutex<Option<(u64, KafkaError)>>);

impl ClientContext for Refused {}

impl ProducerContext for Refused {
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, number: Box<u64>) {
        if let (Err((error, _)), Ok(mut first)) = (result, self.0.lock()) {
            first.get_or_insert_with(|| (*number, error.clone()));
        }
    }
}

/// What is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Its key, if it has one.
    pub key: Option<Vec<u8>>,
    /// Its value; a tombstone has none.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its partition. Else that of its key, as Java's clients choose it; without a key all are taken in turn.
    pub partition: Option<i32>,
    /// Its timestamp, in ms since 1970; that of now if there is none.
    pub timestamp_ms: Option<i64>,
}

/// A producer for one topic.
pub(crate) struct Sender {
    producer: BaseProducer<Refused>,
    topic: String,
    partitions: i32,
    sent: u64,
}

/// What became of a record that was to be sent.
pub(crate) enum Taken {
    /// It is on its way.
    Yes,
    /// The queue is full for the moment.
    NotNow,
}

impl Sender {
    pub(crate) fn new(brokers: &str, topic: &Topic) -> Result<Sender> {
        let partitions = ensure(brokers, topic)?;
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("linger.ms", "20").set("enable.idempotence", "true");
        config.set("partitioner", "murmur2_random");
        let producer = config.create_with_context(Refused::default()).map_err(StackError::kafka("make a producer"))?;
        Ok(Sender { producer, topic: topic.name.clone(), partitions, sent: 0 })
    }

    /// Sends one, if there is room.
    pub(crate) fn send(&mut self, record: &Record) -> Result<Taken, KafkaError> {
        let mut base = BaseRecord::<[u8], [u8], Box<u64>>::with_opaque_to(&self.topic, Box::new(self.sent));
        base.key = record.key.as_deref();
        base.payload = record.value.as_deref();
        base.timestamp = record.timestamp_ms;
        let in_turn = (self.sent / 20 % self.partitions as u64) as i32;
        base.partition = record.partition.or(record.key.is_none().then_some(in_turn));
        if !record.headers.is_empty() {
            let add = |headers: OwnedHeaders, (name, value): &(String, String)| {
                headers.insert(Header { key: name, value: Some(value) })
            };
            base.headers = Some(record.headers.iter().fold(OwnedHeaders::new(), add));
        }
        match self.producer.send(base) {
            Ok(()) => {
                self.sent += 1;
                Ok(Taken::Yes)
            }
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(Taken::NotNow),
            Err((error, _)) => Err(error),
        }
    }

    /// Sends one as soon as there is room.
    pub(crate) fn send_patiently(&mut self, record: &Record) -> Result<(), KafkaError> {
        let since = Instant::now();
        while let Taken::NotNow = self.send(record)? {
            self.rest(Duration::from_millis(20));
            if since.elapsed() > ANSWER_WITHIN {
                return Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
            }
        }
        Ok(())
    }

    pub(crate) fn rest(&self, time: Duration) {
        self.producer.poll(time);
    }

    /// Waits until all are acknowledged. How many; else the number of the first that was refused, from 0, and why.
    pub(crate) fn finish(self) -> Result<u64, (u64, KafkaError)> {
        self.producer.flush(Duration::from_secs(60)).map_err(|error| (self.sent, error))?;
        match self.producer.context().0.lock().ok().and_then(|mut refused| refused.take()) {
            Some(refused) => Err(refused),
            None => Ok(self.sent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_may_say_its_partitions() {
        assert_eq!("clicks:6".parse(), Ok(Topic { name: "clicks".into(), partitions: 6 }));
        assert_eq!("clicks".parse(), Ok(Topic { name: "clicks".into(), partitions: 4 }));
        for bad in ["clicks:0", "clicks:x", ":3", "", "a b:3", "clicks.*", "..", &"x".repeat(250)] {
            assert!(bad.parse::<Topic>().is_err(), "{bad}");
        }
    }
}
