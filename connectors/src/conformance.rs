//! What the ports promise, as functions that a twin in memory, the local stack and the real services must all pass.
//!
//! They panic where a promise is not kept, as tests do.

#![allow(clippy::unwrap_used)] // each is a test

use std::time::{Duration, Instant};

use checkpoint::{
    Counts, Cut, Decision, Digest, Epoch, EpochRecord, Fate, Generation, History, Kind, LastRecord, Micros, Nonce,
    Position, Span, TopicPartition, manifest,
    protocol::{self, Holder, Outcome, Range, Snapshot, Start, Taken},
};

use crate::{
    Adoption, CopyFrom, Error, Fault, Fold, Folded, HaltNote, Happened, Load, Log, Objects, Process, Reader, StartAt,
    TableName, Took, Warehouse,
};

/// Fills topics.
pub trait Producer {
    /// One record, acknowledged.
    fn send(&mut self, topic: &str, partition: i32, key: Option<&str>, value: Option<&str>);
    /// A transaction of records without keys.
    fn transaction(&mut self, topic: &str, partition: i32, values: &[&str], commit: bool);
    /// Records of a transaction that is aborted once there is a record of another one, which stays open.
    fn overtaken(&mut self, topic: &str, partition: i32, aborted: &[&str], open: &str);
    /// Commits the open one.
    fn commit(&mut self, topic: &str, partition: i32);
}

/// What a reader gives until each of its partitions stands at `ends`: (place, offset, key, value), and the positions.
fn read_to(reader: &mut dyn Reader, mut at: Vec<i64>, ends: &[i64]) -> Vec<(i32, i64, Option<String>, Option<String>)> {
    let mut records = Vec::new();
    let since = Instant::now();
    while at != ends {
        assert!(since.elapsed() < Duration::from_secs(30), "positions {at:?} instead of {ends:?}");
        let Some(batch) = reader.next(Duration::from_millis(50)).unwrap() else { continue };
        assert!(!batch.moved.is_empty(), "a batch moves something");
        for row in 0..batch.len() {
            let text = |bytes: Option<&[u8]>| bytes.map(|b| String::from_utf8(b.to_vec()).unwrap());
            records.push((
                batch.partitions[row],
                batch.offsets[row],
                text(batch.keys.get(row)),
                text(batch.values.get(row)),
            ));
        }
        for moved in &batch.moved {
            let position = &mut at[moved.partition as usize];
            assert!(moved.position > *position, "positions only grow");
            *position = moved.position;
            if let Some(row) = moved.last_row {
                assert_eq!(batch.partitions[row], moved.partition);
                assert!(batch.offsets[row] < moved.position);
            }
        }
    }
    records
}

/// A log with two empty topics, `a` of two partitions and `b` of one.
pub fn log(log: &dyn Log, producer: &mut dyn Producer, a: &str, b: &str) {
    let (a0, a1, b0) = (TopicPartition::new(a, 0), TopicPartition::new(a, 1), TopicPartition::new(b, 0));
    assert_eq!(log.partitions("no-such-topic").unwrap(), None);
    assert_eq!(log.starts("no-such-topic", StartAt::Earliest).unwrap_err().fault, Fault::Missing);
    let facts = log.partitions(a).unwrap().unwrap();
    assert_eq!(facts.values().map(|f| (f.low, f.high)).collect::<Vec<_>>(), [(0, 0), (0, 0)]);
    assert_eq!(log.topic_id(a).unwrap().as_ref(), Some(&facts[&0].topic_id));
    assert_eq!(log.topic_id("no-such-topic").unwrap(), None);
    assert_ne!(facts[&0].topic_id, log.partitions(b).unwrap().unwrap()[&0].topic_id);

    // Two plain records, an aborted transaction, a committed one, and an aborted one at the very end.
    producer.send(a, 0, Some("k"), Some("v0"));
    producer.send(a, 0, None, None);
    producer.transaction(a, 0, &["no", "no"], false);
    producer.transaction(a, 0, &["yes"], true);
    producer.transaction(a, 0, &["no"], false);
    producer.send(a, 1, Some(""), Some(""));
    producer.send(b, 0, None, Some("b"));

    // Offsets 0 and 1; 2, 3 and a marker; 5 and a marker; 7 and a marker.
    let facts = log.partitions(a).unwrap().unwrap();
    assert_eq!(
        facts.values().map(|f| (f.low, f.high)).collect::<Vec<_>>(),
        [(0, 9), (0, 1)],
        "the end is the last stable offset"
    );
    let text = |t: &str| Some(t.to_string());
    let mut reader = log.read(&[(a0.clone(), 0), (a1.clone(), 0), (b0, 0)]).unwrap();
    let mut records = read_to(&mut *reader, vec![0, 0, 0], &[9, 1, 1]);
    records.sort();
    let expected = [
        (0, 0, text("k"), text("v0")),
        (0, 1, None, None),
        (0, 5, None, text("yes")),
        (1, 0, text(""), text("")),
        (2, 0, None, text("b")),
    ];
    assert_eq!(records, expected, "committed records only, absent is not empty, and the positions pass the markers");
    // It goes on where it was, and from any other offset as well.
    producer.send(a, 0, None, Some("later"));
    assert_eq!(read_to(&mut *reader, vec![9, 1, 1], &[10, 1, 1]), [(0, 9, None, text("later"))]);
    let mut reader = log.read(&[(a0.clone(), 1)]).unwrap();
    let offsets: Vec<i64> = read_to(&mut *reader, vec![1], &[10]).iter().map(|r| r.1).collect();
    assert_eq!(offsets, [1, 5, 9]);

    // Where there is nothing yet it does not wait, and it begins nowhere else.
    did_not(&first_error(log, &a0, 1000), Fault::Refused);
    assert_eq!(record_at(log, &a0, 1000), None);

    let found = record_at(log, &a0, 5).unwrap();
    assert_eq!((found.offset, found.fingerprint), (5, manifest::fingerprint(None, Some(b"yes"))));
    assert_eq!(record_at(log, &a0, 2), None, "an aborted record is none");

    // Many at once, in their order, of one topic and of another.
    let b0 = TopicPartition::new(b, 0);
    let found = log.records_at(&[(b0, 0), (a0.clone(), 5)]).unwrap();
    assert_eq!(found.iter().map(|r| r.as_ref().map(|r| r.offset)).collect::<Vec<_>>(), [Some(0), Some(5)]);
    assert!(log.records_at(&[]).unwrap().is_empty());

    let offsets = |at| log.starts(a, at).unwrap().values().map(|s| s.offset).collect::<Vec<_>>();
    assert_eq!(offsets(StartAt::Earliest), [0, 0]);
    assert_eq!(offsets(StartAt::Latest), [10, 1]);
    assert_eq!(offsets(StartAt::Time(0)), [0, 0]);
    assert_eq!(offsets(StartAt::Time(i64::MAX / 2)), [10, 1], "no record so young: whatever comes next");
}

fn record_at(log: &dyn Log, partition: &TopicPartition, offset: i64) -> Option<checkpoint::LastRecord> {
    log.records_at(&[(partition.clone(), offset)]).unwrap().remove(0)
}

/// A log with an empty topic of one partition, at whose end come to stand records that nobody sees: what is asked about them is
/// answered at once, and not only when somebody produces.
pub fn unseen(log: &dyn Log, producer: &mut dyn Producer, topic: &str) {
    let partition = TopicPartition::new(topic, 0);
    let is_read_up = |from: i64, until: i64| log.is_read_up(&[(partition.clone(), from, until)]).unwrap()[0];
    producer.send(topic, 0, None, Some("first"));
    producer.transaction(topic, 0, &["no"], false);
    // Offset 0; 1 and a marker.
    assert_eq!(record_at(log, &partition, 1), None, "nothing but an aborted record and its marker");
    assert!(is_read_up(1, 3) && is_read_up(3, 3) && !is_read_up(0, 3));

    // 3 and 4; 5, which is open; the marker of the first.
    producer.overtaken(topic, 0, &["no", "no"], "later");
    assert_eq!(log.partitions(topic).unwrap().unwrap()[&0].high, 5);
    assert_eq!(record_at(log, &partition, 3), None, "aborted, below an open one");
    assert!(is_read_up(3, 5) && is_read_up(1, 5) && !is_read_up(0, 5));
    // A reader gives what is there, and the rest once it is committed.
    let mut reader = log.read(&[(partition.clone(), 0)]).unwrap();
    assert_eq!(read_to(&mut *reader, vec![0], &[3]), [(0, 0, None, Some("first".into()))]);
    producer.commit(topic, 0);
    assert!(!is_read_up(3, 8) && is_read_up(6, 8));
    assert_eq!(read_to(&mut *reader, vec![3], &[8]), [(0, 5, None, Some("later".into()))]);
}

fn did_not(error: &Error, fault: Fault) {
    assert_eq!((error.fault, error.happened), (fault, Happened::No), "{error:?}");
}

/// The error with which reading there begins.
fn first_error(log: &dyn Log, partition: &TopicPartition, offset: i64) -> Error {
    let since = Instant::now();
    let mut reader = match log.read(&[(partition.clone(), offset)]) {
        Ok(reader) => reader,
        Err(error) => return error,
    };
    loop {
        match reader.next(Duration::from_millis(50)) {
            Ok(None) => assert!(since.elapsed() < Duration::from_secs(30), "no error"),
            Ok(Some(batch)) => panic!("{batch:?}"),
            Err(error) => return error,
        }
    }
}

/// A log that answers for `topic` (a partition 0 with records) until `bar` is called with true, and again when it is called
/// with false: in between every question fails with `fault`, and nothing happened. A reader waits for brokers that are away, and
/// goes on where it stood.
pub fn barred_log(log: &dyn Log, producer: &mut dyn Producer, topic: &str, fault: Fault, bar: &mut dyn FnMut(bool)) {
    let partition = TopicPartition::new(topic, 0);
    let low = log.partitions(topic).unwrap().unwrap()[&0].low;
    let mut reader = log.read(&[(partition.clone(), low)]).unwrap();
    bar(true);
    did_not(&log.partitions(topic).unwrap_err(), fault);
    did_not(&log.topic_id(topic).unwrap_err(), fault);
    did_not(&log.starts(topic, StartAt::Latest).unwrap_err(), fault);
    did_not(&log.records_at(&[(partition.clone(), low)]).unwrap_err(), fault);
    did_not(&log.is_read_up(&[(partition.clone(), low, low)]).unwrap_err(), fault);
    if fault != Fault::Outage {
        did_not(&first_error(log, &partition, low), fault);
        return bar(false);
    }
    producer.send(topic, 0, None, Some("meanwhile"));
    // What came before the bar may still be on its way.
    let since = Instant::now();
    let mut position = low;
    while since.elapsed() < Duration::from_secs(2) {
        for moved in reader.next(Duration::from_millis(50)).unwrap().iter().flat_map(|batch| &batch.moved) {
            position = moved.position;
        }
    }
    bar(false);
    // Brokers that are back are not found at once.
    let since = Instant::now();
    let facts = loop {
        match log.partitions(topic) {
            Ok(facts) => break facts.unwrap(),
            Err(error) => assert!(since.elapsed() < Duration::from_secs(30), "{error:?}"),
        }
    };
    let high = facts[&0].high;
    assert!(position < high, "it was barred");
    let records = read_to(&mut *reader, vec![position], &[high]);
    assert_eq!(records.last().unwrap().3.as_deref(), Some("meanwhile"));
}

/// An empty store of objects.
pub fn objects(objects: &dyn Objects) {
    let key = "job/f/g=1-0/e=1/t=0/w=0-a.parquet";
    assert_eq!(objects.get(key).unwrap(), None);
    objects.delete(&[key]).unwrap();
    objects.put(key, "abc".into()).unwrap();
    assert_eq!(objects.get(key).unwrap().as_deref(), Some(&b"abc"[..]));
    // The same again is our own earlier try; another length is somebody else's object.
    objects.put(key, "abc".into()).unwrap();
    assert_eq!(objects.put(key, "abcd".into()).unwrap_err().fault, Fault::Bug);
    assert_eq!(objects.get(key).unwrap().as_deref(), Some(&b"abc"[..]));
    assert!(objects.url(key).starts_with("s3://") && objects.url(key).ends_with(key));
    objects.put("empty", "".into()).unwrap();
    // Of a folder all that is in it, and nothing of one whose name begins alike.
    let others = ["job/f/g=1-0/e=2/t=0/w=0-b.parquet", "job/f/g=10-0/e=2/t=0/w=0-c.parquet"];
    others.iter().for_each(|other| objects.put(other, "x".into()).unwrap());
    let listed = |folder: &str| {
        let mut keys = Vec::new();
        let mut each = |key: &str| {
            keys.push(key.to_string());
            Ok(())
        };
        objects.list(folder, &mut each).unwrap();
        keys.sort();
        keys
    };
    assert_eq!(listed("job/f/g=1-0"), [key, others[0]]);
    assert_eq!(listed("job/f").len(), 3);
    assert_eq!(listed("no"), [""; 0]);
    // One level of it, where an object and a folder of one name are two things.
    let children = |folder: &str| objects.children(folder).unwrap();
    objects.put("job/f/generation=1", "x".into()).unwrap();
    objects.put("job/f/g=1-0", "x".into()).unwrap();
    assert_eq!(children("job"), ["f/"]);
    assert_eq!(children("job/f"), ["g=1-0", "g=1-0/", "g=10-0/", "generation=1"]);
    assert_eq!(children("job/f/g=1-0/e=2/t=0"), ["w=0-b.parquet"]);
    for none in ["no", "jo", "job/f/generation=1"] {
        assert_eq!(children(none), [""; 0], "{none}");
    }
    objects.delete(&[key]).unwrap();
    assert_eq!(objects.get(key).unwrap(), None);
    assert_eq!(objects.get("empty").unwrap().as_deref(), Some(&b""[..]));
    // More than a request takes, and one of them not there.
    let many: Vec<String> = (0..1_100).map(|n| format!("job/many/{n}")).collect();
    many.iter().skip(1).step_by(40).for_each(|key| objects.put(key, "x".into()).unwrap());
    objects.put(&many[1_099], "x".into()).unwrap();
    assert_eq!(listed("job/many").len(), 29);
    objects.delete(&many.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    assert_eq!(listed("job/many"), [""; 0]);
    objects.delete(&[]).unwrap();
}

/// An accident on the way to another system, of whatever kind brings it about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The connection breaks before the first thing arrives.
    Before,
    /// It breaks so that the last thing, which decides, does not arrive.
    AtTheEnd,
    /// The last thing arrives, and its answer is lost.
    AnswerLost,
    /// The first thing does not arrive, nothing is answered, and the connection stays.
    Silence,
}

/// Objects on whose way accidents happen, once each time `cause` is called: an object is there whole, however often it is
/// written, and whoever could not write it may try again.
pub fn troubled_objects(objects: &dyn Objects, cause: &mut dyn FnMut(Trouble)) {
    for (n, trouble) in [Trouble::Before, Trouble::AnswerLost].into_iter().enumerate() {
        let key = format!("job/f/g=1-0/e={n}/t=0/w=0-troubled.parquet");
        let body = "x".repeat(100 + n);
        cause(trouble);
        match objects.put(&key, body.clone().into()) {
            Ok(()) => {}
            Err(error) => {
                assert!(error.is_retriable(), "{trouble:?}: {error:?}");
                assert_eq!(error.happened == Happened::No, trouble == Trouble::Before, "{trouble:?}: {error:?}");
            }
        }
        objects.put(&key, body.clone().into()).unwrap();
        assert_eq!(objects.get(&key).unwrap().as_deref(), Some(body.as_bytes()), "{trouble:?}");
    }
}

/// A store that can do nothing, for this reason.
pub fn barred_objects(objects: &dyn Objects, fault: Fault) {
    let put = objects.put("job/barred", "abc".into()).unwrap_err();
    assert_eq!(put.fault, fault, "{put:?}");
    // Of a request that got no answer nobody knows what it did.
    assert!(put.happened == Happened::No || fault == Fault::Outage, "{put:?}");
    did_not(&objects.list("job", &mut |key| panic!("{key}")).unwrap_err(), fault);
    did_not(&objects.children("job").unwrap_err(), fault);
    if fault == Fault::Missing {
        return; // in no bucket there is nothing to get, and nothing to delete
    }
    did_not(&objects.get("job/barred").unwrap_err(), fault);
    let delete = objects.delete(&["job/barred"]).unwrap_err();
    assert_eq!(delete.fault, fault, "{delete:?}");
    assert!(delete.happened == Happened::No || fault == Fault::Outage, "{delete:?}");
}

/// A warehouse that can do nothing, for this reason.
pub fn barred_warehouse(warehouse: &mut dyn Warehouse, table: &TableName, fault: Fault) {
    let holder = Holder { generation: Generation(1), nonce: Nonce::new([1; 16]) };
    let mut history = History::new("fence");
    history.cut = Cut::new([(TopicPartition::new("t", 0), position(5))]);
    let next = load(&holder, &mut history, 5, 7);
    did_not(&warehouse.init("fence").unwrap_err(), fault);
    did_not(&warehouse.read().unwrap_err(), fault);
    did_not(&warehouse.adopted().unwrap_err(), fault);
    did_not(&warehouse.record(&process(), &holder.nonce).unwrap_err(), fault);
    did_not(&warehouse.sessions().unwrap_err(), fault);
    did_not(&warehouse.keep_plan("hash", "text").unwrap_err(), fault);
    did_not(&warehouse.columns(table).unwrap_err(), fault);
    did_not(&warehouse.load(&next, &mut |_| {}).unwrap_err(), fault);
    did_not(&warehouse.resolve(&holder, &next.range).unwrap_err(), fault);
}

/// A warehouse without control tables, with a table, and the address of a COPY manifest that is not there: a load that is
/// refused did not happen, and nothing stands in the way of the next one.
pub fn refused_warehouse(warehouse: &mut dyn Warehouse, table: &TableName, manifest_url: &str) {
    warehouse.init("fence").unwrap();
    let mut start = acquire(warehouse, 1);
    let good = load(&start.holder, &mut start.history, 5, 7);
    let copy = CopyFrom {
        table: table.clone(),
        target: "target".into(),
        columns: vec!["id".into()],
        manifest_url: manifest_url.into(),
        counts: Counts { records_read: 2, loaded: 2, ..Counts::default() },
    };
    did_not(&warehouse.rehearse(std::slice::from_ref(table), &copy).unwrap_err(), Fault::Refused);
    let bad = Load { copies: vec![copy], ..good.clone() };
    for _ in 0..2 {
        did_not(&warehouse.load(&bad, &mut |_| {}).unwrap_err(), Fault::Refused);
        assert_eq!(warehouse.resolve(&start.holder, &bad.range).unwrap(), Outcome::NotCommitted);
    }
    assert_eq!(warehouse.load(&good, &mut |_| {}).unwrap(), Outcome::Committed);
}

/// A warehouse without control tables, on whose way accidents happen, once each time `cause` is called: it says whether a load
/// happened, did not, or cannot be known; what cannot be known is found out; and the same load again makes it happen once.
pub fn troubled_warehouse(warehouse: &mut dyn Warehouse, cause: &mut dyn FnMut(Trouble)) {
    warehouse.init("fence").unwrap();
    let mut start = acquire(warehouse, 1);
    let mut at = 5;
    for trouble in [Trouble::Before, Trouble::AtTheEnd, Trouble::AnswerLost, Trouble::Silence] {
        let next = load(&start.holder, &mut start.history, at, at + 2);
        cause(trouble);
        let error = warehouse.load(&next, &mut |_| {}).unwrap_err();
        let began = matches!(trouble, Trouble::AtTheEnd | Trouble::AnswerLost);
        let happened = if began { Happened::Unknown } else { Happened::No };
        assert_eq!((error.fault, error.happened), (Fault::Outage, happened), "{trouble:?}: {error:?}");
        let is_in = trouble == Trouble::AnswerLost;
        let outcome = if is_in { Outcome::Committed } else { Outcome::NotCommitted };
        assert_eq!(warehouse.resolve(&start.holder, &next.range).unwrap(), outcome, "{trouble:?}");
        assert_eq!(warehouse.load(&next, &mut |_| {}).unwrap(), Outcome::Committed, "{trouble:?}");
        at += 2;
        assert_eq!(end(warehouse), at, "{trouble:?}");
    }
}

/// A start that has the fence.
struct Started {
    holder: Holder,
    history: History,
    announced: bool,
}

fn process() -> Process {
    Process { host: "here".into(), id: 7, started_at: Micros(1_795_517_694_000_000) }
}

fn acquire(warehouse: &mut dyn Warehouse, nonce: u8) -> Started {
    let nonce = Nonce::new([nonce; 16]);
    warehouse.record(&process(), &nonce).unwrap();
    let from = warehouse.read().unwrap().fence.generation;
    assert_eq!(warehouse.take(from, &mut |_| {}).unwrap(), Took::Yes);
    let facts = warehouse.read().unwrap();
    let Taken::Ours(holder) = protocol::after_taking(from, &nonce, &facts.fence).unwrap() else { panic!("{facts:?}") };
    assert_eq!(protocol::check_snapshot(&holder, &facts.fence), Ok(Snapshot::Valid));
    warehouse.hold(&holder).unwrap();
    let mut history = protocol::admit(&facts).unwrap();
    let start = Start { topic_id: "id".into(), offset: 5 };
    let starts = [(TopicPartition::new("t", 0), start)].into();
    let new = protocol::announcement(&history, &starts, &["target".into()], Micros(1), "plan");
    let announced = new.is_some();
    if let Some(record) = new {
        let load = load_of(&holder, &mut history, record);
        assert_eq!(warehouse.load(&load, &mut |_| {}).unwrap(), Outcome::Committed);
    }
    Started { holder, history, announced }
}

fn load_of(holder: &Holder, history: &mut History, record: EpochRecord) -> Load {
    let link = history.link(record).unwrap();
    let epoch = link.record.epoch;
    let range = Range { first: epoch, last: epoch, digest: link.digest.clone() };
    Load { holder: holder.clone(), range, links: vec![link], copies: Vec::new(), adopt: None }
}

/// A history as the tables know it: of the newest record's timestamp nobody needs to know.
fn known(history: &History) -> (Epoch, &Digest, Digest, Option<Epoch>) {
    (history.next_epoch, &history.digest, history.cut.digest(), history.cut_epoch)
}

fn position(end: i64) -> Position {
    Position { topic_id: "id".into(), end, leader_epoch: None, last: None }
}

/// The next epoch, without rows, which moves partition 0 of topic t.
fn load(holder: &Holder, history: &mut History, start: i64, end: i64) -> Load {
    let record = EpochRecord {
        epoch: history.next_epoch,
        kind: Kind::Data,
        closed_at: Micros(1_795_517_694_000_001),
        watermark: None,
        plan: "plan".into(),
        spans: vec![Span {
            partition: TopicPartition::new("t", 0),
            topic_id: "id".into(),
            start,
            end,
            leader_epoch: Some(1),
            last: Some(LastRecord { offset: end - 1, timestamp_ms: 3, fingerprint: r"it's \ f".into() }),
        }],
        decision: None,
        counts: [("target".to_string(), skipped(2))].into(),
    };
    load_of(holder, history, record)
}

fn skipped(records: u64) -> Counts {
    let mut counts = Counts { records_read: records, ..Counts::default() };
    counts.set(Fate::Skipped, records);
    counts
}

/// Where partition 0 of topic t stands.
fn end(warehouse: &mut dyn Warehouse) -> i64 {
    let history = protocol::admit(&warehouse.read().unwrap()).unwrap();
    history.cut.get(&TopicPartition::new("t", 0)).unwrap().end
}

/// Two sessions of one database without control tables, which has the table `target`.
pub fn warehouse(one: &mut dyn Warehouse, two: &mut dyn Warehouse, target: &TableName) {
    assert_eq!(one.read().unwrap_err().fault, Fault::Missing);
    assert!(!one.init("fence-1").unwrap().is_empty());
    assert!(two.init("fence-2").unwrap().is_empty(), "what is there is left alone");
    assert!(one.columns(target).unwrap().is_some());
    assert_eq!(one.columns(&TableName { schema: "no".into(), table: "table".into() }).unwrap(), None);
    let new = one.read().unwrap();
    assert_eq!((new.fence.fence_id.as_str(), new.fence.generation.0, new.fence.cut_epoch), ("fence-1", 0, None));
    assert_eq!(protocol::admit(&new), Ok(History::new("fence-1")));

    // The first start announces the topic.
    let mut first = acquire(one, 1);
    assert_eq!((first.holder.generation.0, first.history.next_epoch, first.announced), (1, Epoch(1), true));
    // A second one sees its session, and that it has taken the fence.
    let seen = two.sessions().unwrap().expect("sessions are shown");
    let seen: Vec<_> = seen.iter().filter(|session| session.nonce == first.holder.nonce.as_str()).collect();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!((&seen[0].process, seen[0].generation), (&process(), Some(first.holder.generation)));
    assert!(
        one.sessions().unwrap().expect("sessions are shown").iter().all(|s| s.nonce != first.holder.nonce.as_str())
    );
    // What is known of another generation takes nothing.
    two.record(&process(), &Nonce::new([8; 16])).unwrap();
    for from in [0, 2] {
        assert_eq!(two.take(Generation(from), &mut |_| {}).unwrap(), Took::No);
    }
    assert_eq!(two.read().unwrap().fence.nonce, first.holder.nonce);

    let mut steps = Vec::new();
    let before = first.history.clone();
    let one_load = load(&first.holder, &mut first.history, 5, 7);
    assert_eq!(one.load(&one_load, &mut |step| steps.push(step)).unwrap(), Outcome::Committed);
    assert_eq!(steps.len(), 4);
    let history = protocol::admit(&two.read().unwrap()).unwrap();
    assert_eq!(known(&history), known(&first.history), "what is read is what was written");
    let position = history.cut.get(&TopicPartition::new("t", 0)).unwrap();
    assert_eq!((position.end, position.leader_epoch, position.topic_id.as_str()), (7, Some(1), "id"));
    let last = position.last.as_ref().unwrap();
    assert_eq!((last.offset, last.fingerprint.as_str()), (6, r"it's \ f"));

    // The same again is recognised, and changes nothing.
    assert_eq!(one.load(&one_load, &mut |_| {}).unwrap(), Outcome::Committed);
    assert_eq!(one.resolve(&first.holder, &one_load.range).unwrap(), Outcome::Committed);
    let after = first.history.clone();
    let next = load(&first.holder, &mut after.clone(), 7, 9);
    assert_eq!(one.resolve(&first.holder, &next.range).unwrap(), Outcome::NotCommitted);
    // An epoch of the same number with another history, and an epoch too far, are contradictions.
    let other = load(&first.holder, &mut before.clone(), 5, 8);
    assert!(matches!(one.load(&other, &mut |_| {}).unwrap(), Outcome::Halt(_)));
    let too_far = load(&first.holder, &mut History { next_epoch: Epoch(3), ..after.clone() }, 7, 9);
    assert!(matches!(one.load(&too_far, &mut |_| {}).unwrap(), Outcome::Halt(_)));

    // A second start shuts the first one out.
    let mut second = acquire(two, 2);
    assert_eq!((second.holder.generation.0, second.history.next_epoch, second.announced), (2, Epoch(2), false));
    assert_eq!(known(&second.history), known(&after));
    assert_eq!(one.load(&next, &mut |_| {}).unwrap(), Outcome::Fenced { by: second.holder.generation });
    assert_eq!(one.resolve(&first.holder, &next.range).unwrap(), Outcome::Fenced { by: second.holder.generation });
    let next = load(&second.holder, &mut second.history, 7, 9);
    assert_eq!(two.load(&next, &mut |_| {}).unwrap(), Outcome::Committed);
    assert_eq!(end(one), 9);

    // Whoever has it may say that the tables belong to another database from here on.
    let decision =
        Decision { by: "a@b".into(), why: "it's a copy".into(), adopted: vec!["fence-1".into(), "x".into()] };
    let record = EpochRecord {
        kind: Kind::Adopt,
        spans: Vec::new(),
        decision: Some(decision),
        counts: Default::default(),
        ..load(&second.holder, &mut second.history.clone(), 9, 10).links.remove(0).record
    };
    let namespace = two.read().unwrap().namespace;
    let adopt = Some(Adoption { fence_id: "fence-3".into(), namespace });
    let load = Load { adopt, ..load_of(&second.holder, &mut second.history, record) };
    assert_eq!(two.load(&load, &mut |_| {}).unwrap(), Outcome::Committed);
    let facts = one.read().unwrap();
    assert_eq!(facts.fence.fence_id, "fence-3");
    assert_eq!(known(&protocol::admit(&facts).unwrap()), known(&second.history));
    assert_eq!(one.adopted().unwrap(), ["fence-1", "x"]);

    // A session that is ended is not shown any more.
    let old = two.sessions().unwrap().expect("sessions are shown");
    let old: Vec<_> = old.into_iter().filter(|session| session.nonce == first.holder.nonce.as_str()).collect();
    two.end(&old).unwrap();
    let since = Instant::now();
    while two.sessions().unwrap().expect("sessions are shown").iter().any(|s| s.nonce == first.holder.nonce.as_str()) {
        assert!(since.elapsed() < Duration::from_secs(10), "it is still there");
        std::thread::sleep(Duration::from_millis(10));
    }

    two.keep_plan("hash", &"it's \\ ü".repeat(20_000)).unwrap();
    two.keep_plan("hash", "once is enough").unwrap();
    let note = HaltNote {
        generation: second.holder.generation,
        process: process(),
        code: "TG-3102".into(),
        reason: "it's gone".into(),
        since: Micros(1_795_517_694_000_000),
    };
    two.note_halt(&note).unwrap();
    folding(two, &second.holder, &mut second.history);
}

/// Old epochs become one row, up to a whole cut; what a start reads is what it was, and decisions are remembered.
fn folding(warehouse: &mut dyn Warehouse, holder: &Holder, history: &mut History) {
    let decided = history.next_epoch.0 - 1;
    for _ in 0..2 {
        let at = history.cut.get(&TopicPartition::new("t", 0)).unwrap().end;
        let loads: Vec<Load> = (at..at + 110).map(|at| load(holder, history, at, at + 1)).collect();
        let (first, last) = (loads[0].range.clone(), loads[109].range.clone());
        let range = Range { first: first.first, ..last };
        let links = loads.into_iter().flat_map(|load| load.links).collect();
        let many = Load { holder: holder.clone(), range, links, copies: Vec::new(), adopt: None };
        assert_eq!(warehouse.load(&many, &mut |_| {}).unwrap(), Outcome::Committed);
    }
    let (closed, adopted) = (Micros(1_795_517_694_000_001), warehouse.adopted().unwrap());
    let mut fold = |before: i64| warehouse.fold(&Fold { before: Micros(before), epochs: 200 }).unwrap();
    assert_eq!(fold(closed.0), None, "they were closed at that moment, and not before it");
    // Every hundred epochs after the decision.
    let (one, two) = (Epoch(decided + 100), Epoch(decided + 200));
    assert_eq!(fold(closed.0 + 1), Some(Folded { base: one, epochs: one.0 }));
    assert_eq!(fold(closed.0 + 1), Some(Folded { base: two, epochs: 100 }));
    assert_eq!(fold(closed.0 + 1), None, "what comes after the newest whole cut stays");
    assert_eq!(known(&protocol::admit(&warehouse.read().unwrap()).unwrap()), known(history));
    assert_eq!(warehouse.adopted().unwrap(), adopted);
    let at = history.cut.get(&TopicPartition::new("t", 0)).unwrap().end;
    let next = load(holder, history, at, at + 2);
    assert_eq!(warehouse.load(&next, &mut |_| {}).unwrap(), Outcome::Committed);
    warehouse.forget_sessions(Micros(0)).unwrap();
}
