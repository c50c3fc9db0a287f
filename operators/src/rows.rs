//! What travels on an edge: a batch of rows as Arrow arrays, with the place each came from.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BinaryArray, BooleanArray, Int32Array, Int64Array, cast::AsArray};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_select::filter::FilterBuilder;
use checkpoint::Tally;
use connectors::{BytesColumn, RawBatch};
use timely::Accountable;

use crate::{
    failure::{Failure, fail},
    held::Lease,
};

/// A batch. Out of fetch it has no columns yet, only its origin; decode adds the declared columns, query chooses among
/// them, fit gives them the target's types and drops the bytes of the origin.
#[derive(Clone, Default)]
pub struct Rows {
    /// All of one length. Which column is which the plan knows.
    pub columns: Vec<ArrayRef>,
    /// Where each row came from; as long as the columns.
    pub origin: Option<Origin>,
    /// What it and all that is made of it counts for in the worker's budget, until the last of that is dropped.
    pub lease: Option<Arc<Lease>>,
}

/// Where rows came from, and the bytes they were.
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

/// The engine counts rows, and nothing else: parts of a batch must add up to it. One without rows is not sent.
impl Accountable for Rows {
    fn record_count(&self) -> i64 {
        self.len() as i64
    }
}

impl Rows {
    /// Rows as they are now.
    pub fn len(&self) -> usize {
        match (&self.origin, self.columns.first()) {
            (Some(origin), _) => origin.offset.len(),
            (None, Some(column)) => column.len(),
            (None, None) => 0,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All rows but these.
    pub fn leave_out(&mut self, rejected: &[Rejected]) {
        if rejected.is_empty() {
            return;
        }
        let mut keep = vec![true; self.len()];
        rejected.iter().for_each(|r| keep[r.row] = false);
        self.keep(&BooleanArray::from(keep));
    }

    /// Only the rows for which `keep` is true, in columns and origin.
    pub fn keep(&mut self, keep: &BooleanArray) {
        let filter = FilterBuilder::new(keep).optimize().build();
        let kept = |array: &dyn Array| match filter.filter(array) {
            Ok(array) => array,
            Err(e) => fail(Failure::Bug(format!("cannot filter a batch: {e}"))),
        };
        self.columns = self.columns.iter().map(|column| kept(column)).collect();
        self.origin = self.origin.take().map(|origin| Origin {
            place: kept(&origin.place).as_primitive().clone(),
            offset: kept(&origin.offset).as_primitive().clone(),
            timestamp_ms: kept(&origin.timestamp_ms).as_primitive().clone(),
            key: kept(&origin.key).as_binary().clone(),
            value: kept(&origin.value).as_binary().clone(),
            headers: origin.headers.as_ref().map(|headers| kept(headers).as_binary().clone()),
        });
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

    /// Where each row came from, without the bytes that it was: their buffers are held no longer.
    pub fn without_bytes(&self) -> Origin {
        let none = BinaryArray::new_null(self.offset.len());
        Origin {
            place: self.place.clone(),
            offset: self.offset.clone(),
            timestamp_ms: self.timestamp_ms.clone(),
            key: none.clone(),
            value: none,
            headers: None,
        }
    }

    /// Where these rows came from, without their bytes.
    pub fn only(&self, rows: impl Iterator<Item = usize> + Clone) -> Origin {
        let place: Vec<i32> = rows.clone().map(|row| self.place.value(row)).collect();
        let offset: Vec<i64> = rows.clone().map(|row| self.offset.value(row)).collect();
        let timestamp_ms: Vec<i64> = rows.map(|row| self.timestamp_ms.value(row)).collect();
        let none = BinaryArray::new_null(place.len());
        Origin {
            place: place.into(),
            offset: offset.into(),
            timestamp_ms: timestamp_ms.into(),
            key: none.clone(),
            value: none,
            headers: None,
        }
    }

    /// The record of each row: the place of its partition, and its offset.
    pub fn records(&self) -> impl Iterator<Item = (i32, i64)> + '_ {
        self.place.values().iter().copied().zip(self.offset.values().iter().copied())
    }

    /// Which records these rows are.
    pub fn tally_of(&self, rows: impl IntoIterator<Item = usize>) -> Tally {
        Tally::of(rows.into_iter().map(|row| (self.place.value(row), self.offset.value(row))))
    }
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
