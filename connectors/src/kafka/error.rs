//! Errors of librdkafka in one line: what was asked for, the code as Kafka's protocol spells it, and what the client says of its
//! connections. Most codes of connections say only that nothing answered; which it was, and why, stands in the client's words alone.

use std::fmt;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::{Error, Fault};

/// A request, for messages: `Kafka METADATA topic clicks`.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// As Kafka's protocol names it.
    api: &'static str,
    /// What it is about; empty where it is about no topic.
    object: String,
    /// The topic, and the right on it that this takes.
    right: Option<(&'static str, String)>,
}

impl Asked {
    /// Something about a topic that needs this right.
    pub(super) fn of_topic(api: &'static str, topic: &str) -> Asked {
        Asked { api, object: format!("topic {topic}"), right: Some(("DESCRIBE", topic.into())) }
    }

    /// Records; of one place, where it is known.
    pub(super) fn records(place: Option<(&str, i32, i64)>) -> Asked {
        let object = place.map_or(String::new(), |(topic, n, offset)| format!("{topic}[{n}] from offset {offset} on"));
        Asked { api: "FETCH", object, right: place.map(|(topic, ..)| ("READ", topic.into())) }
    }

    /// Something that this process does with its own client.
    pub(super) fn of_client(what: &str) -> Asked {
        Asked { api: "client", object: what.into(), right: None }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", format!("Kafka {} {}", self.api, self.object).trim_end())
    }
}

/// What a client says of its connections. Its error codes say only that nothing answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) code: RDKafkaErrorCode,
    pub(super) text: String,
}

/// What a client's words mean (`rdkafka_sasl.c`, `rdkafka_ssl.c` and `rdkafka_broker.c` of librdkafka 2.12.1): its code, some words, what is
/// at fault, and the remedy. The first that fits counts.
const WORDS: &[(RDKafkaErrorCode, &str, Fault, &str)] = &[
    (
        RDKafkaErrorCode::Authentication,
        "Unsupported SASL mechanism",
        Fault::Mismatch,
        "write one of the mechanisms that the broker lists as `sasl.mechanism` in `kafka.properties`",
    ),
    (
        RDKafkaErrorCode::Authentication,
        "SASL authentication error: ",
        Fault::Denied,
        "correct `sasl.username` or `sasl.password` in `kafka.properties`",
    ),
    (RDKafkaErrorCode::Authentication, "Request not valid in current SASL state", Fault::Mismatch, OPEN),
    (RDKafkaErrorCode::Authentication, "SASL Handshake not supported by broker", Fault::Mismatch, OPEN),
    (
        RDKafkaErrorCode::Authentication,
        "mechanism handshake failed: Broker: ",
        Fault::Denied,
        "correct `security.protocol` and `sasl.mechanism` in `kafka.properties`",
    ),
    (RDKafkaErrorCode::SSL, "certificate verify failed", Fault::Mismatch, UNTRUSTED),
    (RDKafkaErrorCode::SSL, "could not be verified", Fault::Mismatch, UNTRUSTED),
    (RDKafkaErrorCode::SSL, "wrong version number", Fault::Mismatch, PLAIN),
    (RDKafkaErrorCode::SSL, "connecting to a PLAINTEXT broker listener?", Fault::Outage, PLAIN),
    (RDKafkaErrorCode::BrokerTransportFailure, "connecting to a PLAINTEXT broker listener?", Fault::Outage, PLAIN),
    (
        RDKafkaErrorCode::BadMessage,
        "Invalid response size",
        Fault::Mismatch,
        "what answers is no broker, or it speaks TLS: correct `kafka.brokers`, or `security.protocol` in `kafka.properties`",
    ),
    (
        RDKafkaErrorCode::SSL,
        "client SSL authentication might be required",
        Fault::Outage,
        "write `ssl.certificate.location` and `ssl.key.location` in `kafka.properties`, if the broker wants a certificate",
    ),
    (RDKafkaErrorCode::BrokerTransportFailure, "connecting to a SSL listener?", Fault::Outage, OTHER),
    (RDKafkaErrorCode::BrokerTransportFailure, "security.protocol", Fault::Outage, OTHER),
    (RDKafkaErrorCode::BrokerTransportFailure, "broker might require SASL", Fault::Outage, OTHER),
    (
        RDKafkaErrorCode::Resolve,
        "",
        Fault::Outage,
        "correct `kafka.brokers`; or, if another name is meant, the brokers' `advertised.listeners`",
    ),
];

/// A certificate of which the client does not say what is wrong with it.
const UNTRUSTED: &str = "write `ssl.ca.location` in `kafka.properties`, a file with the authority that signed the brokers' certificates; if \
                         that is right, name the brokers in `kafka.brokers` as their certificates do";
/// A listener that wants no login.
const OPEN: &str = "this listener takes no login: write \"PLAINTEXT\" or \"SSL\" as `security.protocol` in `kafka.properties`, or name \
                    its port with a login in `kafka.brokers`";
/// A listener that does not speak TLS.
const PLAIN: &str = "this listener does not seem to speak TLS: write \"PLAINTEXT\" or \"SASL_PLAINTEXT\" as `security.protocol` in \
                     `kafka.properties`, or name its TLS port in `kafka.brokers`";
/// One that speaks something else.
const OTHER: &str = "if this listener speaks TLS or wants a login, write \"SSL\", \"SASL_SSL\" or \"SASL_PLAINTEXT\" as \
                     `security.protocol` in `kafka.properties`";
/// Where nobody answers.
pub(super) const PLACE: &str = "look at `kafka.brokers`, the brokers' `advertised.listeners` and the way there";

impl Said {
    fn meant(&self) -> Option<(Fault, &'static str)> {
        let mut known = WORDS.iter().filter(|(code, words, ..)| *code == self.code && self.text.contains(words));
        known.next().map(|(_, _, fault, remedy)| (*fault, *remedy))
    }

    /// No later try is of use. The code alone does not tell: a connection that is lost while name and password are said has the same
    /// one.
    pub(super) fn is_final(&self) -> bool {
        self.meant().is_some_and(|(fault, _)| fault != Fault::Outage)
    }

    /// The words, without how long it took and how often it was so.
    fn line(&self) -> &str {
        self.text.split_once(" (after ").map_or(self.text.as_str(), |(line, _)| line).trim()
    }

    /// Why it was not given what was asked for.
    pub(super) fn refusal(self, asked: &Asked) -> Error {
        let (fault, remedy) = self.meant().unwrap_or((Fault::Outage, PLACE));
        Error::new(fault, format!("{asked}: {}: {}", name(self.code), self.line())).remedy(remedy).because(self)
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Said {}

/// The code of an error. The crate forgets those of administrators' requests.
pub(super) fn code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

/// A code as Kafka's protocol spells it: `TOPIC_AUTHORIZATION_FAILED`.
fn name(code: RDKafkaErrorCode) -> String {
    let (mut name, mut before) = (String::new(), 'A');
    for letter in format!("{code:?}").chars() {
        // SSL is one word.
        if letter.is_ascii_uppercase() && before.is_ascii_lowercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
        before = letter;
    }
    name
}

/// What librdkafka says of a code.
fn description(code: RDKafkaErrorCode) -> String {
    let whole = code.to_string();
    let (_, inner) = whole.split_once(" (").unwrap_or(("", &whole));
    inner.strip_suffix(')').unwrap_or(inner).to_string()
}

/// An error of librdkafka in our words, with what the client said, if that was the reason.
pub(super) fn failed(asked: &Asked, error: KafkaError, said: Option<Said>) -> Error {
    use RDKafkaErrorCode::*;
    let Some(code) = code(&error) else {
        return Error::new(Fault::Outage, format!("{asked}: {error}")).because(error);
    };
    let told = |fault| Error::new(fault, format!("{asked}: {}: {}", name(code), description(code)));
    let acl = |right: &str, kind: &str, name: &str| {
        format!(
            "allow {right} on {kind} {name}: kafka-acls --add --allow-principal User:NAME --operation {right} --{kind} {name}"
        )
    };
    let error = match (code, &asked.right) {
        (UnknownTopicOrPartition | UnknownTopic | UnknownPartition, _) => told(Fault::Missing),
        (TopicAuthorizationFailed, Some((right, topic))) => told(Fault::Denied).remedy(acl(right, "topic", topic)),
        (TopicAuthorizationFailed, None) => told(Fault::Denied).remedy(acl("READ", "topic", "NAME")),
        (ClusterAuthorizationFailed | GroupAuthorizationFailed, _) => told(Fault::Denied),
        (Authentication | SaslAuthenticationFailed, _) => {
            told(Fault::Denied).remedy("correct `sasl.username` or `sasl.password` in `kafka.properties`")
        }
        (AutoOffsetReset | OffsetOutOfRange, _) => told(Fault::Refused),
        _ => match said {
            Some(said) => return said.refusal(asked),
            None => told(Fault::Outage).remedy(PLACE),
        },
    };
    error.because(KafkaError::AdminOp(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: RDKafkaErrorCode, text: &str) -> Said {
        Said { code, text: text.into() }
    }

    #[test]
    fn a_code_is_spelled_as_the_protocol_does() {
        use RDKafkaErrorCode::*;
        let codes = [(SSL, "SSL"), (TopicAuthorizationFailed, "TOPIC_AUTHORIZATION_FAILED"), (Resolve, "RESOLVE")];
        assert!(codes.into_iter().all(|(code, spelled)| name(code) == spelled));
        let text = "b:1/1: SASL PLAIN mechanism handshake failed: Broker: Request not valid in current SASL state: broker's supported \
                    mechanisms: ";
        let error = said(Authentication, text).refusal(&Asked::of_topic("METADATA", "t"));
        assert!(error.fault == Fault::Mismatch && error.remedy.is_some_and(|remedy| remedy.contains("no login")));
    }

    #[test]
    fn a_connection_that_is_lost_at_the_login_is_no_refusal() {
        let is_final = |text: &str| said(RDKafkaErrorCode::Authentication, text).is_final();
        for answer in [
            "sasl_plaintext://b:1/bootstrap: SASL authentication error: Authentication failed: Invalid username or password (after 3ms)",
            "b:1/1: SASL SCRAM-SHA-512 mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported mechanisms: PLAIN",
        ] {
            assert!(is_final(answer), "{answer}");
        }
        for lost in [
            "b:1/1: SASL PLAIN mechanism handshake failed: Local: Broker transport failure: broker's supported mechanisms: (n/a)",
            "b:1/1: Disconnected: hung up from peer in state AUTH_LEGACY",
            "b:1/1: Failed to acquire SASL OAUTHBEARER token: timed out",
        ] {
            assert!(!is_final(lost), "{lost}");
        }
        assert!(!said(RDKafkaErrorCode::BrokerTransportFailure, "SASL authentication error: x").is_final());
    }

    /// As librdkafka was seen to say it.
    #[test]
    fn what_a_client_says_has_a_fault_and_a_remedy() {
        use RDKafkaErrorCode::*;
        for (code, text, fault, remedy) in [
            (
                SSL,
                "ssl://b:1/bootstrap: SSL handshake failed: error:0A00010B:SSL routines::wrong version number: connecting to a \
                PLAINTEXT broker listener? (after 1ms in state SSL_HANDSHAKE)",
                Fault::Mismatch,
                "\"PLAINTEXT\"",
            ),
            (
                SSL,
                "ssl://b:1/bootstrap: SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener? (after 2ms)",
                Fault::Outage,
                "\"PLAINTEXT\"",
            ),
            (
                SSL,
                "ssl://b:1/1: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker certificate could \
                not be verified, verify that ssl.ca.location is correctly configured",
                Fault::Mismatch,
                "`ssl.ca.location`",
            ),
            (
                BrokerTransportFailure,
                "b:1/bootstrap: Disconnected while requesting ApiVersion: might be caused by incorrect \
                security.protocol configuration (connecting to a SSL listener?)",
                Fault::Outage,
                "\"SASL_SSL\"",
            ),
            (
                BrokerTransportFailure,
                "ssl://b:1/bootstrap: SSL handshake failed: Disconnected: SSL connection closed by peer: connecting to a PLAINTEXT \
                 broker listener?",
                Fault::Outage,
                "\"PLAINTEXT\"",
            ),
            (
                BadMessage,
                "b:1/bootstrap: Receive failed: Invalid response size 1213486160 (0..100000000): increase \
                 receive.message.max.bytes",
                Fault::Mismatch,
                "`kafka.brokers`",
            ),
            (
                Resolve,
                "nowhere:1/bootstrap: Failed to resolve 'nowhere:1': Name or service not known",
                Fault::Outage,
                "`kafka.brokers`",
            ),
            (
                BrokerTransportFailure,
                "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in \
                state CONNECT)",
                Fault::Outage,
                "`kafka.brokers`",
            ),
        ] {
            let error = said(code, text).refusal(&Asked::of_topic("METADATA", "clicks"));
            assert_eq!(error.fault, fault, "{text}");
            assert!(error.remedy.as_ref().is_some_and(|said| said.contains(remedy)), "{text}: {error:?}");
            assert!(
                !error.what.contains("(after") && error.what.starts_with("Kafka METADATA topic clicks: "),
                "{error}"
            );
        }
    }

    #[test]
    fn a_missing_right_names_the_operation_of_the_acl() {
        let denied = |asked| failed(&asked, KafkaError::AdminOp(RDKafkaErrorCode::TopicAuthorizationFailed), None);
        let error = denied(Asked::of_topic("METADATA", "clicks"));
        assert_eq!(error.fault, Fault::Denied);
        assert_eq!(
            error.what,
            "Kafka METADATA topic clicks: TOPIC_AUTHORIZATION_FAILED: Broker: Topic authorization failed"
        );
        let remedy = error.remedy.unwrap_or_default();
        assert!(remedy.ends_with("--operation DESCRIBE --topic clicks"), "{remedy}");
        let error = denied(Asked::records(Some(("clicks", 3, 7))));
        assert!(error.what.starts_with("Kafka FETCH clicks[3] from offset 7 on: TOPIC_"), "{error}");
        assert!(error.remedy.unwrap_or_default().contains("READ"));
    }
}
