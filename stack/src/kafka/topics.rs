//! Topics, and records for them: what a demonstration or a rehearsal needs of a Kafka client.

use std::{
    io::BufRead,
    str::FromStr,
    sync::Mutex,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    error::KafkaError,
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext},
};

use crate::error::{Result, StackError};

/// How long the broker may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

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
        match partitions.parse::<i32>() {
            Ok(partitions @ 1..=1000) if !name.is_empty() => Ok(Topic { name: name.into(), partitions }),
            _ => Err("write it like clicks or clicks:6".into()),
        }
    }
}

/// Makes a topic unless it is there. How many partitions it has.
pub fn ensure(brokers: &str, topic: &Topic) -> Result<i32> {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().map_err(StackError::Kafka)?;
    let since = Instant::now();
    let mut asked = false;
    loop {
        // Of all topics: asking for one by name would make it, with as many partitions as the broker likes.
        let metadata = admin.inner().fetch_metadata(None, ANSWER_WITHIN).map_err(StackError::Kafka)?;
        if let Some(found) = metadata.topics().iter().find(|t| t.name() == topic.name) {
            return Ok(found.partitions().len() as i32);
        }
        if !asked {
            let new = NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(1));
            let runtime = tokio::runtime::Runtime::new().map_err(StackError::io("start a runtime"))?;
            let options = AdminOptions::new().operation_timeout(Some(ANSWER_WITHIN));
            let made = runtime.block_on(admin.create_topics([&new], &options)).map_err(StackError::Kafka)?;
            // A rival's topic is as good.
            if let Some(Err((_, code))) = made.into_iter().next()
                && code != rdkafka::types::RDKafkaErrorCode::TopicAlreadyExists
            {
                return Err(StackError::Kafka(KafkaError::AdminOp(code)));
            }
            asked = true;
        }
        if since.elapsed() > ANSWER_WITHIN {
            let gone = std::io::Error::from(std::io::ErrorKind::TimedOut);
            return Err(StackError::io(format!("make topic {}", topic.name))(gone));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The first record that the broker refused.
#[derive(Default)]
struct Refused(Mutex<Option<KafkaError>>);

impl ClientContext for Refused {}

impl ProducerContext for Refused {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let (Err((error, _)), Ok(mut first)) = (result, self.0.lock()) {
            first.get_or_insert_with(|| error.clone());
        }
    }
}

/// A producer that sends evenly over the partitions of a topic.
pub(crate) struct Sender {
    producer: BaseProducer<Refused>,
    topic: String,
    partitions: i32,
    sent: u64,
}

impl Sender {
    pub(crate) fn new(brokers: &str, topic: &Topic) -> Result<Sender> {
        let partitions = ensure(brokers, topic)?;
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("linger.ms", "20").set("enable.idempotence", "true");
        let producer = config.create_with_context(Refused::default()).map_err(StackError::Kafka)?;
        Ok(Sender { producer, topic: topic.name.clone(), partitions, sent: 0 })
    }

    /// False if the queue is full for the moment.
    pub(crate) fn send(&mut self, value: &str) -> bool {
        let partition = (self.sent / 20 % self.partitions as u64) as i32;
        let record = BaseRecord::<str, str>::to(&self.topic).partition(partition).payload(value);
        let taken = self.producer.send(record).is_ok();
        self.sent += u64::from(taken);
        taken
    }

    pub(crate) fn rest(&self, time: Duration) {
        self.producer.poll(time);
    }

    /// Waits until all are acknowledged. How many; an error if one was not.
    pub(crate) fn finish(self) -> Result<u64> {
        self.producer.flush(Duration::from_secs(60)).map_err(StackError::Kafka)?;
        match self.producer.context().0.lock().ok().and_then(|mut refused| refused.take()) {
            Some(error) => Err(StackError::Kafka(error)),
            None => Ok(self.sent),
        }
    }
}

/// Sends each line as a record. How many.
pub fn produce(brokers: &str, topic: &Topic, lines: impl BufRead) -> Result<u64> {
    let mut sender = Sender::new(brokers, topic)?;
    for line in lines.lines() {
        let line = line.map_err(StackError::io("read a line"))?;
        let since = Instant::now();
        while !sender.send(&line) {
            sender.rest(Duration::from_millis(20));
            if since.elapsed() > ANSWER_WITHIN {
                return Err(StackError::io("send a record")(std::io::ErrorKind::TimedOut.into()));
            }
        }
    }
    sender.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_may_say_its_partitions() {
        assert_eq!("clicks:6".parse(), Ok(Topic { name: "clicks".into(), partitions: 6 }));
        assert_eq!("clicks".parse(), Ok(Topic { name: "clicks".into(), partitions: 4 }));
        for bad in ["clicks:0", "clicks:x", ":3", ""] {
            assert!(bad.parse::<Topic>().is_err(), "{bad}");
        }
    }
}
