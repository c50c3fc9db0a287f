//! The ports against real servers: the conformance suite over the local stack, and TLS against PostgreSQL's own.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use checkpoint::{
    LastRecord, TopicPartition,
    protocol::{SourceFacts, Start},
};
use connectors::{
    Fault, Inspect, Log, Read, ReadFrom, Reader, Secret, StartAt, Warehouse,
    conformance::{self, SetAside, Trouble},
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
    other: BaseProducer,
}

impl Producers {
    fn new(name: &str) -> Producers {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", STACK.kafka.brokers());
        let plain = config.create().expect("a producer");
        let mut transactional = |id: &str| {
            let producer: BaseProducer = config.set("transactional.id", id).create().expect("a producer");
            producer.init_transactions(Duration::from_secs(30)).expect("transactions");
            producer
        };
        let (transactional, other) = (transactional(name), transactional(&format!("{name}_other")));
        Producers { plain, transactional, other }
    }

    fn begin(producer: &BaseProducer, topic: &str, partition: i32, values: &[&str]) {
        producer.begin_transaction().expect("a transaction");
        for value in values {
            let record = BaseRecord::<str, str>::to(topic).partition(partition).payload(value);
            producer.send(record).map_err(|(e, _)| e).expect("it is queued");
        }
        producer.flush(Duration::from_secs(30)).expect("they are there");
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
        Producers::begin(&self.transactional, topic, partition, values);
        let end = if commit { Producer::commit_transaction } else { Producer::abort_transaction };
        end(&self.transactional, Duration::from_secs(30)).expect("it ends");
    }

    fn overtaken(&mut self, topic: &str, partition: i32, aborted: &[&str], open: &str) {
        Producers::begin(&self.transactional, topic, partition, aborted);
        Producers::begin(&self.other, topic, partition, &[open]);
        self.transactional.abort_transaction(Duration::from_secs(30)).expect("it ends");
    }

    fn commit(&mut self, _: &str, _: i32) {
        self.other.commit_transaction(Duration::from_secs(30)).expect("it ends");
    }
}

pub(crate) fn kafka(job: &str, change: impl FnOnce(&mut kafka::Settings)) -> Kafka {
    let mut settings = kafka::Settings {
        brokers: STACK.kafka.brokers(),
        job: job.into(),
        // Of a topic that is not there it says so at once, and not after half a minute.
        properties: vec![("topic.metadata.propagation.max.ms".into(), "0".into())],
        queue_kb: 1024,
        batch_bytes: 8 << 20,
        headers: false,
        answer_within: kafka::ANSWER_WITHIN,
    };
    change(&mut settings);
    Kafka::new(settings)
}

#[test]
fn kafka_keeps_the_promises_of_a_log() {
    let world = World::bare("port_log");
    let (a, b) = (format!("{}_a", world.name), format!("{}_b", world.name));
    world.create_topic(&a, 2);
    world.create_topic(&b, 1);
    let mut producers = Producers::new(&world.name);
    conformance::log(&kafka(&world.name, |_| {}), &mut producers, &a, &b);
    let c = format!("{}_c", world.name);
    world.create_topic(&c, 1);
    conformance::unseen(&kafka(&world.name, |_| {}), &mut producers, &c);
    let d = format!("{}_d", world.name);
    world.create_topic(&d, 2);
    conformance::reader(&kafka(&world.name, |_| {}), &mut producers, &d);

    // Brokers that go away and come back.
    let broker = STACK.kafka.broker().expect("a real one");
    let door = broker.side_door().expect("nobody has it yet");
    let proxy = Proxy::behind(door.outside, Kind::Kafka, door.inside);
    let (brokers, within) = (proxy.address().to_string(), Duration::from_secs(5));
    let away = kafka(&world.name, |s| (s.brokers, s.answer_within) = (brokers, within));
    conformance::barred_log(&away, &mut producers, &a, Fault::Outage, &mut |bar| proxy.down(bar));
}

/// A log whose client logs in, and for which something is wrong as long as it is barred.
struct Guarded {
    open: Kafka,
    barred: Kafka,
    is_barred: AtomicBool,
}

impl Guarded {
    fn log(&self) -> &Kafka {
        if self.is_barred.load(Ordering::SeqCst) { &self.barred } else { &self.open }
    }
}

impl Log for Guarded {
    fn partitions(&self, topic: &str) -> connectors::Result<Option<BTreeMap<i32, SourceFacts>>> {
        self.log().partitions(topic)
    }

    fn topic_id(&self, topic: &str) -> connectors::Result<Option<String>> {
        self.log().topic_id(topic)
    }

    fn starts(&self, topic: &str, at: StartAt) -> connectors::Result<BTreeMap<i32, Start>> {
        self.log().starts(topic, at)
    }

    fn records_at(&self, at: &[(TopicPartition, i64)]) -> connectors::Result<Vec<Option<LastRecord>>> {
        self.log().records_at(at)
    }

    fn is_read_up(&self, at: &[(TopicPartition, i64, i64)]) -> connectors::Result<Vec<bool>> {
        self.log().is_read_up(at)
    }

    fn next_readable(&self, partition: &TopicPartition, from: i64) -> connectors::Result<i64> {
        self.log().next_readable(partition, from)
    }

    fn first_timestamps(&self, at: &[(TopicPartition, i64)]) -> connectors::Result<Vec<Option<i64>>> {
        self.log().first_timestamps(at)
    }

    fn read(&self, from: &[ReadFrom]) -> connectors::Result<Box<dyn Reader>> {
        self.log().read(from)
    }
}

#[test]
fn kafka_says_whom_it_does_not_let_in() {
    let world = World::bare("port_login");
    world.create_topic(&world.name, 1);
    let mut producers = Producers::new(&world.name);
    conformance::Producer::send(&mut producers, &world.name, 0, None, Some("v"));
    let login = |name: &str, password: &str| {
        let broker = STACK.kafka.broker().expect("a real one");
        kafka(&world.name, |settings| {
            settings.brokers = broker.login_address();
            let properties = [
                ("security.protocol", "SASL_PLAINTEXT"),
                ("sasl.mechanism", "PLAIN"),
                ("sasl.username", name),
                ("sasl.password", password),
            ];
            settings.properties.extend(properties.map(|(name, value)| (name.into(), value.into())));
        })
    };
    let [(loader, password), (nobody, other)] = stack::kafka::LOGINS;
    for (name, wrong) in [(loader, "wrong"), (nobody, other)] {
        let log = Guarded { open: login(loader, password), barred: login(name, wrong), is_barred: false.into() };
        let bar = &mut |bar| log.is_barred.store(bar, Ordering::SeqCst);
        conformance::barred_log(&log, &mut producers, &world.name, Fault::Denied, bar);
    }
}

/// A password that was good and is not any more is an outage, and read anew by each reader.
#[test]
fn a_kafka_login_that_worked_before_is_waited_for() {
    let world = World::bare("port_relogin");
    world.create_topic(&world.name, 1);
    let mut producers = Producers::new(&world.name);
    conformance::Producer::send(&mut producers, &world.name, 0, None, Some("v"));
    let [(loader, good), _] = stack::kafka::LOGINS;
    let password = Arc::new(Mutex::new(good));
    let read = password.clone();
    let log = kafka(&world.name, |settings| {
        settings.brokers = STACK.kafka.broker().expect("a real one").login_address();
        let plain = [("security.protocol", "SASL_PLAINTEXT"), ("sasl.mechanism", "PLAIN"), ("sasl.username", loader)];
        settings.properties.extend(plain.map(|(name, value)| (name.into(), value.into())));
        let secret = Secret::new(move || Ok(read.lock().expect("the password").to_string()));
        settings.properties.push(("sasl.password".into(), secret));
    });
    let from = [ReadFrom::offset(TopicPartition::new(world.name.as_str(), 0), 0)];
    // What comes first of a new reader: an error, or a record.
    let first = || {
        let mut reader = log.read(&from).expect("a reader");
        loop {
            match reader.next(Duration::from_millis(100)) {
                Ok(None) => {}
                Ok(Some(Read::Batch(batch))) if batch.is_empty() => {}
                Ok(Some(Read::Batch(batch))) => return Ok(batch.len()),
                Ok(Some(Read::Lost { error, .. })) | Err(error) => return Err(error.fault),
            }
        }
    };
    *password.lock().expect("the password") = "wrong";
    assert_eq!(first(), Err(Fault::Denied), "it never was another one");
    *password.lock().expect("the password") = good;
    assert_eq!(first(), Ok(1));
    *password.lock().expect("the password") = "wrong";
    assert_eq!(first(), Err(Fault::Outage));
    *password.lock().expect("the password") = good;
    assert_eq!(first(), Ok(1));
}

#[test]
fn headers_come_as_json() {
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
    let log = kafka(&world.name, |s| s.headers = true);
    let mut reader = log.read(&[ReadFrom::offset(TopicPartition::new(world.name.as_str(), 0), 0)]).expect("a reader");
    let mut found = Vec::new();
    until(Duration::from_secs(30), "both records", || {
        if let Some(Read::Batch(batch)) = reader.next(Duration::from_millis(50)).expect("no error") {
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

fn s3(change: impl FnOnce(&mut s3::Settings)) -> S3 {
    let owner = STACK.s3.owner();
    let mut settings = s3::Settings {
        bucket: STACK.s3.bucket().into(),
        prefix: "ports".into(),
        region: Some("us-east-1".into()),
        endpoint: Some(STACK.s3.endpoint()),
        keys: Some((owner.id.as_str().into(), owner.secret.as_str().into())),
        retries_within: s3::RETRIES_WITHIN,
        request_within: s3::REQUEST_WITHIN,
    };
    change(&mut settings);
    S3::new(settings).expect("a client")
}

#[test]
fn s3_keeps_the_promises_of_objects() {
    conformance::objects(&s3(|_| {}));
    let wrong = |s: &mut s3::Settings| s.keys = s.keys.take().map(|(id, _)| (id, "wrong".into()));
    conformance::barred_objects(&s3(wrong), Fault::Denied);
    conformance::barred_objects(&s3(|s| s.bucket = "no-such-bucket".into()), Fault::Missing);
    let away = |s: &mut s3::Settings| {
        s.endpoint = Some("http://127.0.0.1:1".into());
        s.retries_within = Duration::from_secs(1);
    };
    conformance::barred_objects(&s3(away), Fault::Outage);
}

/// The same through a proxy that cuts the connection at a moment.
#[test]
fn s3_keeps_them_when_connections_break() {
    let proxy = Proxy::start(Kind::S3, STACK.s3.endpoint().trim_start_matches("http://").parse().expect("an address"));
    let objects = s3(|s| (s.prefix, s.endpoint) = ("troubled".into(), Some(format!("http://{}", proxy.address()))));
    let mut caused = 0;
    conformance::troubled_objects(&objects, &mut |trouble| {
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
        let (moment, action) = match trouble {
            Trouble::Before => (Moment::Fence, Action::Cut),
            Trouble::AtTheEnd => (Moment::Commit, Action::Cut),
            Trouble::AnswerLost => (Moment::Committed, Action::Cut),
            // Far longer than anybody waits.
            Trouble::Silence => (Moment::Fence, Action::Hold(Duration::from_secs(600))),
        };
        proxy.at(moment, action);
    });
    assert_eq!(proxy.sprung(), caused, "each accident happened");
}

pub(crate) fn redshift(job: &str, change: impl FnOnce(&mut Settings)) -> Redshift {
    let env: BTreeMap<&str, String> = STACK.env().into_iter().collect();
    let mut settings = Settings {
        host: env["REDSHIFT_HOST"].clone(),
        port: env["REDSHIFT_PORT"].parse().expect("a port"),
        database: env["REDSHIFT_DATABASE"].clone(),
        user: env["REDSHIFT_USER"].clone(),
        password: env["REDSHIFT_PASSWORD"].as_str().into(),
        iam_role: env["REDSHIFT_IAM_ROLE"].clone(),
        tls: Tls::Off,
        statement_timeout: Duration::from_secs(60),
        connect_within: connectors::redshift::CONNECT_WITHIN,
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

    let barred = |fault: Fault, change: fn(&mut Settings)| {
        let new = || redshift(&world.name, change);
        conformance::barred_warehouse(&mut new(), &mut new(), &target, fault);
    };
    barred(Fault::Denied, |s| s.password = "wrong".into());
    barred(Fault::Outage, |s| s.port = 1);
    barred(Fault::NoDatabase, |s| s.database = "nothing".into());

    let url = format!("s3://{}/not/there.manifest", STACK.s3.bucket());
    conformance::refused_warehouse(&mut redshift(&format!("{}_refused", world.name), |_| {}), &target, &url);
}

#[test]
fn redshift_keeps_the_promises_of_inspect() {
    let world = World::bare("port_inspect");
    world.create_table(&world.name);
    let table = connectors::TableName { schema: "public".into(), table: world.name.clone() };
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let set_aside = &mut |letter: &SetAside| {
        let SetAside { epoch, target, partition, offset, stage, column, reason, bytes } = letter;
        let column = column.as_deref().map_or("NULL".into(), quoted);
        let hex = checkpoint::hex(bytes);
        world.sql(&format!(
            "INSERT INTO tidegate.{}_dead_letters VALUES ({epoch}, {}, '{}', {}, {offset}, 0, NULL, '{stage}', {column}, {}, '{hex}', false)",
            world.name, quoted(target), partition.topic, partition.partition, quoted(reason)
        ));
    };
    let (mut warehouse, mut inspect) = (redshift(&world.name, |_| {}), redshift(&world.name, |_| {}));
    conformance::inspect(&mut warehouse, &mut inspect, &table, set_aside);
    let statements = inspect.verify_sql(&[]).expect("statements");
    assert!(statements.len() > 5 && statements.iter().all(|check| check.sql.starts_with("SELECT ")), "{statements:?}");
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
        let ports = stack::ports::Ports::hold(1).expect("a port"); // nobody else's until the server is there
        let port = ports.addresses()[0].port();
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
    assert_eq!(error.fault, Fault::Mismatch, "the wrong authority: {error:?}");
    let (_server, port) = start("example.org", "wrong");
    let error = ask(port, "localhost", "ca.pem").unwrap_err();
    assert_eq!(error.fault, Fault::Mismatch, "the wrong host: {error:?}");
    // Encryption that was asked for and is not there is no connection at all.
    let plain = STACK.redshift.address().port();
    let error = ask(plain, "127.0.0.1", "ca.pem").unwrap_err();
    assert_eq!(error.fault, Fault::Mismatch, "{error:?}");
    assert!(error.what.contains("`redshift.tls`"), "{error:?}");
    assert!(error.remedy.is_some_and(|remedy| remedy.contains("tls = \"off\"")));
}
