//! Encode: files and fates of an epoch, when its frontier passes.

use std::sync::Arc;

use arrow_array::Int64Array;
use checkpoint::{Fate, Fates, Generation, Nonce, Tally, names::Staging};
use connectors::{ColumnKind, TableName, TargetColumn, memory::MemoryObjects};
use operators::{
    Fitted,
    background::Pool,
    held::Account,
    rows::{Records, only},
    schema::Target,
    signals::{Of, Piece},
    sink::{
        encode::{Compression, EncodeOptions, Encoded, encode},
        upload,
    },
    stage::{Split, split},
};

use crate::harness::{Alone, Input, Output};

fn target() -> Target {
    let column = TargetColumn {
        name: "n".into(),
        kind: ColumnKind::BigInt,
        not_null: true,
        has_default: false,
        is_identity: false,
    };
    Target {
        table: TableName { schema: "s".into(), table: "t".into() },
        stream: Some(0),
        columns: vec![column].into(),
        ..Target::default()
    }
}

/// Rows of records of place 4, from an offset on.
fn rows(from: i64, count: i64) -> Fitted {
    let place = vec![4; count as usize].into();
    Fitted {
        columns: vec![Arc::new(Int64Array::from_iter_values(0..count))],
        records: Records { place, offset: (from..from + count).collect(), within: None },
        lease: None,
    }
}

const OPTIONS: EncodeOptions =
    EncodeOptions { compression: Compression::None, file_bytes: 1 << 20, page_bytes: 1 << 20 };

fn encoding() -> (Alone, Input<Fitted>, Output<Vec<Encoded>>) {
    let (alone, (input, output)) = Alone::build(|scope| {
        let (input, rows) = Input::new(scope);
        (input, Output::of(encode(rows, Arc::new(target()), OPTIONS, Account::default())))
    });
    (alone, input, output)
}

/// The files that came out, with their epochs.
fn files(output: &Output<Vec<Encoded>>) -> Vec<(u64, u64, Tally)> {
    output.take_each().into_iter().map(|(epoch, file)| (epoch, file.rows, file.records)).collect()
}

/// Records of place 4.
fn records(offsets: &[i64]) -> Tally {
    Tally::of(offsets.iter().map(|offset| (4, *offset)))
}

#[test]
fn an_epoch_is_a_file_when_the_frontier_has_passed_it() {
    let (mut alone, mut input, output) = encoding();
    input.give(5, rows(10, 2));
    input.give(4, rows(7, 3));
    alone.settle();
    input.give(5, rows(12, 1));
    input.advance(4);
    alone.settle();
    assert_eq!((files(&output), output.frontier()), (vec![], Some(4)));
    input.advance(5);
    alone.settle();
    assert_eq!((files(&output), output.frontier()), (vec![(4, 3, records(&[7, 8, 9]))], Some(5)));
    input.give(5, rows(13, 1));
    input.close();
    alone.settle();
    assert_eq!((files(&output), output.frontier()), (vec![(5, 4, records(&[10, 11, 12, 13]))], None));
}

/// Fates are added up by epoch, and hold it until its input has passed; rows and dead letters do not wait.
#[test]
fn fates_are_told_when_the_frontier_has_passed_their_epoch() {
    let (mut alone, (mut input, kept, letters, fates)) = Alone::build(|scope| {
        let (input, raw) = Input::new(scope);
        // Odd offsets are left out; a batch of one row is set aside.
        let outputs = split("Query", Of::Target(6), raw, |_, rows: Fitted| {
            let tally_of = |bad: fn(&i64) -> bool| Tally::of(rows.records.iter().filter(|(_, offset)| bad(offset)));
            let mut fates = Fates::default();
            if rows.len() == 1 {
                fates.add(Fate::DeadLetter, tally_of(|_| true));
                return Split { letters: Some(rows), fates, ..Split::default() };
            }
            fates.add(Fate::Filtered, tally_of(|offset| offset % 2 == 1));
            let even: Vec<usize> = (0..rows.len()).filter(|row| rows.records.offset[*row] % 2 == 0).collect();
            let records = Records {
                place: even.iter().map(|row| rows.records.place[*row]).collect(),
                offset: even.iter().map(|row| rows.records.offset[*row]).collect(),
                within: None,
            };
            let kept = Fitted { columns: only(&rows.columns, rows.len(), &even), records, lease: None };
            Split { rows: kept, letters: None, fates }
        });
        (input, Output::of(outputs.rows), Output::of(outputs.letters), Output::of(outputs.fates))
    });
    let came = |output: &Output<Fitted>| -> Vec<(u64, usize)> {
        output.take().into_iter().map(|(epoch, rows)| (epoch, rows.len())).collect()
    };
    input.give(4, rows(1, 3));
    input.give(5, rows(1, 2));
    input.give(4, rows(9, 1));
    input.give(4, rows(11, 2));
    alone.settle();
    assert_eq!((came(&kept), came(&letters)), (vec![(4, 1), (5, 1), (4, 1)], vec![(4, 1)]));
    assert!(fates.take().is_empty());
    input.advance(5);
    alone.settle();
    let told = |odd: &[i64], aside: &[i64]| {
        let mut fates = Fates::default();
        fates.add(Fate::Filtered, records(odd));
        fates.add(Fate::DeadLetter, records(aside));
        Piece::Fates { of: Of::Target(6), fates }
    };
    assert_eq!((fates.take_each(), fates.frontier()), (vec![(4, told(&[1, 3, 11], &[9]))], Some(5)));
    // What has no row left is not sent, and is counted.
    input.give(5, rows(3, 0));
    input.close();
    alone.settle();
    assert_eq!((fates.take_each(), fates.frontier()), (vec![(5, told(&[1], &[]))], None));
    assert_eq!((kept.frontier(), letters.frontier()), (None, None));
}

#[test]
fn a_message_without_an_epoch_ends_the_process() {
    let (alone, mut input, _) = encoding();
    input.give_without_time(rows(0, 1));
    assert!(alone.dies().contains("without an epoch"));

    let (alone, (mut input, _)) = Alone::build(|scope| {
        let (input, encoded) = Input::new(scope);
        let nonce = Nonce::new([1; 16]);
        let staging = Staging { job: "j".into(), fence_id: "f".into(), generation: Generation(1), nonce };
        let objects = Arc::new(MemoryObjects::default());
        (
            input,
            Output::<Vec<Piece>>::of(upload(
                scope,
                encoded,
                0,
                Arc::new(staging),
                objects,
                &Pool::new("upload", 2),
                Arc::new(|_| {}),
            )),
        )
    });
    let file = Encoded { body: Default::default(), rows: 1, records: Tally::default(), lease: None };
    input.give_without_time(vec![file]);
    assert!(alone.dies().contains("without an epoch"));

    // Decode, query and fit.
    let (alone, (mut input, _, _)) = Alone::build(|scope| {
        let (input, rows) = Input::new(scope);
        let outputs = split("Decode", Of::Stream(0), rows, |_, rows| Split { rows, ..Split::default() });
        (input, Output::of(outputs.rows), Output::of(outputs.letters))
    });
    input.give_without_time(rows(0, 1));
    assert!(alone.dies().contains("without an epoch"));
}
