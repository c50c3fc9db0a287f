//! What travels on an edge: a batch of records in one of three states, each a type of its own.
//!
//! * [`Raw`]: as fetched. Bytes, and where they came from.
//! * [`Rows`]: columns of declared types, out of decode and query. They share the [`Origin`] of their batch; an [`Index`] says which
//!   record each row is of. Whoever leaves rows out leaves them out of the columns and the index: keys and values are not touched.
//! * [`Fitted`]: columns of the target's types, with the [`Records`] that they are of and without their bytes.
//!
//! So the place, the offset and the number within its message stay with a row to the end.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BinaryArray, BooleanArray, Int32Array, Int64Array, UInt32Array};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_select::{filter::FilterBuilder, take::take};
use checkpoint::Tally;
use connectors::{BytesColumn, RawBatch};
use timely::Accountable;

use crate::{
    failure::{Failure, fail},
    held::Lease,
};

/// Records as they were fetched.
#[derive(Clone, Default)]
pub struct Raw {
    /// Where they came from, and what they were.
    pub origin: Arc<Origin>,
    /// What it and all that is made of it counts for in the worker's budget, until the last of that is dropped.
    pub lease: Option<Arc<Lease>>,
}

/// Rows of one stream, decoded or selected.
#[derive(Clone, Default)]
pub struct Rows {
    /// As long as the index. Which column is which the plan knows.
    pub columns: Vec<ArrayRef>,
    /// Where the records of the batch came from; shared by all that is made of it.
    pub origin: Arc<Origin>,
    /// Which of those records each row is of.
    pub index: Index,
    /// See [`Raw::lease`].
    pub lease: Option<Arc<Lease>>,
}

/// Rows that their target takes as they are.
#[derive(Clone, Default)]
pub struct Fitted {
    /// The columns, in the order of the target's.
    pub columns: Vec<ArrayRef>,
    /// Which records they are of.
    pub records: Records,
    /// See [`Raw::lease`].
    pub lease: Option<Arc<Lease>>,
}

/// Where records came from, and the bytes they were.
#[derive(Clone)]
pub struct Origin {
    /// The place of the partition in the job's list of partitions.
    pub place: Int32Array,
    /// Kafka offset.
    pub offset: Int64Array,
    /// Kafka timestamp in milliseconds since 1970; -1 if the record has none.
    pub timestamp_ms: Int64Array,
    /// Key.
    pub key: BinaryArray,
    /// Value.
    pub value: BinaryArray,
    /// Headers as JSON text; only where a query selects them.
    pub headers: Option<BinaryArray>,
}

/// For each row the record of the origin that it is of, and its number among the rows of that record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    rows: usize,
    /// `None` where row i is of record i.
    records: Option<ScalarBuffer<u32>>,
    /// `None` where each record has one row at most.
    within: Option<ScalarBuffer<u32>>,
}

/// Which records rows are of: of each its place, its offset and its number within its message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// The place of the partition in the job's list of partitions.
    pub place: ScalarBuffer<i32>,
    /// Kafka offset.
    pub offset: ScalarBuffer<i64>,
    /// The number of the row within its message; `None` where all are 0.
    pub within: Option<ScalarBuffer<u32>>,
}

/// A record of a batch that cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its row.
    pub row: usize,
    /// The column, if one is to blame.
    pub column: Option<String>,
    /// Why: words that do not depend on the record, then a colon and what was found.
    pub reason: String,
}

// The engine counts rows, and nothing else: parts of a batch must add up to it. One without rows is not sent.

impl Accountable for Raw {
    fn record_count(&self) -> i64 {
        self.origin.len() as i64
    }
}

impl Accountable for Rows {
    fn record_count(&self) -> i64 {
        self.index.len() as i64
    }
}

impl Accountable for Fitted {
    fn record_count(&self) -> i64 {
        self.records.len() as i64
    }
}

impl Raw {
    /// The batch of an origin. Nobody holds it to account yet.
    pub fn new(origin: Origin) -> Raw {
        Raw { origin: Arc::new(origin), lease: None }
    }

    /// Records.
    pub fn len(&self) -> usize {
        self.origin.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Rows {
    /// Rows as they are now.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which records these rows are of.
    pub fn tally_of(&self, rows: impl IntoIterator<Item = usize>) -> Tally {
        self.origin.tally_of(rows.into_iter().map(|row| self.index.record(row)))
    }
}

impl Fitted {
    /// Rows.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Index {
    /// Row i is of record i.
    pub fn all(records: usize) -> Index {
        Index { rows: records, records: None, within: None }
    }

    /// Each row is of one of these records, and the only one of it. (A batch has below 2 GiB, so its records have numbers of 32 bits.)
    pub fn of(records: impl Iterator<Item = usize>) -> Index {
        let records: ScalarBuffer<u32> = records.map(|record| record as u32).collect();
        Index { rows: records.len(), records: Some(records), within: None }
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The record that a row is of.
    pub fn record(&self, row: usize) -> usize {
        self.records.as_ref().map_or(row, |records| records[row] as usize)
    }

    /// The number of a row among those of its record.
    pub fn within(&self, row: usize) -> u32 {
        self.within.as_ref().map_or(0, |within| within[row])
    }

    /// The index of these rows alone.
    pub fn only(&self, rows: &[usize]) -> Index {
        let records = rows.iter().map(|row| self.record(*row) as u32).collect();
        let within = self.within.as_ref().map(|within| rows.iter().map(|row| within[*row]).collect());
        Index { rows: rows.len(), records: Some(records), within }
    }

    /// A value of the origin for each row: the same array where row i is of record i.
    pub fn gather(&self, array: &dyn Array) -> ArrayRef {
        let Some(records) = &self.records else { return array.slice(0, self.rows) };
        take(array, &UInt32Array::new(records.clone(), None), None)
            .unwrap_or_else(|e| fail(Failure::Bug(format!("an index beyond its records: {e}"))))
    }
}

impl Origin {
    /// Takes the buffers of a raw batch as they are. `places` are those of the reader's partitions, in its order.
    pub fn new(batch: RawBatch, places: &[i32]) -> Origin {
        let place: Vec<i32> = batch.partitions.iter().map(|p| places[*p as usize]).collect();
        Origin {
            place: place.into(),
            offset: batch.offsets.into(),
            timestamp_ms: batch.timestamps_ms.into(),
            key: binary(batch.keys),
            value: binary(batch.values),
            headers: (!batch.headers.present.is_empty()).then(|| binary(batch.headers)),
        }
    }

    /// Records.
    pub fn len(&self) -> usize {
        self.offset.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Each record: the place of its partition, and its offset.
    pub fn records(&self) -> impl Iterator<Item = (i32, i64)> + '_ {
        self.place.values().iter().copied().zip(self.offset.values().iter().copied())
    }

    /// Which records these are.
    pub fn tally_of(&self, records: impl IntoIterator<Item = usize>) -> Tally {
        Tally::of(records.into_iter().map(|record| (self.place.value(record), self.offset.value(record))))
    }
}

impl Default for Origin {
    fn default() -> Origin {
        Origin::new(RawBatch::default(), &[])
    }
}

impl Records {
    /// The records of all rows of an index.
    pub fn of(origin: &Origin, index: &Index) -> Records {
        let (places, offsets) = (origin.place.values(), origin.offset.values());
        match &index.records {
            None => Records { place: places.clone(), offset: offsets.clone(), within: index.within.clone() },
            Some(records) => Records {
                place: records.iter().map(|record| places[*record as usize]).collect(),
                offset: records.iter().map(|record| offsets[*record as usize]).collect(),
                within: index.within.clone(),
            },
        }
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.offset.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The record of each row: the place of its partition, and its offset.
    pub fn iter(&self) -> impl Iterator<Item = (i32, i64)> + '_ {
        self.place.iter().copied().zip(self.offset.iter().copied())
    }
}

/// Pure: the rows that are left of so many without these, which are in order and named once.
pub fn others(rows: usize, rejected: &[Rejected]) -> Vec<usize> {
    let mut bad = rejected.iter().map(|rejected| rejected.row).peekable();
    (0..rows).filter(|row| bad.next_if_eq(row).is_none()).collect()
}

/// Only these rows of columns of so many.
pub fn only(columns: &[ArrayRef], of: usize, rows: &[usize]) -> Vec<ArrayRef> {
    let mut keep = vec![false; of];
    rows.iter().for_each(|row| keep[*row] = true);
    let filter = FilterBuilder::new(&BooleanArray::from(keep)).optimize().build();
    let kept = |column: &ArrayRef| match filter.filter(column) {
        Ok(column) => column,
        Err(e) => fail(Failure::Bug(format!("cannot filter a batch: {e}"))),
    };
    columns.iter().map(kept).collect()
}

fn binary(column: BytesColumn) -> BinaryArray {
    let nulls = column.present.iter().any(|p| !p).then(|| {
        let mut bits = BooleanBufferBuilder::new(column.present.len());
        bits.append_slice(&column.present);
        NullBuffer::new(bits.finish())
    });
    let offsets = OffsetBuffer::new(ScalarBuffer::from(column.offsets));
    BinaryArray::new(offsets, Buffer::from_vec(column.data), nulls)
}

/// A column that has one value for all rows, like the name of a topic.
pub fn constant(value: &str, rows: usize) -> ArrayRef {
    let lengths = std::iter::repeat_n(value.len(), rows);
    let data = value.as_bytes().repeat(rows);
    let offsets = OffsetBuffer::from_lengths(lengths);
    match arrow_array::StringArray::try_new(offsets, Buffer::from_vec(data), None) {
        Ok(array) => Arc::new(array),
        Err(e) => fail(Failure::Bug(format!("a constant column: {e}"))),
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;

    use super::*;

    fn origin(records: i64) -> Origin {
        let mut raw = RawBatch::default();
        for record in 0..records {
            raw.partitions.push(0);
            raw.offsets.push(100 + record);
            raw.timestamps_ms.push(record);
            raw.keys.push((record % 2 == 0).then_some(b"k")).unwrap();
            raw.values.push(Some(b"v")).unwrap();
        }
        Origin::new(raw, &[7])
    }

    #[test]
    fn what_is_left_out_is_left_out_of_the_index() {
        let origin = origin(5);
        let all = Index::all(5);
        assert_eq!((all.len(), all.record(3), all.within(3)), (5, 3, 0));
        let some = Index::of([1, 2, 4].into_iter());
        let fewer = some.only(&[0, 2]);
        assert_eq!((fewer.len(), fewer.record(0), fewer.record(1)), (2, 1, 4));
        assert_eq!(Records::of(&origin, &fewer).iter().collect::<Vec<_>>(), [(7, 101), (7, 104)]);
        assert_eq!(Records::of(&origin, &all).iter().collect::<Vec<_>>(), origin.records().collect::<Vec<_>>());
        let keys = fewer.gather(&origin.key);
        assert_eq!(keys.as_binary::<i32>().iter().collect::<Vec<_>>(), [None, Some(&b"k"[..])]);
        assert_eq!(all.gather(&origin.offset).len(), 5);
        assert!(Index::default().is_empty() && Raw::default().is_empty());
    }

    #[test]
    fn several_rows_of_one_record_keep_their_numbers() {
        let origin = origin(2);
        let index = Index { rows: 3, records: Some(vec![0, 0, 1].into()), within: Some(vec![0, 1, 0].into()) };
        let last = index.only(&[1, 2]);
        let records = Records::of(&origin, &last);
        assert_eq!(records.iter().collect::<Vec<_>>(), [(7, 100), (7, 101)]);
        assert_eq!(records.within.as_deref(), Some(&[1, 0][..]));
        assert_eq!((last.within(0), last.within(1)), (1, 0));
    }

    #[test]
    fn others_are_those_that_are_not_named() {
        let bad = |row| Rejected { row, column: None, reason: String::new() };
        assert_eq!(others(5, &[bad(0), bad(3)]), [1, 2, 4]);
        assert_eq!(others(2, &[]), [0, 1]);
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1, 2, 3]))];
        let kept = only(&columns, 3, &[0, 2]);
        assert_eq!(kept[0].as_primitive::<arrow_array::types::Int64Type>().values(), &[1, 3]);
    }
}
