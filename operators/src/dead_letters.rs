//! Records that could not be loaded, as rows of one more target.
//!
//! Decode, query and fit set such a record aside and go on with the others. What they set aside goes the same way as all
//! rows from encode on, into the same transaction as the rest of its epoch, so a dead letter is loaded exactly once too.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use crate::{
    Time,
    failure::{Failure, fail},
    places::Place,
    reject_limit::Limit,
    rows::{Fitted, Index, Origin, Records, Rejected, constant},
    values::cut,
};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Int32Array, Int64Array, TimestampMicrosecondArray, builder::StringBuilder,
};
use checkpoint::{Micros, hex};

/// How many bytes of a record its dead letter shows: as many as fit into the column as hex.
const RAW_BYTES: usize = 65_535 / 2;
/// How long the reason may be, in bytes.
const REASON_BYTES: usize = 1024;
/// How long the name of a column may be, in bytes.
const NAME_BYTES: usize = 127;

/// What the job does about records that cannot be loaded: each becomes a dead letter, unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RejectOptions {
    /// The first one ends the process.
    pub halt: bool,
    /// The share of the last [`reject_limit::WINDOW`](crate::reject_limit::WINDOW) records above which the process ends, between 0 and 1.
    pub halt_above: Option<f64>,
}

/// Sets records aside: one for all operators of a worker.
#[derive(Clone)]
pub struct Rejects {
    places: Arc<[Place]>,
    halt: bool,
    limit: Option<Rc<RefCell<Limit>>>,
}

impl Rejects {
    /// For one worker. `places` are all partitions of the job.
    pub fn new(options: RejectOptions, places: Arc<[Place]>) -> Rejects {
        let limit = options.halt_above.map(|above| Rc::new(RefCell::new(Limit::new(above))));
        Rejects { places, halt: options.halt, limit }
    }

    /// The records of a batch came.
    pub fn saw(&self, origin: &Origin) {
        if let Some(limit) = &self.limit {
            limit.borrow_mut().saw(origin.records());
        }
    }

    /// The rejected rows of a batch as dead letters; `index` says which records they are of. `rejected` is in the order of the rows and
    /// names none twice. To take them out of the batch, and to count them, is the caller's.
    pub fn set_aside(
        &self,
        epoch: Time,
        stage: &'static str,
        target: &str,
        origin: &Origin,
        index: &Index,
        rejected: &[Rejected],
    ) -> Option<Fitted> {
        let first = rejected.first()?;
        let at = |rejected: &Rejected| index.record(rejected.row);
        let record = |rejected: &Rejected| (origin.place.value(at(rejected)), origin.offset.value(at(rejected)));
        let over = self.limit.as_ref().and_then(|limit| limit.borrow_mut().rejected(rejected.iter().map(record)));
        if self.halt || over.is_some() {
            fail(self.failure(origin, at(first), stage, first, over));
        }
        Some(letters(epoch, stage, target, origin, index, rejected, &self.places))
    }

    fn failure(
        &self,
        origin: &Origin,
        record: usize,
        stage: &'static str,
        first: &Rejected,
        over: Option<(u64, u64)>,
    ) -> Failure {
        let Some(place) = self.places.get(origin.place.value(record) as usize) else {
            return Failure::Bug("a record of an unknown partition".into());
        };
        let (partition, offset) = (place.partition.clone(), origin.offset.value(record));
        let (column, reason) = (first.column.clone(), first.reason.clone());
        match over {
            None => Failure::BadRecord { partition, offset, stage, column, reason },
            Some((bad, seen)) => Failure::TooManyBadRecords { bad, seen, partition, offset, stage, column, reason },
        }
    }
}

/// The columns of [`connectors::dead_letter_columns`], one row for each rejected record.
fn letters(
    epoch: Time,
    stage: &str,
    target: &str,
    origin: &Origin,
    index: &Index,
    rejected: &[Rejected],
    places: &[Place],
) -> Fitted {
    let count = rejected.len();
    let mut topics = StringBuilder::new();
    let (mut columns, mut reasons, mut raws) = (StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
    let mut partitions = Vec::with_capacity(count);
    let (mut timestamps, mut truncated) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let mut digits = String::new();
    for Rejected { row, column, reason } in rejected {
        let record = index.record(*row);
        let Some(place) = places.get(origin.place.value(record) as usize) else {
            fail(Failure::Bug("a record of an unknown partition".into()));
        };
        topics.append_value(&*place.partition.topic);
        partitions.push(place.partition.partition);
        timestamps.push(Micros::from_millis(origin.timestamp_ms.value(record)).map(|at| at.0));
        columns.append_option(column.as_deref().map(|name| printable(name, NAME_BYTES)));
        reasons.append_value(printable(reason, REASON_BYTES));
        let raw = origin.value.is_valid(record).then(|| origin.value.value(record));
        truncated.push(raw.is_some_and(|raw| raw.len() > RAW_BYTES));
        match raw {
            None => raws.append_null(),
            Some(raw) => {
                digits.clear();
                hex::push(&raw[..raw.len().min(RAW_BYTES)], &mut digits);
                raws.append_value(&digits);
            }
        }
    }
    let rows: Vec<usize> = rejected.iter().map(|rejected| rejected.row).collect();
    let records = Records::of(origin, &index.only(&rows));
    let within = rows.iter().map(|row| index.within(*row) as i32);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![epoch as i64; count])),
        constant(target, count),
        Arc::new(topics.finish()),
        Arc::new(Int32Array::from(partitions)),
        Arc::new(Int64Array::new(records.offset.clone(), None)),
        Arc::new(Int32Array::from_iter_values(within)),
        Arc::new(TimestampMicrosecondArray::from(timestamps)),
        constant(stage, count),
        Arc::new(columns.finish()),
        Arc::new(reasons.finish()),
        Arc::new(raws.finish()),
        Arc::new(BooleanArray::from(truncated)),
    ];
    Fitted { columns, records, lease: None }
}

/// Text that Redshift takes into a column of so many bytes, whatever the record had in it.
fn printable(text: &str, most: usize) -> String {
    let clean: String = text.chars().map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect();
    cut(&clean, most).to_string()
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use checkpoint::TopicPartition;
    use connectors::{RawBatch, dead_letter_columns};

    use super::*;
    use crate::values::arrow::arrow_type;

    fn places() -> Arc<[Place]> {
        let partition = TopicPartition::new("t", 5);
        [Place { partition, topic_id: String::new(), stream: 0, start: 0, leader_epoch: None, until: None }].into()
    }

    fn origin(values: &[&[u8]]) -> Origin {
        let mut raw = RawBatch::default();
        for (i, value) in values.iter().enumerate() {
            raw.partitions.push(0);
            raw.offsets.push(100 + i as i64);
            raw.timestamps_ms.push(if i == 2 { i64::MAX } else { 7 });
            raw.keys.push(None).unwrap();
            raw.values.push(Some(value)).unwrap();
        }
        Origin::new(raw, &[0])
    }

    #[test]
    fn a_rejected_record_leaves_the_batch_and_is_named() {
        let rejects = Rejects::new(RejectOptions { halt: false, halt_above: None }, places());
        let long = vec![0xabu8; RAW_BYTES + 1];
        // Two records before the rows are none of them.
        let origin = origin(&[b"", b"", b"a\0", b"good", &long]);
        let index = Index::of(2..5);
        let rejected = |row, column: Option<&str>, reason: &str| Rejected {
            row,
            column: column.map(Into::into),
            reason: reason.into(),
        };
        let bad = [rejected(0, None, "nul\0"), rejected(2, Some("c"), &"ü".repeat(600))];
        let letters = rejects.set_aside(9, "fit", "s.t", &origin, &index, &bad).unwrap();
        let text = |column: usize| letters.columns[column].as_string::<i32>().iter().collect::<Vec<_>>();
        assert_eq!(letters.len(), 2);
        assert_eq!(letters.records.iter().collect::<Vec<_>>(), [(0, 102), (0, 104)], "which records they are");
        assert_eq!((text(1), text(2)), (vec![Some("s.t"); 2], vec![Some("t"); 2]));
        assert_eq!(letters.columns[4].as_primitive::<arrow_array::types::Int64Type>().values(), &[102, 104]);
        assert!(
            letters.columns[6].is_null(0) && letters.columns[6].is_valid(1),
            "a timestamp far in the future is not kept"
        );
        assert_eq!(letters.columns[5].as_primitive::<arrow_array::types::Int32Type>().values(), &[0, 0]);
        assert_eq!((text(7), text(8)), (vec![Some("fit"); 2], vec![None, Some("c")]));
        assert_eq!((text(9)[0], text(9)[1].unwrap().len()), (Some("nul\u{fffd}"), 1024));
        assert_eq!((text(10)[0], text(10)[1].unwrap().len()), (Some("6100"), 65_534));
        assert_eq!(letters.columns[11].as_boolean().iter().collect::<Vec<_>>(), [Some(false), Some(true)]);
        // The columns are those that the table has.
        for (array, column) in letters.columns.iter().zip(dead_letter_columns()) {
            assert_eq!(Some(array.data_type().clone()), arrow_type(&column.kind), "{}", column.name);
        }
        assert_eq!(letters.columns.len(), dead_letter_columns().len());
    }
}
