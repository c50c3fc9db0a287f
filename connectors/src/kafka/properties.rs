//! Which properties of librdkafka there are, which of them a job file may set, and what is wrong with one: told before a client is made.

use rdkafka::{ClientConfig, error::KafkaError, types::RDKafkaConfRes};

use super::settings::OWNED;

/// What is wrong with a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PropertyProblem {
    /// The protocol depends on it, or it runs code of others; and why.
    Owned(&'static str),
    /// It is a property of the Java client; what is written instead.
    Java(&'static str),
    /// There is none of this name among [`NAMES`].
    Unknown,
    /// It holds a secret, which must not be written out.
    Secret,
    /// It cannot have this value, in words that name it.
    Value(String),
}

/// Properties that hold a secret.
const SECRETS: &[&str] = &[
    "sasl.password",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
];

/// Properties that run code which is not ours.
const CODE: &[&str] =
    &["plugin.library.paths", "sasl.kerberos.kinit.cmd", "ssl.engine.id", "ssl.engine.location", "ssl.providers"];

/// Ways to log in that this program has.
const MECHANISMS: &[&str] = &["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// Properties of the Java client under another name here, and what is written instead.
const JAVA: &[(&str, &str)] = &[
    ("sasl.jaas.config", "write `sasl.username`, and `sasl.password` as a secret"),
    ("ssl.truststore.location", "write `ssl.ca.location`, a file of certificates in PEM form"),
    ("ssl.truststore.password", "leave it out: `ssl.ca.location` is a file in PEM form and has none"),
    ("ssl.truststore.type", "leave it out: `ssl.ca.location` is a file in PEM form"),
    ("ssl.truststore.certificates", "write `ssl.ca.pem`"),
    ("ssl.keystore.type", "leave it out: `ssl.keystore.location` is a file in PKCS#12 form"),
    ("ssl.keystore.key", "write `ssl.key.pem` as a secret"),
    ("ssl.keystore.certificate.chain", "write `ssl.certificate.pem`"),
    ("ssl.protocol", "leave it out: the newest that both sides know is used"),
    ("ssl.enabled.protocols", "leave it out: the newest that both sides know is used"),
    ("ssl.cipher.suites.list", "write `ssl.cipher.suites`"),
    ("fetch.max.wait.ms", "write `fetch.wait.max.ms`"),
    ("receive.buffer.bytes", "write `socket.receive.buffer.bytes`"),
    ("send.buffer.bytes", "write `socket.send.buffer.bytes`"),
    ("default.api.timeout.ms", "write `socket.timeout.ms`"),
    ("max.poll.records", "leave it out: a batch has as many records as fit"),
    ("key.deserializer", "leave it out: the job file declares the types"),
    ("value.deserializer", "leave it out: the job file declares the types"),
    ("interceptor.classes", "leave it out: there is no Java here"),
    ("metric.reporters", "leave it out: there is no Java here"),
    ("sasl.login.callback.handler.class", "leave it out: there is no Java here"),
    ("sasl.client.callback.handler.class", "leave it out: there is no Java here"),
    ("sasl.login.class", "leave it out: there is no Java here"),
    ("security.providers", "leave it out: there is no Java here"),
];

/// Names of librdkafka's properties for consumers, from its CONFIGURATION.md, to suggest one.
pub const NAMES: &[&str] = &[
    "allow.auto.create.topics",
    "api.version.fallback.ms",
    "api.version.request",
    "api.version.request.timeout.ms",
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "bootstrap.servers",
    "broker.address.family",
    "broker.address.ttl",
    "broker.version.fallback",
    "check.crcs",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "connections.max.idle.ms",
    "consume.callback.max.messages",
    "coordinator.query.interval.ms",
    "debug",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.metrics.push",
    "enable.partition.eof",
    "enable.random.seed",
    "enable.sasl.oauthbearer.unsecure.jwt",
    "enable.ssl.certificate.verification",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.protocol.type",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "https.ca.location",
    "https.ca.pem",
    "internal.termination.signal",
    "isolation.level",
    "log.connection.close",
    "log.queue",
    "log.thread.name",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "message.copy.max.bytes",
    "message.max.bytes",
    "metadata.broker.list",
    "metadata.max.age.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "offset.store.method",
    "offset.store.path",
    "offset.store.sync.interval.ms",
    "partition.assignment.strategy",
    "plugin.library.paths",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "receive.message.max.bytes",
    "reconnect.backoff.jitter.ms",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "sasl.kerberos.keytab",
    "sasl.kerberos.kinit.cmd",
    "sasl.kerberos.min.time.before.relogin",
    "sasl.kerberos.principal",
    "sasl.kerberos.service.name",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.oauthbearer.assertion.algorithm",
    "sasl.oauthbearer.assertion.claim.aud",
    "sasl.oauthbearer.assertion.claim.exp.seconds",
    "sasl.oauthbearer.assertion.claim.iss",
    "sasl.oauthbearer.assertion.claim.jti.include",
    "sasl.oauthbearer.assertion.claim.nbf.seconds",
    "sasl.oauthbearer.assertion.claim.sub",
    "sasl.oauthbearer.assertion.file",
    "sasl.oauthbearer.assertion.jwt.template.file",
    "sasl.oauthbearer.assertion.private.key.file",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.client.credentials.client.id",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.extensions",
    "sasl.oauthbearer.grant.type",
    "sasl.oauthbearer.metadata.authentication.type",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "session.timeout.ms",
    "socket.blocking.max.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "ssl.ca.certificate.stores",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.endpoint.identification.algorithm",
    "ssl.engine.id",
    "ssl.engine.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.providers",
    "ssl.sigalgs.list",
    "statistics.interval.ms",
    "topic.blacklist",
    "topic.metadata.propagation.max.ms",
    "topic.metadata.refresh.fast.cnt",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.interval.ms",
    "topic.metadata.refresh.sparse",
];

/// What is wrong with a property of a job file; `value` is `None` where it is a secret, which nobody looks at.
///
/// # Errors
/// What is wrong with it.
pub fn check_property(name: &str, value: Option<&str>) -> Result<(), PropertyProblem> {
    if let Some((_, why)) = OWNED.iter().find(|(owned, _)| *owned == name) {
        return Err(PropertyProblem::Owned(why));
    }
    if CODE.contains(&name) {
        return Err(PropertyProblem::Owned("it runs code that is not part of this program"));
    }
    if let Some((_, instead)) = JAVA.iter().find(|(java, _)| *java == name) {
        return Err(PropertyProblem::Java(instead));
    }
    if SECRETS.contains(&name) && value.is_some() {
        return Err(PropertyProblem::Secret);
    }
    if let (true, Some(value)) = (matches!(name, "sasl.mechanism" | "sasl.mechanisms"), value)
        && !MECHANISMS.contains(&value)
    {
        let aws = if value == "AWS_MSK_IAM" { "; MSK has SCRAM-SHA-512 as well" } else { "" };
        return Err(PropertyProblem::Value(format!("{value:?} is not one of {}{aws}", MECHANISMS.join(", "))));
    }
    // Of a secret only the name is asked for: whatever is wrong with this stand-in for its value says nothing.
    match ClientConfig::new().set(name, value.unwrap_or("x")).create_native_config() {
        Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => Err(PropertyProblem::Unknown),
        Err(KafkaError::ClientConfig(_, why, ..)) => match value {
            Some(value) if !why.contains(value) => Err(PropertyProblem::Value(format!("{value:?}: {why}"))),
            Some(_) => Err(PropertyProblem::Value(why)),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_property_is_said() {
        use PropertyProblem::*;
        assert_eq!(check_property("fetch.max.bytes", Some("1000000")), Ok(()));
        assert_eq!(check_property("sasl.mechanism", Some("SCRAM-SHA-512")), Ok(()));
        for name in SECRETS {
            assert_eq!(check_property(name, Some("plain")), Err(Secret), "{name}");
            assert_eq!(check_property(name, None), Ok(()), "{name}");
        }
        assert!(matches!(check_property("group.id", Some("g")), Err(Owned(_))));
        assert!(matches!(check_property("plugin.library.paths", Some("x.so")), Err(Owned(_))));
        assert!(matches!(check_property("sasl.jaas.config", None), Err(Java(what)) if what.contains("sasl.username")));
        assert_eq!(check_property("sasl.pasword", None), Err(Unknown));
        assert_eq!(check_property("fetch.max.byte", Some("1")), Err(Unknown));
        assert_eq!(check_property("nothing.like.it", Some("1")), Err(Unknown));
        for (name, value) in [
            ("security.protocol", "tls"),
            ("fetch.max.bytes", "many"),
            ("fetch.min.bytes", "0"),
            ("sasl.mechanisms", "AWS_MSK_IAM"),
            ("sasl.mechanisms", "GSSAPI"),
            ("sasl.mechanisms", "OAUTHBEARER"),
        ] {
            let found = check_property(name, Some(value));
            assert!(matches!(&found, Err(Value(why)) if why.contains(value)), "{name}: {found:?}");
        }
    }

    #[test]
    fn every_name_is_one_of_librdkafkas() {
        for name in NAMES.iter().chain(SECRETS) {
            let found = ClientConfig::new().set(*name, "x").create_native_config();
            let is_unknown = matches!(found, Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)));
            assert!(!is_unknown, "{name}");
        }
        assert!(SECRETS.iter().all(|name| NAMES.contains(name)));
        for (name, _) in JAVA {
            assert!(!NAMES.contains(name), "{name} is a name of both");
        }
    }
}
