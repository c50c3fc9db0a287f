//! The SELECT of a target.
//!
//! * Input: decoded rows of one stream. Output: rows whose columns are those of the SELECT list, in its order.
//! * Time: each batch at its own. It holds nothing and keeps no state.
//! * Failure: none; what a SELECT may say is decided once, in [`select`].

pub mod select;

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BinaryArray, StringArray, TimestampMicrosecondArray};
use timely::{
    container::NoopBuilder,
    dataflow::{Stream, channels::pact::Pipeline, operators::generic::operator::Operator},
};

use crate::{
    Rows, Time,
    decode::Bad,
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

/// Builds query.
pub fn query<'s>(
    decoded: Stream<'s, Time, Rows>,
    list: Arc<[Expression]>,
    places: Arc<[Place]>,
) -> Stream<'s, Time, Rows> {
    decoded.unary::<NoopBuilder<Rows>, _, _, _>(Pipeline, "Query", move |_, _| {
        move |input, output| {
            input.for_each(|capability, rows: &mut Rows| {
                let mut rows = std::mem::take(rows);
                match evaluate(&rows, &list, &places) {
                    Ok(columns) => rows.columns = columns,
                    Err(bad) => fail(bad.into_failure(&places)),
                }
                output.session_with_builder(&capability).give_container(&mut rows);
            });
        }
    })
}

fn evaluate(rows: &Rows, list: &[Expression], places: &[Place]) -> Result<Vec<ArrayRef>, Bad> {
    let Some(origin) = &rows.origin else { fail(Failure::Bug("query without the origin of its rows".into())) };
    list.iter()
        .map(|expression| match expression {
            Expression::Column(number) => Ok(rows.columns[*number].clone()),
            Expression::Source(value) => source_value(*value, origin, places),
        })
        .collect()
}

fn source_value(value: SourceValue, origin: &Origin, places: &[Place]) -> Result<ArrayRef, Bad> {
    Ok(match value {
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
            let micros = origin.timestamp_ms.iter().map(|ms| ms.filter(|ms| *ms >= 0).map(|ms| ms * 1000));
            Arc::new(TimestampMicrosecondArray::from_iter(micros).with_timezone("UTC"))
        }
        SourceValue::Key => Arc::new(text(&origin.key, origin, "_key")?),
        SourceValue::Headers => match &origin.headers {
            Some(headers) => Arc::new(text(headers, origin, "_headers")?),
            None => constant("[]", origin.offset.len()),
        },
    })
}

/// Bytes that must be UTF-8.
fn text(bytes: &BinaryArray, origin: &Origin, column: &str) -> Result<StringArray, Bad> {
    let (offsets, values, nulls) = bytes.clone().into_parts();
    StringArray::try_new(offsets, values, nulls).map_err(|_| {
        let bad = (0..bytes.len()).find(|row| std::str::from_utf8(bytes.value(*row)).is_err()).unwrap_or(0);
        Bad {
            place: origin.place.value(bad),
            offset: origin.offset.value(bad),
            stage: "query",
            column: Some(column.into()),
            reason: "not UTF-8".into(),
        }
    })
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
            partitions: vec![0, 1],
            offsets: vec![10, 20],
            timestamps_ms: vec![5, -1],
            ..RawBatch::default()
        };
        for key in [Some(&b"k"[..]), None] {
            raw.keys.push(key).unwrap();
            raw.values.push(Some(b"{}")).unwrap();
            raw.headers.push(Some(b"[1]")).unwrap();
        }
        let rows = Rows {
            columns: vec![Arc::new(Int64Array::from(vec![1, 2]))],
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
        let columns = evaluate(&rows, &list, &places).unwrap();
        assert_eq!(columns[0].as_string::<i32>().iter().collect::<Vec<_>>(), [Some("t"), Some("t")]);
        assert_eq!(columns[1].as_primitive::<Int32Type>().values(), &[3, 4]);
        assert_eq!(columns[2].as_primitive::<Int64Type>().values(), &[10, 20]);
        assert_eq!(
            columns[3].as_primitive::<TimestampMicrosecondType>().iter().collect::<Vec<_>>(),
            [Some(5000), None]
        );
        assert_eq!(columns[4].as_string::<i32>().iter().collect::<Vec<_>>(), [Some("k"), None]);
        assert_eq!(columns[5].as_string::<i32>().iter().collect::<Vec<_>>(), [Some("[1]"), Some("[1]")]);
        assert_eq!(columns[6].as_primitive::<Int64Type>().values(), &[1, 2]);
    }
}
