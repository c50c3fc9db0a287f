//! Every way in which good and bad records can stand beside each other in a batch, through decode, query and fit.
//!
//! Exhaustive for small batches: each of seven kinds of records at each place.

#![allow(clippy::unwrap_used)] // a test from end to end

use std::sync::Arc;

use arrow_array::{cast::AsArray, types::Int64Type};
use checkpoint::{Fate, Fates, Tally, TopicPartition};
use connectors::{ColumnKind, RawBatch, TableName, TargetColumn};
use operators::{
    Raw,
    dead_letters::{RejectOptions, Rejects},
    decode::{Decode, DecodeOptions, Format},
    events::{Changes, Watch},
    places::Place,
    query::{Evaluate, select},
    rows::Origin,
    schema::{SourceColumn, Target},
    sink::fit::Fit,
    values::Policy,
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Record {
    Good,
    Tombstone,
    NotJson,
    FilterFails,
    LeftOut,
    QueryFails,
    DoesNotFit,
}

const ALL: [Record; 7] = [
    Record::Good,
    Record::Tombstone,
    Record::NotJson,
    Record::FilterFails,
    Record::LeftOut,
    Record::QueryFails,
    Record::DoesNotFit,
];

impl Record {
    fn value(self, n: usize) -> Option<String> {
        let with =
            |kind, divisor, size| Some(format!(r#"{{"n":{n},"kind":{kind},"divisor":{divisor},"size":{size}}}"#));
        match self {
            Record::Good => with(5, 1, 1),
            Record::Tombstone => None,
            Record::NotJson => Some(format!(r#"{{"n":{n},"#)),
            Record::FilterFails => with(0, 1, 1),
            Record::LeftOut => with(-5, 1, 1),
            Record::QueryFails => with(5, 0, 1),
            Record::DoesNotFit => with(5, 1, 40_000),
        }
    }

    /// Where it becomes a dead letter, and by which column.
    fn fails(self) -> Option<(&'static str, Option<&'static str>)> {
        match self {
            Record::Good | Record::Tombstone | Record::LeftOut => None,
            Record::NotJson => Some(("decode", None)),
            Record::FilterFails => Some(("query", None)),
            Record::QueryFails => Some(("query", Some("q"))),
            Record::DoesNotFit => Some(("fit", Some("size"))),
        }
    }
}

struct Stages {
    decode: Decode,
    query: Evaluate,
    fit: Fit,
}

fn stages() -> Stages {
    let partition = TopicPartition::new("t", 3);
    let places: Arc<[Place]> =
        [Place { partition, topic_id: String::new(), stream: 0, start: 0, leader_epoch: None, until: None }].into();
    let rejects = Rejects::new(RejectOptions::default(), places.clone());
    let watch: Watch = Arc::new(|_| {});
    let kinds = [
        ("n", ColumnKind::BigInt),
        ("kind", ColumnKind::Integer),
        ("divisor", ColumnKind::Integer),
        ("size", ColumnKind::Integer),
    ];
    let columns: Vec<SourceColumn> = kinds.into_iter().map(|(name, kind)| SourceColumn::new(name, kind)).collect();
    let query = "SELECT n, 100 / divisor AS q, size, n + 1 AS next FROM s WHERE 10 / kind > 0";
    let selection = select::parse(query, &[("s".into(), columns.clone())]).unwrap();
    let column = |name: &str, kind| TargetColumn {
        name: name.into(),
        kind,
        not_null: false,
        has_default: false,
        is_identity: false,
    };
    let target = Target {
        table: TableName { schema: "public".into(), table: "t".into() },
        stream: Some(0),
        columns: vec![
            column("n", ColumnKind::BigInt),
            column("q", ColumnKind::Integer),
            column("size", ColumnKind::SmallInt),
            column("next", ColumnKind::BigInt),
        ]
        .into(),
        policies: vec![Policy::default(); 4],
        ..Target::default()
    };
    Stages {
        decode: Decode::new(
            DecodeOptions { stream: "s".into(), format: Format::Json, columns: columns.into() },
            rejects.clone(),
            watch.clone(),
        ),
        query: Evaluate { target: target.name(), selection: Arc::new(selection), places, rejects: rejects.clone() },
        fit: Fit { changes: Changes::new(target.name(), watch), target: Arc::new(target), rejects },
    }
}

fn check(records: &[Record], stages: &mut Stages) {
    let mut raw = RawBatch::default();
    for (n, record) in records.iter().enumerate() {
        raw.partitions.push(0);
        raw.offsets.push(100 + n as i64);
        raw.timestamps_ms.push(0);
        raw.keys.push(None).unwrap();
        raw.values.push(record.value(n).as_deref().map(str::as_bytes)).unwrap();
    }
    let raw = Raw::new(Origin::new(raw, &[0]));
    let decoded = stages.decode.batch(7, raw);
    let selected = stages.query.batch(7, decoded.rows);
    let fitted = stages.fit.batch(7, selected.rows);
    let rows = fitted.rows;

    let good: Vec<i64> = (0..).zip(records).filter(|(_, r)| **r == Record::Good).map(|(n, _)| n).collect();
    let column = |place: usize| rows.columns[place].as_primitive::<Int64Type>().values().to_vec();
    assert_eq!(column(0), good, "{records:?}");
    assert_eq!(column(3), good.iter().map(|n| n + 1).collect::<Vec<_>>(), "{records:?}");
    assert!(rows.columns.iter().all(|column| column.len() == good.len()), "{records:?}");

    let all = [decoded.letters, selected.letters, fitted.letters];
    let letters = all.iter().flatten().cloned().flat_map(|letters| {
        let text = |place: usize, row: usize| -> Option<String> {
            let texts = letters.columns[place].as_string::<i32>();
            texts.iter().nth(row).flatten().map(String::from)
        };
        let offsets = letters.columns[4].as_primitive::<Int64Type>().values().to_vec();
        (0..letters.len()).map(|row| (offsets[row], text(7, row).unwrap(), text(8, row))).collect::<Vec<_>>()
    });
    let mut letters: Vec<(i64, String, Option<String>)> = letters.collect();
    letters.sort();
    let expected = (100..).zip(records).filter_map(|(offset, record)| {
        record.fails().map(|(stage, column)| (offset, stage.to_string(), column.map(String::from)))
    });
    assert_eq!(letters, expected.collect::<Vec<_>>(), "{records:?}");

    // Each record meets one fate, and it is known which records met which.
    let of = |wanted: &[Record]| {
        Tally::of((100..).zip(records).filter(|(_, record)| wanted.contains(record)).map(|(offset, _)| (0, offset)))
    };
    let mut fates = Fates::default();
    [decoded.fates, selected.fates, fitted.fates].iter().for_each(|some| fates.merge(some));
    assert_eq!(fates.get(Fate::Filtered), of(&[Record::LeftOut]), "{records:?}");
    assert_eq!(fates.get(Fate::Skipped), of(&[Record::Tombstone]), "{records:?}");
    assert_eq!(fates.get(Fate::Undecoded), of(&[Record::NotJson]), "{records:?}");
    let failed = of(&[Record::FilterFails, Record::QueryFails, Record::DoesNotFit]);
    assert_eq!(fates.get(Fate::DeadLetter), failed, "{records:?}");
    fates.add(Fate::Taken, Tally::of(rows.records.iter()));
    assert_eq!(fates.total(), of(&ALL), "{records:?}");
    let mut set_aside = Tally::default();
    all.iter().flatten().for_each(|letters| set_aside.add(Tally::of(letters.records.iter())));
    assert_eq!(set_aside, of(&[Record::NotJson, Record::FilterFails, Record::QueryFails, Record::DoesNotFit]));
}

#[test]
fn every_batch_of_up_to_five_records() {
    let mut stages = stages();
    let mut batches = 0;
    for length in 0..=5u32 {
        for number in 0..ALL.len().pow(length) {
            let records: Vec<Record> =
                (0..length).map(|place| ALL[number / ALL.len().pow(place) % ALL.len()]).collect();
            check(&records, &mut stages);
            batches += 1;
        }
    }
    assert_eq!(batches, 1 + 7 + 49 + 343 + 2401 + 16_807);
}

/// A bad one at the first, last and every other place of a long batch, and beside another.
#[test]
fn one_or_two_bad_ones_anywhere_in_a_long_batch() {
    let mut stages = stages();
    for bad in ALL {
        for place in 0..200 {
            let mut records = vec![Record::Good; 200];
            records[place] = bad;
            check(&records, &mut stages);
            records[(place + 1) % 200] = bad;
            check(&records, &mut stages);
        }
    }
}
