//! The ports against real servers: the conformance suite over the local stack, and TLS against PostgreSQL's own.

use std::{collections::BTreeMap, net::TcpListener, time::Duration};

use connectors::{
    Fault, Warehouse,
    conformance::{self, Trouble},
    kafka::{self, Kafka},
    redshift::{Redshift, Settings, Tls},
    s3::{self, S3},
};
use harness::{
    proxy::{Action, Kind, Moment, Proxy},
    world::{STACK, World, until},
};
use openssl::{
    asn1::Asn1Time,
    bn::BigNum,
    hash::MessageDigest,
    pkey::{PKey, Private},
    rsa::Rsa,
    x509::{
        X509, X509Name,
        extension::{BasicConstraints, SubjectAlternativeName},
    },
};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};

struct Producers {
    plain: BaseProducer,
    transactional: BaseProducer,
}

impl Producers {
    fn new(name: &str) -> Producers {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", STACK.kafka.brokers());
        let plain = config.create().expect("a producer");
        config.set("transactional.id", name);
        let transactional: BaseProducer = config.create().expect("a producer");
        transactional.init_transactions(Duration::from_secs(30)).expect("transactions");
        Producers { plain, transactional }
    }
}

impl conformance::Producer for Producers {
    fn send(&mut self, topic: &str, partition: i32, key: Option<&str>, value: Option<&str>) {
        let mut record = BaseRecord::<str, str>::to(topic).partition(partition);
        (record.key, record.payload) = (key, value);
        self.plain.send(record).map_err(|(e, _)| e).expect("it is queued");
        self.plain.flush(Duration::from_secs(30)).expect("it is there");
    }

    fn transaction(&mut self, topic: &str, partition: i32, values: &[&str], commit: bool) {
        self.transactional.begin_transaction().expect("a transaction");
        for value in values {
            let record = BaseRecord::<str, str>::to(topic).partition(partition).payload(value);
            self.transactional.send(record).map_err(|(e, _)| e).expect("it is queued");
        }
        self.transactional.flush(Duration::from_secs(30)).expect("they are there");
        let end = if commit { Producer::commit_transaction } else { Producer::abort_transaction };
        end(&self.transactional, Duration::from_secs(30)).expect("it ends");
    }
}

#[test]
fn kafka_keeps_the_promises_of_a_log() {
    let world = World::bare("port_log");
    let (a, b) = (format!("{}_a", world.name), format!("{}_b", world.name));
    world.create_topic(&a, 2);
    world.create_topic(&b, 1);
    let settings = kafka::Settings {
        brokers: STACK.kafka.brokers(),
        job: world.name.clone(),
        properties: Vec::new(),
        queue_kb: 1024,
        headers: false,
    };
    conformance::log(&Kafka::new(settings), &mut Producers::new(&world.name), &a, &b);
}

#[test]
fn headers_come_as_json() {
    use connectors::Log;
    use rdkafka::message::{Header, OwnedHeaders};
    let world = World::bare("port_headers");
    world.create_topic(&world.name, 1);
    let producers = Producers::new(&world.name);
    let header = |key, value| Header { key, value };
    let headers = OwnedHeaders::new()
        .insert(header("a", Some(&b"x \"y\""[..])))
        .insert(header("b", Some(&b"\xff\x00"[..])))
        .insert::<[u8]>(header("c", None));
    for headers in [Some(headers), None] {
        let mut record = BaseRecord::<str, str>::to(&world.name).payload("v");
        record.headers = headers;
        producers.plain.send(record).map_err(|(e, _)| e).expect("it is queued");
    }
    producers.plain.flush(Duration::from_secs(30)).expect("they are there");
    let (brokers, job) = (STACK.kafka.brokers(), world.name.clone());
    let log = Kafka::new(kafka::Settings { brokers, job, properties: Vec::new(), queue_kb: 1024, headers: true });
    let mut reader = log.read(&[(checkpoint::TopicPartition::new(world.name.as_str(), 0), 0)]).expect("a reader");
    let mut found = Vec::new();
    until(Duration::from_secs(30), "both records", || {
        if let Some(batch) = reader.next(Duration::from_millis(50)).expect("no error") {
            found.extend(
                (0..batch.len())
                    .map(|i| String::from_utf8(batch.headers.get(i).expect("headers").to_vec()).expect("UTF-8")),
            );
        }
        found.len() == 2
    });
    let first: serde_json::Value = serde_json::from_str(&found[0]).expect("JSON");
    let expected = serde_json::json!([{"key": "a", "value": "x \"y\""}, {"key": "b", "base64": "/wA="}, {"key": "c", "value": null}]);
    assert_eq!((first, found[1].as_str()), (expected, "[]"));
}

fn s3(secret: &str, bucket: &str) -> S3 {
    let (id, endpoint) = (STACK.s3.owner().id.clone(), STACK.s3.endpoint());
    let settings = s3::Settings {
        bucket: bucket.into(),
        prefix: "ports".into(),
        region: Some("us-east-1".into()),
        endpoint: Some(endpoint),
        keys: Some((id, secret.into())),
    };
    S3::new(settings).expect("a client")
}

#[test]
fn s3_keeps_the_promises_of_objects() {
    use connectors::Objects;
    let secret = STACK.s3.owner().secret.clone();
    conformance::objects(&s3(&secret, STACK.s3.bucket()));
    assert_eq!(s3("wrong", STACK.s3.bucket()).put("k", "v".into()).unwrap_err().fault, Fault::Denied);
    assert_eq!(s3(&secret, "no-such-bucket").put("k", "v".into()).unwrap_err().fault, Fault::Missing);
}

/// The same through a proxy that cuts the connection at a moment.
#[test]
fn s3_keeps_them_when_connections_break() {
    let proxy = Proxy::start(Kind::S3, STACK.s3.endpoint().trim_start_matches("http://").parse().expect("an address"));
    let owner = STACK.s3.owner();
    let settings = s3::Settings {
        bucket: STACK.s3.bucket().into(),
        prefix: "troubled".into(),
        region: Some("us-east-1".into()),
        endpoint: Some(format!("http://{}", proxy.address())),
        keys: Some((owner.id.clone(), owner.secret.clone())),
    };
    let mut caused = 0;
    conformance::troubled_objects(&S3::new(settings).expect("a client"), &mut |trouble| {
        caused += 1;
        proxy.at(Moment::Upload, if trouble == Trouble::Before { Action::Cut } else { Action::CutAnswer });
    });
    assert_eq!(proxy.sprung(), caused, "each accident happened");
}

#[test]
fn redshift_keeps_them_when_connections_break() {
    let world = World::bare("port_troubled");
    let proxy = Proxy::start(Kind::Redshift, STACK.redshift.address());
    let address = proxy.address();
    let mut warehouse = redshift(&world.name, |s| (s.host, s.port) = (address.ip().to_string(), address.port()));
    let mut caused = 0;
    conformance::troubled_warehouse(&mut warehouse, &mut |trouble| {
        caused += 1;
        let moment = match trouble {
            Trouble::Before => Moment::Fence,
            Trouble::AtTheEnd => Moment::Commit,
            Trouble::AnswerLost => Moment::Committed,
        };
        proxy.at(moment, Action::Cut);
    });
    assert_eq!(proxy.sprung(), caused, "each accident happened");
}

fn redshift(job: &str, change: impl FnOnce(&mut Settings)) -> Redshift {
    let env: BTreeMap<&str, String> = STACK.env().into_iter().collect();
    let mut settings = Settings {
        host: env["REDSHIFT_HOST"].clone(),
        port: env["REDSHIFT_PORT"].parse().expect("a port"),
        database: env["REDSHIFT_DATABASE"].clone(),
        user: env["REDSHIFT_USER"].clone(),
        password: env["REDSHIFT_PASSWORD"].clone(),
        iam_role: env["REDSHIFT_IAM_ROLE"].clone(),
        tls: Tls::Off,
        statement_timeout: Duration::from_secs(60),
        application_name: "ports".into(),
    };
    change(&mut settings);
    Redshift::new(settings, "tidegate", job).expect("a client")
}

#[test]
fn redshift_keeps_the_promises_of_a_warehouse() {
    let world = World::bare("port_warehouse");
    world.create_table(&world.name);
    let target = connectors::TableName { schema: "public".into(), table: world.name.clone() };
    let (mut one, mut two) = (redshift(&world.name, |_| {}), redshift(&world.name, |_| {}));
    conformance::warehouse(&mut one, &mut two, &target);

    let denied = redshift(&world.name, |s| s.password = "wrong".into()).columns(&target).unwrap_err();
    assert_eq!(denied.fault, Fault::Denied, "{denied:?}");
    let nowhere = redshift(&world.name, |s| s.port = 1).columns(&target).unwrap_err();
    assert!(nowhere.is_retriable(), "{nowhere:?}");
    let missing = redshift(&world.name, |s| s.database = "nothing".into()).columns(&target).unwrap_err();
    assert_eq!(missing.fault, Fault::Missing, "{missing:?}");
}

/// A server that takes connections and says nothing.
#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let target = connectors::TableName { schema: "public".into(), table: "t".into() };
    let error = redshift("silent", |s| s.port = port).columns(&target).unwrap_err();
    assert!(error.is_retriable(), "{error:?}");
}

/// A certificate for `name`, signed by `signer` or by itself.
fn certificate(name: &str, signer: Option<(&X509, &PKey<Private>)>) -> (X509, PKey<Private>) {
    let key = PKey::from_rsa(Rsa::generate(2048).expect("a key")).expect("a key");
    let mut subject = X509Name::builder().expect("a name");
    subject.append_entry_by_text("CN", name).expect("a name");
    let subject = subject.build();
    let mut builder = X509::builder().expect("a certificate");
    builder.set_version(2).expect("version 3");
    let serial = BigNum::from_u32(name.len() as u32 + 1).and_then(|n| n.to_asn1_integer()).expect("a number");
    builder.set_serial_number(&serial).expect("a number");
    builder.set_subject_name(&subject).expect("a name");
    builder.set_issuer_name(signer.map_or(&subject, |(ca, _)| ca.subject_name())).expect("a name");
    builder.set_not_before(&Asn1Time::days_from_now(0).expect("a day")).expect("a day");
    builder.set_not_after(&Asn1Time::days_from_now(2).expect("a day")).expect("a day");
    builder.set_pubkey(&key).expect("a key");
    match signer {
        None => builder.append_extension(BasicConstraints::new().critical().ca().build().expect("an extension")),
        Some((ca, _)) => {
            let names = SubjectAlternativeName::new().dns(name).build(&builder.x509v3_context(Some(ca), None));
            builder.append_extension(names.expect("an extension"))
        }
    }
    .expect("an extension");
    builder.sign(signer.map_or(&key, |(_, key)| key), MessageDigest::sha256()).expect("a signature");
    (builder.build(), key)
}

#[test]
fn tls_is_verified_against_the_right_authority_and_host() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let ((ca, ca_key), (other, _)) = (certificate("right authority", None), certificate("wrong authority", None));
    std::fs::write(path("ca.pem"), ca.to_pem().expect("PEM")).expect("written");
    std::fs::write(path("other.pem"), other.to_pem().expect("PEM")).expect("written");
    let start = |host: &str, folder: &str| {
        let (server, key) = certificate(host, Some((&ca, &ca_key)));
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let tls = (server.to_pem().expect("PEM"), key.private_key_to_pem_pkcs8().expect("PEM"));
        let postgres = stack::redshift::Postgres::with_tls(&dir.path().join(folder), port, &tls.0, &tls.1)
            .expect("PostgreSQL starts");
        (postgres, port)
    };
    let target = connectors::TableName { schema: "public".into(), table: "nothing".into() };
    let ask = |port: u16, host: &str, ca: &str| {
        let ca_file = Some(path(ca));
        let (host, tls) = (host.to_string(), Tls::VerifyFull { ca_file });
        redshift("tls", |s| (s.host, s.port, s.tls) = (host, port, tls)).columns(&target)
    };
    let (_server, port) = start("localhost", "right");
    assert_eq!(ask(port, "localhost", "ca.pem").unwrap(), None, "the right authority");
    let error = ask(port, "localhost", "other.pem").unwrap_err();
    assert_eq!(error.fault, Fault::Denied, "the wrong authority: {error:?}");
    let (_server, port) = start("example.org", "wrong");
    let error = ask(port, "localhost", "ca.pem").unwrap_err();
    assert_eq!(error.fault, Fault::Denied, "the wrong host: {error:?}");
    // Encryption that was asked for and is not there is no connection at all.
    let plain = STACK.redshift.address().port();
    assert!(ask(plain, "127.0.0.1", "ca.pem").is_err());
}
