//! One client of librdkafka: how it is made and how it is asked.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use checkpoint::TopicPartition;
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};

use super::{
    error::{Asked, PLACE, Said, code, failed},
    native,
    properties::NAMES,
    settings::{DEFAULTS, Settings},
};
use crate::{Error, Fault, Result};

/// How long the first try of a question waits. Each further one waits as long as all before it, so that brokers which need up
/// to half of the time are heard.
const FIRST_TRY: Duration = Duration::from_secs(1);

/// Some of these come at once.
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// Nobody answered, so far.
const SILENCE: [RDKafkaErrorCode; 4] = [
    RDKafkaErrorCode::BrokerTransportFailure,
    RDKafkaErrorCode::OperationTimedOut,
    RDKafkaErrorCode::AllBrokersDown,
    RDKafkaErrorCode::RequestTimedOut,
];

/// For a client that is given, and told of, what is in the log and not only what is committed.
pub(super) const UNCOMMITTED: &[(&str, &str)] = &[("isolation.level", "read_uncommitted")];

/// A client, and what it says.
pub(super) struct Client {
    pub(super) consumer: Arc<BaseConsumer>,
    /// `host:port,host:port`, for messages.
    brokers: String,
    events: native::Events,
    /// What it said last, and no answer has proved wrong: it says the same thing once in half a minute only.
    last: Mutex<Option<Said>>,
    /// The newest statistics that nobody has taken yet.
    statistics: Mutex<Option<String>>,
}

impl Client {
    /// A client with these properties beside ours and the job file's; they win. No connection is made yet.
    pub(super) fn with(settings: &Settings, others: &[(&str, &str)]) -> Result<Client> {
        let mut config = ClientConfig::new();
        for (name, value) in DEFAULTS {
            config.set(*name, *value);
        }
        for (name, value) in &settings.properties {
            config.set(name, value.read()?);
        }
        config
            .set("bootstrap.servers", &settings.brokers)
            .set("client.id", format!("tidegate-{}", settings.job))
            .set("group.id", format!("tidegate-{}", settings.job))
            .set("isolation.level", "read_committed")
            .set("check.crcs", "true")
            .set("auto.offset.reset", "error")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "false")
            .set("allow.auto.create.topics", "false")
            .set("queued.max.messages.kbytes", settings.queue_kb.to_string());
        for (name, value) in others {
            config.set(*name, *value);
        }
        config.set_log_level(RDKafkaLogLevel::Error);
        // What librdkafka says of a value has the value in it, and that may be a secret.
        let consumer: BaseConsumer = config.create().map_err(|e| match e {
            KafkaError::ClientConfig(_, _, name, _) => {
                Error::new(Fault::Settings, format!("`kafka.properties`: `{name}` cannot have the value that it has"))
            }
            other => {
                let whole = settings.properties.iter().fold(told(&other), |text, (_, value)| value.taken_out_of(&text));
                // The longest first: `ssl.key` begins others.
                let named = NAMES.iter().filter(|name| whole.starts_with(**name)).max_by_key(|name| name.len());
                let what = match named {
                    Some(name) => format!("`{name}`{}", &whole[name.len()..]),
                    None => format!("no Kafka client can be made with these: {whole}"),
                };
                Error::new(Fault::Settings, format!("`kafka.properties`: {what}"))
            }
        })?;
        let consumer = Arc::new(consumer);
        Ok(Client {
            events: native::Events::of(&consumer)?,
            last: Mutex::default(),
            statistics: Mutex::default(),
            brokers: settings.brokers.clone(),
            consumer,
        })
    }

    /// What it said last. Its queue of events is bounded by this being called again and again.
    pub(super) fn said(&self) -> Option<Said> {
        let mut last = self.last();
        let mut statistics = None;
        *last = self.events.drain(&mut statistics).or(last.take());
        if statistics.is_some() {
            *self.statistics.lock().unwrap_or_else(PoisonError::into_inner) = statistics;
        }
        last.clone()
    }

    /// The newest statistics since this was called last, as [`Client::said`] has come by them.
    pub(super) fn statistics(&self) -> Option<String> {
        self.statistics.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn last(&self) -> MutexGuard<'_, Option<Said>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks until there is an answer, or time is over, or it is clear that there will be none: that a name or password is
    /// wrong shows only in what the client says meanwhile.
    pub(super) fn ask<T>(
        &self,
        within: Duration,
        asked: &Asked,
        ask: impl Fn(Duration) -> KafkaResult<T>,
    ) -> Result<T> {
        let since = Instant::now();
        loop {
            let passed = since.elapsed();
            let answer = ask(within.saturating_sub(passed).min(passed.max(FIRST_TRY)));
            let said = self.said();
            let error = match answer {
                Ok(answer) => {
                    *self.last() = None;
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let is_silence = code(&error).is_some_and(|code| SILENCE.contains(&code));
            let is_over = since.elapsed() >= within;
            if is_silence && is_over && said.is_none() {
                let what = format!("{asked} at {}: no answer within {} s", self.brokers, within.as_secs());
                return Err(Error::new(Fault::Outage, what).remedy(PLACE).because(error));
            }
            let error = failed(asked, error, said);
            if !is_silence || error.fault != Fault::Outage || is_over {
                return Err(error);
            }
            thread::sleep(BETWEEN_TRIES);
        }
    }
}

/// What librdkafka says of a client that it cannot make, without what the crate puts before it.
fn told(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientCreation(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Gives a client its partitions, each from its offset on.
pub(super) fn assign<'p>(client: &Client, from: impl Iterator<Item = (&'p TopicPartition, i64)>) -> Result<()> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in from {
        list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(offset))
            .map_err(|e| failed(&Asked::of_client("assign"), e, None))?;
    }
    client.consumer.assign(&list).map_err(|e| failed(&Asked::of_client("assign"), e, None))
}
