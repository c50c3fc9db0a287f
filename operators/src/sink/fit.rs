//! Every value against the target's column.
//!
//! * Input: rows with the columns of the query. Output: rows whose columns have exactly the types that COPY wants for the
//!   target's columns, without their origin.
//! * Time: each batch at its own. It holds nothing and keeps no state.
//! * Failure: a value that does not fit ends the process with its record's topic, partition and offset. Redshift's Parquet
//!   COPY is all or nothing, so a value that does not fit there would fail the whole load.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray,
    cast::AsArray,
    types::{Int16Type, Int32Type, Int64Type},
};
use arrow_schema::DataType;
use connectors::{ColumnKind, TargetColumn};
use timely::{
    container::NoopBuilder,
    dataflow::{Stream, channels::pact::Pipeline, operators::generic::operator::Operator},
};

use super::Target;
use crate::{
    Rows, Time,
    decode::{Bad, columns::Kind},
    failure::{Failure, fail},
    fetch::Place,
};

/// Whether values of a type can be checked against a column at all; decided once, when the job starts.
pub fn can_fit(kind: Kind, column: &ColumnKind) -> bool {
    let integer = |kind: &ColumnKind| matches!(kind, ColumnKind::SmallInt | ColumnKind::Integer | ColumnKind::BigInt);
    match kind {
        Kind::SmallInt | Kind::Integer | Kind::BigInt => integer(column),
        Kind::Double => *column == ColumnKind::Double,
        Kind::Boolean => *column == ColumnKind::Boolean,
        Kind::Varchar(_) => matches!(column, ColumnKind::Varchar(_)),
        Kind::TimestampTz => *column == ColumnKind::TimestampTz,
    }
}

/// The Arrow type that becomes exactly the Parquet type which COPY wants for a column.
pub fn arrow_type(column: &ColumnKind) -> Option<DataType> {
    Some(match column {
        ColumnKind::SmallInt => DataType::Int16,
        ColumnKind::Integer => DataType::Int32,
        ColumnKind::BigInt => DataType::Int64,
        ColumnKind::Double => DataType::Float64,
        ColumnKind::Boolean => DataType::Boolean,
        ColumnKind::Varchar(_) => DataType::Utf8,
        ColumnKind::TimestampTz => DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, Some("UTC".into())),
        ColumnKind::Other(_) => return None,
    })
}

/// Builds fit for one target.
pub fn fit<'s>(rows: Stream<'s, Time, Rows>, target: Arc<Target>, places: Arc<[Place]>) -> Stream<'s, Time, Rows> {
    rows.unary::<NoopBuilder<Rows>, _, _, _>(Pipeline, "Fit", move |_, _| {
        move |input, output| {
            input.for_each(|capability, rows: &mut Rows| {
                let mut rows = std::mem::take(rows);
                match fit_batch(&rows, &target.columns) {
                    Ok(columns) => (rows.columns, rows.origin) = (columns, None),
                    Err(bad) => fail(bad.into_failure(&places)),
                }
                output.session_with_builder(&capability).give_container(&mut rows);
            });
        }
    })
}

fn fit_batch(rows: &Rows, columns: &[TargetColumn]) -> Result<Vec<ArrayRef>, Bad> {
    let fitted = rows.columns.iter().zip(columns).map(|(array, column)| {
        fit_column(array, column).map_err(|(row, reason)| {
            let (place, offset) = rows.origin.as_ref().map_or((-1, -1), |o| (o.place.value(row), o.offset.value(row)));
            Bad { place, offset, stage: "fit", column: Some(column.name.clone()), reason }
        })
    });
    fitted.collect()
}

/// The column with the target's type, or the first row that does not fit and why.
fn fit_column(array: &ArrayRef, column: &TargetColumn) -> Result<ArrayRef, (usize, String)> {
    if column.not_null && array.null_count() > 0 {
        let row = (0..array.len()).find(|row| array.is_null(*row)).unwrap_or(0);
        return Err((row, "NULL where the target's column is NOT NULL".into()));
    }
    match (array.data_type(), &column.kind) {
        (DataType::Int16, ColumnKind::SmallInt)
        | (DataType::Int32, ColumnKind::Integer)
        | (DataType::Int64, ColumnKind::BigInt) => Ok(array.clone()),
        (DataType::Int16, ColumnKind::Integer) => cast::<Int16Type, Int32Type>(array, column),
        (DataType::Int16, ColumnKind::BigInt) => cast::<Int16Type, Int64Type>(array, column),
        (DataType::Int32, ColumnKind::SmallInt) => cast::<Int32Type, Int16Type>(array, column),
        (DataType::Int32, ColumnKind::BigInt) => cast::<Int32Type, Int64Type>(array, column),
        (DataType::Int64, ColumnKind::SmallInt) => cast::<Int64Type, Int16Type>(array, column),
        (DataType::Int64, ColumnKind::Integer) => cast::<Int64Type, Int32Type>(array, column),
        (DataType::Float64, ColumnKind::Double)
        | (DataType::Boolean, ColumnKind::Boolean)
        | (DataType::Timestamp(..), ColumnKind::TimestampTz) => Ok(array.clone()),
        (DataType::Utf8, ColumnKind::Varchar(most)) => {
            let texts = array.as_string::<i32>();
            match texts.offsets().lengths().position(|length| length > *most as usize) {
                None => Ok(array.clone()),
                Some(row) => Err((
                    row,
                    format!("{} bytes of text where the target's column takes {most}", texts.value(row).len()),
                )),
            }
        }
        (found, wanted) => fail(Failure::Bug(format!("column {}: {found} for {wanted}", column.name))),
    }
}

/// Another width, with a check of each value where it is narrower.
fn cast<From, To>(array: &ArrayRef, column: &TargetColumn) -> Result<ArrayRef, (usize, String)>
where
    From: ArrowPrimitiveType,
    To: ArrowPrimitiveType,
    To::Native: TryFrom<From::Native>,
{
    let from = array.as_primitive::<From>();
    let mut bad = None;
    let values = from.values().iter().enumerate().map(|(row, value)| {
        To::Native::try_from(*value).unwrap_or_else(|_| {
            if from.is_valid(row) {
                bad.get_or_insert((row, format!("{value:?} does not fit into {}", column.kind)));
            }
            To::default_value()
        })
    });
    let values = PrimitiveArray::<To>::new(values.collect(), from.nulls().cloned());
    bad.map_or(Ok(Arc::new(values) as ArrayRef), Err)
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int32Array, Int64Array, StringArray};

    use super::*;

    fn column(kind: ColumnKind, not_null: bool) -> TargetColumn {
        TargetColumn { name: "c".into(), kind, not_null, has_default: false }
    }

    #[test]
    fn every_pair_that_is_promised_is_kept() {
        let arrays: [(Kind, ArrayRef); 7] = [
            (Kind::SmallInt, Arc::new(arrow_array::Int16Array::from(vec![Some(1), None]))),
            (Kind::Integer, Arc::new(Int32Array::from(vec![Some(1), None]))),
            (Kind::BigInt, Arc::new(Int64Array::from(vec![Some(1), None]))),
            (Kind::Double, Arc::new(arrow_array::Float64Array::from(vec![Some(1.0), None]))),
            (Kind::Boolean, Arc::new(arrow_array::BooleanArray::from(vec![Some(true), None]))),
            (Kind::Varchar(9), Arc::new(StringArray::from(vec![Some("1"), None]))),
            (
                Kind::TimestampTz,
                Arc::new(arrow_array::TimestampMicrosecondArray::from(vec![Some(1), None]).with_timezone("UTC")),
            ),
        ];
        let kinds = [
            ColumnKind::SmallInt,
            ColumnKind::Integer,
            ColumnKind::BigInt,
            ColumnKind::Double,
            ColumnKind::Boolean,
            ColumnKind::Varchar(1),
            ColumnKind::TimestampTz,
        ];
        let mut pairs = 0;
        for (kind, array) in &arrays {
            for column_kind in kinds.iter().filter(|c| can_fit(*kind, c)) {
                let fitted = fit_column(array, &column(column_kind.clone(), false)).unwrap();
                assert_eq!(Some(fitted.data_type().clone()), arrow_type(column_kind));
                assert_eq!((fitted.len(), fitted.null_count()), (2, 1));
                pairs += 1;
            }
        }
        assert_eq!(pairs, 13);
    }

    #[test]
    fn what_does_not_fit_is_found_at_its_row() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(32_767), None, Some(32_768)]));
        assert_eq!(
            fit_column(&numbers, &column(ColumnKind::SmallInt, false)),
            Err((2, "32768 does not fit into smallint".into()))
        );
        assert!(fit_column(&numbers, &column(ColumnKind::Integer, false)).is_ok());
        assert_eq!(fit_column(&numbers, &column(ColumnKind::BigInt, true)).unwrap_err().0, 1);
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["abcd", "äöü"]));
        assert_eq!(fit_column(&texts, &column(ColumnKind::Varchar(4), false)).unwrap_err().0, 1);
        assert!(fit_column(&texts, &column(ColumnKind::Varchar(6), false)).is_ok());
    }
}
