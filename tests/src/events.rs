//! What is produced, and the ledger of what Kafka acknowledged.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use rdkafka::{
    ClientConfig, ClientContext, Message,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext},
};

use crate::world::STACK;

/// Where each acknowledged event is: (partition, offset) to its number. Only those of committed transactions count.
pub type Ledger = BTreeMap<(i32, i64), u64>;

/// The JSON text of event `n`, about 300 bytes. Some keys are missing in some, and their order changes now and then.
pub fn event(n: u64) -> String {
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let at = format!(
        "2026-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}+0{}:30",
        1 + mixed % 12,
        1 + n % 28,
        n % 24,
        n % 60,
        mixed % 60,
        mixed % 1_000_000,
        n % 5
    );
    let small = if n % 10 == 3 { "null".into() } else { (mixed as i16).to_string() };
    let note =
        if n.is_multiple_of(7) { String::new() } else { format!(r#""note":"n\u00e4 \"{n}\"\t{}","#, mixed % 100) };
    let head = format!(r#""id":{n},"small":{small},"qty":{}"#, mixed as i32);
    let tail =
        format!(r#""amount":{},"flag":{},"at":"{at}""#, (mixed % 4000) as f64 / 4.0 - 500.0, n.is_multiple_of(2));
    let pad = "x".repeat(60 + (mixed % 40) as usize);
    let other = format!(r#"{note}"other":{{"list":[1,{{"id":0}},"]"],"pad":"{pad}"}}"#);
    if n.is_multiple_of(11) { format!("{{{tail},{other},{head}}}") } else { format!("{{{head},{other},{tail}}}") }
}

/// Produces one record of any text into a partition.
pub fn raw(topic: &str, partition: i32, value: &str) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", STACK.kafka.brokers());
    let producer: BaseProducer = config.create().expect("a producer");
    let record = BaseRecord::<str, str>::to(topic).partition(partition).payload(value);
    producer.send(record).map_err(|(e, _)| e).expect("it is queued");
    producer.flush(Duration::from_secs(30)).expect("it is there");
}

#[derive(Clone, Default)]
struct Acknowledged(Arc<Mutex<Vec<(i32, i64, u64)>>>);

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, number: Box<u64>) {
        if let Ok(message) = result {
            self.0.lock().expect("the ledger").push((message.partition(), message.offset(), *number));
        }
    }
}

/// Produces events into one topic.
pub struct Events {
    topic: String,
    partitions: i32,
    next: u64,
    plain: (BaseProducer<Acknowledged>, Acknowledged),
    transactional: (BaseProducer<Acknowledged>, Acknowledged),
    /// What was acknowledged and committed.
    pub ledger: Ledger,
}

impl Events {
    /// For a topic with so many partitions.
    pub fn new(topic: &str, partitions: i32) -> Events {
        let producer = |transactional: bool| {
            let acknowledged = Acknowledged::default();
            let mut config = ClientConfig::new();
            config
                .set("bootstrap.servers", STACK.kafka.brokers())
                .set("linger.ms", "5")
                .set("enable.idempotence", "true");
            // The coordinator is still writing markers when the next transaction begins; the default waits 100 ms each time.
            config.set("retry.backoff.ms", "5").set("retry.backoff.max.ms", "20");
            config.set("queue.buffering.max.messages", "1000000").set("queue.buffering.max.kbytes", "500000");
            if transactional {
                config.set("transactional.id", format!("events-{topic}"));
            }
            let producer: BaseProducer<Acknowledged> =
                config.create_with_context(acknowledged.clone()).expect("a producer");
            if transactional {
                producer.init_transactions(Duration::from_secs(30)).expect("transactions");
            }
            (producer, acknowledged)
        };
        let (plain, transactional) = (producer(false), producer(true));
        Events { topic: topic.into(), partitions, next: 0, plain, transactional, ledger: Ledger::new() }
    }

    /// So many events more: 30 % of them in transactions, of which a quarter aborts.
    pub fn produce(&mut self, count: u64) {
        let end = self.next + count;
        let mut piece = self.next / 500;
        while self.next < end {
            let size = 500.min(end - self.next);
            match piece % 40 {
                0..28 => self.send(size, None),
                number => self.transaction(size, None, number % 4 != 0),
            }
            piece += 1;
        }
        self.flush();
    }

    /// At the very end of every partition a transaction that commits and one that aborts: the last offsets are those of
    /// control records and of records that nobody sees.
    pub fn end_with_transactions(&mut self) {
        for partition in 0..self.partitions {
            self.transaction(3, Some(partition), true);
            self.transaction(2, Some(partition), false);
        }
    }

    /// So many events outside transactions, into one partition or all.
    pub fn send(&mut self, count: u64, partition: Option<i32>) {
        send(&self.plain.0, &self.topic, self.next..self.next + count, self.partitions, partition);
        self.next += count;
    }

    /// Waits until everything outside transactions is acknowledged.
    pub fn flush(&mut self) {
        self.plain.0.flush(Duration::from_secs(60)).expect("everything is acknowledged");
        self.ledger.extend(take(&self.plain.1));
    }

    /// A transaction of so many events.
    pub fn transaction(&mut self, count: u64, partition: Option<i32>, commit: bool) {
        let (producer, acknowledged) = &self.transactional;
        producer.begin_transaction().expect("a transaction");
        send(producer, &self.topic, self.next..self.next + count, self.partitions, partition);
        self.next += count;
        if commit {
            producer.commit_transaction(Duration::from_secs(60)).expect("it commits");
            self.ledger.extend(take(acknowledged));
        } else {
            producer.flush(Duration::from_secs(60)).expect("everything is acknowledged");
            producer.abort_transaction(Duration::from_secs(60)).expect("it aborts");
            take(acknowledged);
        }
    }
}

fn take(acknowledged: &Acknowledged) -> Vec<((i32, i64), u64)> {
    let taken = std::mem::take(&mut *acknowledged.0.lock().expect("the ledger"));
    taken.into_iter().map(|(partition, offset, number)| ((partition, offset), number)).collect()
}

fn send(
    producer: &BaseProducer<Acknowledged>,
    topic: &str,
    numbers: std::ops::Range<u64>,
    partitions: i32,
    partition: Option<i32>,
) {
    for n in numbers {
        // Runs of one partition, as producers with a sticky partitioner make them.
        let partition = partition.unwrap_or((n / 50 % partitions as u64) as i32);
        let value = event(n);
        let mut record = BaseRecord::with_opaque_to(topic, Box::new(n)).partition(partition).key("").payload(&value);
        record.key = None::<&str>;
        while let Err((error, back)) = producer.send(record) {
            assert!(matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)), "{error}");
            producer.poll(Duration::from_millis(5));
            record = back;
        }
    }
    producer.poll(Duration::ZERO);
}
