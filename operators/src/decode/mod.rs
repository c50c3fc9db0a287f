//! Bytes to columns of the declared types.
//!
//! * Input: raw batches of one stream. Output: the same rows with the declared columns; tombstones are left out and counted
//!   as skipped.
//! * Time: each batch at its own. It holds nothing and keeps no state.
//! * Failure: a record that does not decode ends the process with its topic, partition and offset.
//!
//! A format is a plain function from bytes to the checked builders of [`columns`], which take a row back when it turns
//! out bad in the middle, so the rows beside it are not lost with it.

pub mod columns;
pub mod json;
pub mod timestamp;

use std::sync::Arc;

use arrow_array::{Array, BooleanArray};
use timely::{
    container::NoopBuilder,
    dataflow::{
        Stream,
        channels::pact::Pipeline,
        operators::{InputCapability, generic::operator::Operator},
    },
};

use crate::{
    Rows, Time,
    failure::{Failure, fail},
    fetch::Place,
    rows::Origin,
};
use columns::{Builders, SourceColumn};

/// What decode must know of a stream.
#[derive(Clone)]
pub struct DecodeOptions {
    /// The declared columns, in their order.
    pub columns: Arc<[SourceColumn]>,
    /// All partitions of the job, to name the one of a bad record.
    pub places: Arc<[Place]>,
}

/// Builds decode for one stream of JSON records.
pub fn decode<'s>(raw: Stream<'s, Time, Rows>, options: DecodeOptions) -> Stream<'s, Time, Rows> {
    raw.unary::<NoopBuilder<Rows>, _, _, _>(Pipeline, "Decode", move |_, _| {
        let mut decoder = json::Decoder::new(&options.columns);
        let mut builders = Builders::new(&options.columns);
        move |input, output| {
            input.for_each(|capability: InputCapability<Time>, rows: &mut Rows| {
                let mut rows = std::mem::take(rows);
                if let Err(bad) = decode_batch(&mut rows, &mut decoder, &mut builders) {
                    fail(bad.into_failure(&options.places));
                }
                output.session_with_builder(&capability).give_container(&mut rows);
            });
        }
    })
}

/// A record that cannot become a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// The place of its partition.
    pub place: i32,
    /// Its offset.
    pub offset: i64,
    /// Where it failed.
    pub stage: &'static str,
    /// The column, if one is to blame.
    pub column: Option<String>,
    /// Why.
    pub reason: String,
}

impl Bad {
    /// As the end of the process.
    pub fn into_failure(self, places: &[Place]) -> Failure {
        let Bad { place, offset, stage, column, reason } = self;
        match places.get(place as usize) {
            Some(place) => Failure::BadRecord { partition: place.partition.clone(), offset, stage, column, reason },
            None => Failure::Bug(format!("a record of unknown place {place}")),
        }
    }
}

/// Decodes a batch in place.
fn decode_batch(rows: &mut Rows, decoder: &mut json::Decoder, builders: &mut Builders) -> Result<(), Bad> {
    let Some(origin) = &rows.origin else { return Ok(()) };
    for row in 0..origin.value.len() {
        if origin.value.is_null(row) {
            continue;
        }
        if let Err(error) = decoder.decode(origin.value.value(row), builders) {
            return Err(bad_row(origin, row, error));
        }
    }
    let tombstones = origin.value.null_count();
    if tombstones > 0 {
        let keep = BooleanArray::from_iter((0..origin.value.len()).map(|row| Some(origin.value.is_valid(row))));
        rows.origin = Some(origin.filter(&keep));
        rows.counts.skipped += tombstones as u64;
        rows.counts.row_count -= tombstones as u64;
    }
    rows.columns = builders.finish();
    Ok(())
}

fn bad_row(origin: &Origin, row: usize, error: columns::Error) -> Bad {
    Bad {
        place: origin.place.value(row),
        offset: origin.offset.value(row),
        stage: "decode",
        column: error.column,
        reason: error.reason,
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{cast::AsArray, types::Int64Type};
    use connectors::RawBatch;

    use super::*;
    use columns::Kind;

    fn batch(values: &[Option<&str>]) -> Rows {
        let mut raw = RawBatch::default();
        for (i, value) in values.iter().enumerate() {
            raw.partitions.push(0);
            raw.offsets.push(100 + i as i64);
            raw.timestamps_ms.push(0);
            raw.keys.push(None).unwrap();
            raw.values.push(value.map(str::as_bytes)).unwrap();
        }
        let mut rows = Rows { origin: Some(Origin::new(raw, &[7])), ..Rows::default() };
        (rows.counts.records_read, rows.counts.row_count) = (values.len() as u64, values.len() as u64);
        rows
    }

    #[test]
    fn tombstones_are_left_out_and_counted() {
        let columns = [SourceColumn { name: "a".into(), kind: Kind::BigInt }];
        let (mut decoder, mut builders) = (json::Decoder::new(&columns), Builders::new(&columns));
        let mut rows = batch(&[None, Some(r#"{"a":1}"#), None, Some(r#"{"a":2}"#)]);
        decode_batch(&mut rows, &mut decoder, &mut builders).unwrap();
        assert_eq!(rows.columns[0].as_primitive::<Int64Type>().values(), &[1, 2]);
        assert_eq!(rows.origin.as_ref().unwrap().offset.values(), &[101, 103]);
        assert_eq!((rows.counts.records_read, rows.counts.skipped, rows.counts.row_count), (4, 2, 2));
        assert!(rows.counts.add_up());
        // The builders begin anew.
        let mut rows = batch(&[Some(r#"{"a":3}"#)]);
        decode_batch(&mut rows, &mut decoder, &mut builders).unwrap();
        assert_eq!((rows.len(), rows.columns[0].len()), (1, 1));
    }

    #[test]
    fn a_bad_record_is_named() {
        let columns = [SourceColumn { name: "a".into(), kind: Kind::SmallInt }];
        let (mut decoder, mut builders) = (json::Decoder::new(&columns), Builders::new(&columns));
        let bad = decode_batch(&mut batch(&[Some(r#"{"a":1}"#), Some(r#"{"a":70000}"#)]), &mut decoder, &mut builders)
            .unwrap_err();
        assert_eq!((bad.place, bad.offset, bad.stage, bad.column.as_deref()), (7, 101, "decode", Some("a")));
    }
}
