//! What a log promises.

use std::time::{Duration, Instant};

use checkpoint::{TopicPartition, manifest};

use super::trouble::did_not;
use crate::{Error, Fault, Log, Reader, StartAt};

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
