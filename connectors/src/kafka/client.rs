//! One client of librdkafka: how it is made, how it is asked, and what its errors mean.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    config::RDKafkaLogLevel,
    consumer::BaseConsumer,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};

use super::{DEFAULTS, Settings, native};
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

/// What a client says of its connections. Its error codes say only that nothing answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) code: RDKafkaErrorCode,
    pub(super) text: String,
}

impl Said {
    /// A broker does not take our name and password, or our way to say them. The code alone does not tell: a connection that is
    /// lost while they are said has the same one.
    pub(super) fn is_denied(&self) -> bool {
        self.code == RDKafkaErrorCode::Authentication
            && ["SASL authentication error: ", "mechanism handshake failed: Broker: "]
                .iter()
                .any(|answer| self.text.contains(answer))
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Said {}

/// A client, and what it says.
pub(super) struct Client {
    pub(super) consumer: Arc<BaseConsumer>,
    events: native::Events,
    /// What it said last, and no answer has proved wrong: it says the same thing once in half a minute only.
    last: Mutex<Option<Said>>,
}

impl Client {
    /// No connection is made yet.
    pub(super) fn new(settings: &Settings) -> Result<Client> {
        Client::with(settings, &[])
    }

    /// One that is unlike the others in some of the properties that a job file cannot set.
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
        let consumer: BaseConsumer = config.create().map_err(|e| {
            let fault = if matches!(e, KafkaError::ClientConfig(..)) { Fault::Refused } else { Fault::Outage };
            Error::new(fault, "cannot make a Kafka client").because(e)
        })?;
        let consumer = Arc::new(consumer);
        Ok(Client { events: native::Events::of(&consumer)?, last: Mutex::default(), consumer })
    }

    /// What it said last. Its queue of events is bounded by this being called again and again.
    pub(super) fn said(&self) -> Option<Said> {
        let mut last = self.last();
        *last = self.events.drain().or(last.take());
        last.clone()
    }

    fn last(&self) -> MutexGuard<'_, Option<Said>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks until there is an answer, or time is over, or it is clear that there will be none: that a name or password is
    /// wrong shows only in what the client says meanwhile.
    pub(super) fn ask<T>(
        &self,
        within: Duration,
        what: &dyn Fn() -> String,
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
            let error = failed(what(), error, said);
            if !is_silence || error.fault != Fault::Outage || since.elapsed() >= within {
                return Err(error);
            }
            thread::sleep(BETWEEN_TRIES);
        }
    }
}

/// The code of an error. The crate forgets those of administrators' requests.
fn code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

/// An error of librdkafka in our words, with what the client said, if that was the reason.
pub(super) fn failed(what: String, error: KafkaError, said: Option<Said>) -> Error {
    use RDKafkaErrorCode::*;
    let fault = match code(&error) {
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
    match said {
        Some(said) if fault == Fault::Outage => {
            let fault = if said.is_denied() { Fault::Denied } else { fault };
            Error::new(fault, format!("{what}: {error}")).because(said)
        }
        _ => Error::new(fault, what).because(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_is_lost_at_the_login_is_no_refusal() {
        let denied = |text: &str| Said { code: RDKafkaErrorCode::Authentication, text: text.into() }.is_denied();
        for answer in [
            "sasl_plaintext://b:1/bootstrap: SASL authentication error: Authentication failed: Invalid username or password (after 3ms)",
            "b:1/1: SASL SCRAM-SHA-512 mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported mechanisms: PLAIN",
        ] {
            assert!(denied(answer), "{answer}");
        }
        for lost in [
            "b:1/1: SASL PLAIN mechanism handshake failed: Local: Broker transport failure: broker's supported mechanisms: (n/a)",
            "b:1/1: Disconnected: hung up from peer in state AUTH_LEGACY",
            "b:1/1: Failed to acquire SASL OAUTHBEARER token: timed out",
        ] {
            assert!(!denied(lost), "{lost}");
        }
        let other =
            Said { code: RDKafkaErrorCode::BrokerTransportFailure, text: "SASL authentication error: x".into() };
        assert!(!other.is_denied());
    }
}
