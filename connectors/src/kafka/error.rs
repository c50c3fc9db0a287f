//! Errors of librdkafka in our words, and what a client says of its connections.

use std::fmt;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::{Error, Fault};

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

/// The code of an error. The crate forgets those of administrators' requests.
pub(super) fn code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
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
