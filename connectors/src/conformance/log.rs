//! What a log promises.

use std::time::{Duration, Instant};

use checkpoint::{TopicPartition, manifest};

use super::trouble::did_not;
use crate::{Error, Fault, Log, Read, ReadFrom, Reader, StartAt};

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

fn at(partition: &TopicPartition, offset: i64) -> ReadFrom {
    ReadFrom::offset(partition.clone(), offset)
}

/// What a reader gives until each of its partitions stands at `ends`: (place, offset, key, value), and the positions.
fn read_to(reader: &mut dyn Reader, mut at: Vec<i64>, ends: &[i64]) -> Vec<(i32, i64, Option<String>, Option<String>)> {
    let mut records = Vec::new();
    let since = Instant::now();
    while at != ends {
        assert!(since.elapsed() < Duration::from_secs(30), "positions {at:?} instead of {ends:?}");
        let batch = match reader.next(Duration::from_millis(50)).unwrap() {
            None => continue,
            Some(Read::Batch(batch)) => batch,
            Some(Read::Lost { place, error }) => panic!("place {place}: {error:?}"),
        };
        assert!(!batch.runs.is_empty(), "a batch says where something stands");
        for row in 0..batch.len() {
            let text = |bytes: Option<&[u8]>| bytes.map(|b| String::from_utf8(b.to_vec()).unwrap());
            records.push((
                batch.partitions[row],
                batch.offsets[row],
                text(batch.keys.get(row)),
                text(batch.values.get(row)),
            ));
        }
        for run in &batch.runs {
            let position = &mut at[run.place as usize];
            assert!(run.position >= *position, "positions only grow");
            let mut rows = (0..batch.len()).filter(|row| batch.partitions[*row] == run.place);
            let offsets: Vec<i64> = rows.clone().map(|row| batch.offsets[row]).collect();
            assert_eq!((run.first_offset, run.last_row), (offsets.first().copied(), rows.next_back()));
            assert!(offsets.iter().all(|offset| (*position..run.position).contains(offset)), "{run:?}");
            *position = run.position;
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
    assert_eq!(
        facts.values().map(|f| (f.low, f.last_stable, f.high_watermark)).collect::<Vec<_>>(),
        [(0, 0, 0), (0, 0, 0)]
    );
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
        facts.values().map(|f| (f.low, f.last_stable, f.high_watermark)).collect::<Vec<_>>(),
        [(0, 9, 9), (0, 1, 1)],
        "nothing is open"
    );
    let text = |t: &str| Some(t.to_string());
    let mut reader = log.read(&[at(&a0, 0), at(&a1, 0), at(&b0, 0)]).unwrap();
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
    let mut reader = log.read(&[at(&a0, 1)]).unwrap();
    let offsets: Vec<i64> = read_to(&mut *reader, vec![1], &[10]).iter().map(|r| r.1).collect();
    assert_eq!(offsets, [1, 5, 9]);

    // Where there is nothing yet it does not wait, and it begins nowhere else.
    did_not(&first_error(log, &a0, 1000), Fault::Refused);
    assert_eq!(record_at(log, &a0, 1000), None);

    let found = record_at(log, &a0, 5).unwrap();
    assert_eq!((found.offset, found.fingerprint), (5, manifest::fingerprint(None, Some(b"yes"))));
    assert_eq!(record_at(log, &a0, 2), None, "an aborted record is not given");

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
    assert_eq!(log.partitions(topic).unwrap().unwrap()[&0].last_stable, 5);
    assert_eq!(log.partitions(topic).unwrap().unwrap()[&0].high_watermark, 7);
    // When it began to wait: of a log that does not keep the time of a test's records, that there is one.
    let first = |offset: i64| log.first_timestamps(&[(partition.clone(), offset)]).unwrap()[0];
    assert!(first(5).is_some() && first(3).is_some() && first(0).is_some(), "aborted and open ones too");
    assert_eq!((first(7), log.first_timestamps(&[]).unwrap()), (None, Vec::new()));
    assert_eq!(record_at(log, &partition, 3), None, "aborted, below an open one");
    assert!(is_read_up(3, 5) && is_read_up(1, 5) && !is_read_up(0, 5));
    // A reader gives what is there, and the rest once it is committed.
    let mut reader = log.read(&[at(&partition, 0)]).unwrap();
    assert_eq!(read_to(&mut *reader, vec![0], &[3]), [(0, 0, None, Some("first".into()))]);
    producer.commit(topic, 0);
    assert!(!is_read_up(3, 8) && is_read_up(6, 8));
    assert_eq!(read_to(&mut *reader, vec![3], &[8]), [(0, 5, None, Some("later".into()))]);
}

/// The error with which reading there begins.
fn first_error(log: &dyn Log, partition: &TopicPartition, offset: i64) -> Error {
    let since = Instant::now();
    let mut reader = match log.read(&[at(partition, offset)]) {
        Ok(reader) => reader,
        Err(error) => return error,
    };
    loop {
        match reader.next(Duration::from_millis(50)) {
            Ok(None) => assert!(since.elapsed() < Duration::from_secs(30), "no error"),
            // Answered, and nothing there yet.
            Ok(Some(Read::Batch(batch))) if batch.is_empty() => {}
            Ok(Some(Read::Batch(batch))) => panic!("{batch:?}"),
            Ok(Some(Read::Lost { error, .. })) | Err(error) => return error,
        }
    }
}

/// A log that answers for `topic` (a partition 0 with records) until `bar` is called with true, and again when it is called
/// with false: in between every question fails with `fault`, and nothing happened. A reader waits for brokers that are away, and
/// goes on where it stood.
pub fn barred_log(log: &dyn Log, producer: &mut dyn Producer, topic: &str, fault: Fault, bar: &mut dyn FnMut(bool)) {
    let partition = TopicPartition::new(topic, 0);
    let low = log.partitions(topic).unwrap().unwrap()[&0].low;
    let mut reader = log.read(&[at(&partition, low)]).unwrap();
    bar(true);
    did_not(&log.partitions(topic).unwrap_err(), fault);
    did_not(&log.topic_id(topic).unwrap_err(), fault);
    did_not(&log.starts(topic, StartAt::Latest).unwrap_err(), fault);
    did_not(&log.records_at(&[(partition.clone(), low)]).unwrap_err(), fault);
    did_not(&log.is_read_up(&[(partition.clone(), low, low)]).unwrap_err(), fault);
    did_not(&log.first_timestamps(&[(partition.clone(), low)]).unwrap_err(), fault);
    if fault != Fault::Outage {
        did_not(&first_error(log, &partition, low), fault);
        return bar(false);
    }
    producer.send(topic, 0, None, Some("meanwhile"));
    // What came before the bar may still be on its way.
    let since = Instant::now();
    let mut position = low;
    while since.elapsed() < Duration::from_secs(2) {
        if let Some(Read::Batch(batch)) = reader.next(Duration::from_millis(50)).unwrap() {
            batch.runs.iter().for_each(|run| position = run.position);
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
    let high = facts[&0].last_stable;
    assert!(position < high, "it was barred");
    let records = read_to(&mut *reader, vec![position], &[high]);
    assert_eq!(records.last().unwrap().3.as_deref(), Some("meanwhile"));
}

/// A log with an empty topic of two partitions: what a reader says of each of them by itself.
pub fn reader(log: &dyn Log, producer: &mut dyn Producer, topic: &str) {
    let (p0, p1) = (TopicPartition::new(topic, 0), TopicPartition::new(topic, 1));
    let offsets = |records: &[(i32, i64, Option<String>, Option<String>)]| -> Vec<(i32, i64)> {
        records.iter().map(|(place, offset, ..)| (*place, *offset)).collect()
    };
    (0..3).for_each(|n| producer.send(topic, 0, None, Some(&n.to_string())));
    producer.send(topic, 1, None, Some("other"));

    // One that is refused takes no other with it.
    let mut reader = log.read(&[at(&p0, 1000), at(&p1, 0)]).unwrap();
    let (mut refused, mut seen, since) = (0, Vec::new(), Instant::now());
    let mut more = vec!["later"];
    while refused == 0 || seen.len() < 2 {
        assert!(since.elapsed() < Duration::from_secs(30), "{refused} {seen:?}");
        match reader.next(Duration::from_millis(50)).unwrap() {
            None => {}
            Some(Read::Batch(batch)) => seen.extend(batch.partitions.iter().copied().zip(batch.offsets)),
            Some(Read::Lost { place, error }) => {
                assert_eq!(place, 0);
                did_not(&error, Fault::Refused);
                refused += 1;
                more.drain(..).for_each(|value| producer.send(topic, 1, None, Some(value)));
            }
        }
    }
    assert_eq!((refused, seen), (1, vec![(1, 0), (1, 1)]));

    // Nothing at a bound or above it is given, whatever else is, and nothing is lost by it.
    let mut reader = log.read(&[at(&p0, 0), at(&p1, 0)]).unwrap();
    reader.allow(0, Some(2)).unwrap();
    let mut records = read_to(&mut *reader, vec![0, 0], &[2, 2]);
    records.sort();
    assert_eq!(offsets(&records), [(0, 0), (0, 1), (1, 0), (1, 1)]);
    producer.send(topic, 1, None, Some("goes on"));
    (3..6).for_each(|n| producer.send(topic, 0, None, Some(&n.to_string())));
    assert_eq!(offsets(&read_to(&mut *reader, vec![2, 2], &[2, 3])), [(1, 2)]);
    let quiet = Instant::now();
    while quiet.elapsed() < Duration::from_secs(1) {
        match reader.next(Duration::from_millis(50)).unwrap() {
            None => {}
            Some(Read::Batch(batch)) if batch.is_empty() && batch.runs.iter().all(|run| run.position <= 3) => {}
            other => panic!("{other:?}"),
        }
    }
    reader.allow(0, Some(4)).unwrap();
    assert_eq!(offsets(&read_to(&mut *reader, vec![2, 3], &[4, 3])), [(0, 2), (0, 3)]);
    reader.allow(0, None).unwrap();
    assert_eq!(offsets(&read_to(&mut *reader, vec![4, 3], &[6, 3])), [(0, 4), (0, 5)]);
    // A bound among records that nobody sees.
    reader.allow(0, Some(7)).unwrap();
    producer.transaction(topic, 0, &["no", "no"], false);
    // The marker of an abort may be written after the abort is answered.
    let since = Instant::now();
    while log.partitions(topic).unwrap().unwrap()[&0].last_stable < 9 {
        assert!(since.elapsed() < Duration::from_secs(30), "no marker");
    }
    producer.send(topic, 0, None, Some("last"));
    assert_eq!(read_to(&mut *reader, vec![6, 3], &[7, 3]), []);
    reader.allow(0, None).unwrap();
    assert_eq!(offsets(&read_to(&mut *reader, vec![7, 3], &[10, 3])), [(0, 9)]);

    // How far a partition goes, and that it was answered: also where nothing comes of it.
    producer.overtaken(topic, 1, &["no"], "open");
    let mut told = |wanted: [(i64, i64, i64); 2]| {
        let (since, mut told) = (Instant::now(), [None, None]);
        while told != wanted.map(Some) {
            assert!(since.elapsed() < Duration::from_secs(30), "{told:?} instead of {wanted:?}");
            let Some(Read::Batch(batch)) = reader.next(Duration::from_millis(50)).unwrap() else { continue };
            for run in batch.runs.iter().filter(|run| run.answered) {
                told[run.place as usize] = run.last_stable.zip(run.high_watermark).map(|(l, h)| (run.position, l, h));
            }
        }
    };
    // Offset 3, aborted, which a position passes only with what comes after it; 4, open; the marker of the first.
    told([(10, 10, 10), (3, 4, 6)]);
    told([(10, 10, 10), (3, 4, 6)]); // again and again
    producer.commit(topic, 1);
    told([(10, 10, 10), (7, 7, 7)]);
}
