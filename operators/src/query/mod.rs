//! The SELECT of a target.
//!
//! * Input: decoded rows of one stream. Output: rows whose columns are those of the SELECT list, in its order; and the dead
//!   letters of those on which the SELECT fails.
//! * Time: each batch at its own. It holds nothing and keeps no state.
//! * Failure: none that a record could cause, unless the job says to halt at them; what a SELECT may say is decided once,
//!   in [`select`].

pub mod select;

use std::{collections::BTreeMap, sync::Arc};

use arrow_array::{Array, ArrayRef, BinaryArray, StringArray, TimestampMicrosecondArray, builder::StringBuilder};
use checkpoint::Micros;
use timely::dataflow::Stream;

use crate::{
    Rows, Time,
    dead_letters::{Rejected, Rejects, split},
    failure::{Failure, fail},
    fetch::Place,
    rows::{Origin, constant},
};

/// What one column of a SELECT list is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expression {
    /// A declared column of the stream, by number.
    Column(usize),
    /// Where the record came from.
    Source(SourceValue),
}

/// A value that every record has without declaring it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceValue {
    /// `_topic`
    Topic,
    /// `_partition`
    Partition,
    /// `_offset`
    Offset,
    /// `_timestamp`
    Timestamp,
    /// `_key`
    Key,
    /// `_headers`
    Headers,
}

/// Builds query for the target of this name. Rows, and dead letters.
pub fn query<'s>(
    decoded: Stream<'s, Time, Rows>,
    target: String,
    list: Arc<[Expression]>,
    places: Arc<[Place]>,
    rejects: Rejects,
) -> (Stream<'s, Time, Rows>, Stream<'s, Time, Rows>) {
    split("Query", decoded, move |epoch, mut rows| {
        let (columns, rejected) = evaluate(&rows, &list, &places);
        rows.columns = columns;
        let letters = rejects.set_aside(epoch, "query", &target, &mut rows, &rejected);
        rows.counts.dead_letters += rejected.len() as u64;
        rows.counts.row_count -= rejected.len() as u64;
        (rows, letters)
    })
}

/// The columns of all rows, and those that are to be taken out again.
fn evaluate(rows: &Rows, list: &[Expression], places: &[Place]) -> (Vec<ArrayRef>, Vec<Rejected>) {
    let Some(origin) = &rows.origin else { fail(Failure::Bug("query without the origin of its rows".into())) };
    let mut rejected = BTreeMap::new();
    let columns = list
        .iter()
        .map(|expression| match expression {
            Expression::Column(number) => rows.columns[*number].clone(),
            Expression::Source(value) => source_value(*value, origin, places, &mut rejected),
        })
        .collect();
    (columns, rejected.into_values().collect())
}

type RejectedRows = BTreeMap<usize, Rejected>;

fn source_value(value: SourceValue, origin: &Origin, places: &[Place], rejected: &mut RejectedRows) -> ArrayRef {
    match value {
        // A batch has one topic.
        SourceValue::Topic => {
            let place = origin.place.values().first().and_then(|p| places.get(*p as usize));
            constant(place.map_or("", |p| &p.partition.topic), origin.offset.len())
        }
        SourceValue::Partition => {
            let number = |place: i32| places.get(place as usize).map_or(-1, |p| p.partition.partition);
            Arc::new(origin.place.unary::<_, arrow_array::types::Int32Type>(number))
        }
        SourceValue::Offset => Arc::new(origin.offset.clone()),
        SourceValue::Timestamp => {
            let micros = origin.timestamp_ms.values().iter().map(|ms| Micros::from_millis(*ms).map(|at| at.0));
            Arc::new(TimestampMicrosecondArray::from_iter(micros).with_timezone("UTC"))
        }
        SourceValue::Key => Arc::new(text(&origin.key, "_key", rejected)),
        SourceValue::Headers => match &origin.headers {
            Some(headers) => Arc::new(text(headers, "_headers", rejected)),
            None => constant("[]", origin.offset.len()),
        },
    }
}

/// Bytes that must be UTF-8.
fn text(bytes: &BinaryArray, column: &str, rejected: &mut RejectedRows) -> StringArray {
    let (offsets, values, nulls) = bytes.clone().into_parts();
    if let Ok(texts) = StringArray::try_new(offsets, values, nulls) {
        return texts;
    }
    let mut texts = StringBuilder::with_capacity(bytes.len(), bytes.values().len());
    for (row, value) in bytes.iter().enumerate() {
        let text = value.map(std::str::from_utf8);
        if let Some(Err(error)) = &text {
            let reason = format!("not UTF-8: at byte {}", error.valid_up_to());
            rejected.entry(row).or_insert(Rejected { row, column: Some(column.into()), reason });
        }
        texts.append_option(text.and_then(Result::ok));
    }
    texts.finish()
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int64Array, cast::AsArray, types::*};
    use checkpoint::TopicPartition;
    use connectors::RawBatch;

    use super::*;

    #[test]
    fn columns_and_where_they_came_from() {
        let place = |partition| Place {
            partition: TopicPartition::new("t", partition),
            topic_id: String::new(),
            stream: 0,
            start: 0,
            until: None,
        };
        let places = [place(3), place(4)];
        let mut raw = RawBatch {
            partitions: vec![0, 1, 1],
            offsets: vec![10, 20, 21],
            timestamps_ms: vec![5, -1, i64::MAX],
            ..RawBatch::default()
        };
        for key in [Some(&b"k"[..]), None, Some(b"\xff")] {
            raw.keys.push(key).unwrap();
            raw.values.push(Some(b"{}")).unwrap();
            raw.headers.push(Some(b"[1]")).unwrap();
        }
        let rows = Rows {
            columns: vec![Arc::new(Int64Array::from(vec![1, 2, 3]))],
            origin: Some(Origin::new(raw, &[0, 1])),
            ..Rows::default()
        };
        let all = [
            SourceValue::Topic,
            SourceValue::Partition,
            SourceValue::Offset,
            SourceValue::Timestamp,
            SourceValue::Key,
            SourceValue::Headers,
        ];
        let mut list: Vec<Expression> = all.map(Expression::Source).into();
        list.push(Expression::Column(0));
        let (columns, rejected) = evaluate(&rows, &list, &places);
        assert_eq!(rejected.iter().map(|r| (r.row, r.column.as_deref())).collect::<Vec<_>>(), [(2, Some("_key"))]);
        assert_eq!(columns[0].as_string::<i32>().iter().collect::<Vec<_>>(), [Some("t"); 3]);
        assert_eq!(columns[1].as_primitive::<Int32Type>().values(), &[3, 4, 4]);
        assert_eq!(columns[2].as_primitive::<Int64Type>().values(), &[10, 20, 21]);
        assert_eq!(
            columns[3].as_primitive::<TimestampMicrosecondType>().iter().collect::<Vec<_>>(),
            [Some(5000), None, None]
        );
        assert_eq!(columns[4].as_string::<i32>().iter().collect::<Vec<_>>(), [Some("k"), None, None]);
        assert_eq!(columns[5].as_string::<i32>().iter().collect::<Vec<_>>(), [Some("[1]"); 3]);
        assert_eq!(columns[6].as_primitive::<Int64Type>().values(), &[1, 2, 3]);
    }
}
