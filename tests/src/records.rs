//! Records of any kind, one by one, and where Kafka put each.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rdkafka::{
    ClientConfig, ClientContext, Message,
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext},
};

use crate::world::STACK;

/// A record as it is sent.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers, all with the value `v`.
    pub headers: usize,
    /// Milliseconds since 1970; now if there is none.
    pub timestamp_ms: Option<i64>,
}

impl Record {
    /// With this value and nothing else.
    pub fn of(value: impl Into<Vec<u8>>) -> Record {
        Record { value: Some(value.into()), ..Record::default() }
    }
}

type Placed = Arc<Mutex<Vec<(usize, i32, i64)>>>;

struct Places(Placed);

impl ClientContext for Places {}

impl ProducerContext for Places {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult<'_>, number: Box<usize>) {
        let message = result.as_ref().unwrap_or_else(|(error, _)| panic!("record {number}: {error}"));
        self.0.lock().expect("the places").push((*number, message.partition(), message.offset()));
    }
}

/// Sends records, each to its partition; the offset of each, in their order.
pub fn send(topic: &str, records: &[(i32, Record)]) -> Vec<i64> {
    let placed = Placed::default();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", STACK.kafka.brokers()).set("linger.ms", "5").set("enable.idempotence", "true");
    config.set("message.max.bytes", "16000000").set("queue.buffering.max.kbytes", "500000");
    let producer: BaseProducer<Places> = config.create_with_context(Places(placed.clone())).expect("a producer");
    for (number, (partition, record)) in records.iter().enumerate() {
        let mut next =
            BaseRecord::<[u8], [u8], Box<usize>>::with_opaque_to(topic, Box::new(number)).partition(*partition);
        next.key = record.key.as_deref();
        next.payload = record.value.as_deref();
        next.timestamp = record.timestamp_ms;
        if record.headers > 0 {
            let header = |headers: OwnedHeaders, i| headers.insert(Header { key: &format!("h{i}"), value: Some("v") });
            next.headers = Some((0..record.headers).fold(OwnedHeaders::new(), header));
        }
        while let Err((_, back)) = producer.send(next) {
            producer.poll(Duration::from_millis(5));
            next = back;
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(Duration::from_secs(120)).expect("everything is acknowledged");
    let mut offsets = vec![-1; records.len()];
    for (number, partition, offset) in placed.lock().expect("the places").iter() {
        assert_eq!(*partition, records[*number].0);
        offsets[*number] = *offset;
    }
    assert!(offsets.iter().all(|offset| *offset >= 0), "not all were acknowledged");
    offsets
}
