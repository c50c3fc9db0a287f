use std::sync::Arc;

use arrow_array::Int64Array;
use checkpoint::{Generation, Nonce, names::Staging};
use connectors::{ColumnKind, TableName, TargetColumn, memory::MemoryObjects};
use operators::{
    Rows,
    dead_letters::split,
    sink::{
        Piece, Target,
        encode::{Compression, EncodeOptions, Encoded, encode},
        upload,
    },
};

use crate::harness::{Alone, Input, Output};

fn target() -> Target {
    let column = TargetColumn { name: "n".into(), kind: ColumnKind::BigInt, not_null: true, has_default: false };
    Target {
        table: TableName { schema: "s".into(), table: "t".into() },
        stream: Some(0),
        columns: vec![column],
        ..Target::default()
    }
}

fn rows(count: i64) -> Rows {
    let mut rows = Rows { columns: vec![Arc::new(Int64Array::from_iter_values(0..count))], ..Rows::default() };
    (rows.counts.records_read, rows.counts.row_count) = (count as u64, count as u64);
    rows
}

const OPTIONS: EncodeOptions = EncodeOptions { compression: Compression::None, file_bytes: 1 << 20 };

fn encoding() -> (Alone, Input<Rows>, Output<Vec<Encoded>>) {
    let (alone, (input, output)) = Alone::build(|scope| {
        let (input, rows) = Input::new(scope);
        (input, Output::of(encode(rows, Arc::new(target()), OPTIONS)))
    });
    (alone, input, output)
}

/// The files that came out, with their epochs.
fn files(output: &Output<Vec<Encoded>>) -> Vec<(u64, u64)> {
    let file = |(epoch, piece)| match piece {
        Encoded::File { rows, .. } => Some((epoch, rows)),
        Encoded::Counts(_) => None,
    };
    output.take_each().into_iter().filter_map(file).collect()
}

#[test]
fn an_epoch_is_a_file_when_the_frontier_has_passed_it() {
    let (mut alone, mut input, output) = encoding();
    input.give(5, rows(2));
    input.give(4, rows(3));
    alone.settle();
    input.give(5, rows(1));
    input.advance(4);
    alone.settle();
    assert_eq!((files(&output), output.frontier()), (vec![], Some(4)));
    input.advance(5);
    alone.settle();
    assert_eq!((files(&output), output.frontier()), (vec![(4, 3)], Some(5)));
    input.give(5, rows(1));
    input.close();
    alone.settle();
    assert_eq!((files(&output), output.frontier()), (vec![(5, 4)], None));
}

#[test]
fn a_message_without_an_epoch_ends_the_process() {
    let (alone, mut input, _) = encoding();
    input.give_without_time(rows(1));
    assert!(alone.dies().contains("without an epoch"));

    let (alone, (mut input, _)) = Alone::build(|scope| {
        let (input, encoded) = Input::new(scope);
        let nonce = Nonce::new([1; 16]);
        let staging = Staging { job: "j".into(), fence_id: "f".into(), generation: Generation(1), nonce };
        let objects = Arc::new(MemoryObjects::default());
        (input, Output::<Vec<Piece>>::of(upload(scope, encoded, 0, Arc::new(staging), objects, Arc::new(|_| {}))))
    });
    input.give_without_time(vec![Encoded::File { body: Default::default(), rows: 1 }]);
    assert!(alone.dies().contains("without an epoch"));

    // Decode, query and fit.
    let (alone, (mut input, _, _)) = Alone::build(|scope| {
        let (input, rows) = Input::new(scope);
        let (rows, letters) = split("Decode", rows, |_, rows| (rows, None));
        (input, Output::of(rows), Output::of(letters))
    });
    input.give_without_time(rows(1));
    assert!(alone.dies().contains("without an epoch"));
}
