//! Which Arrow type a type of Redshift is.

use arrow_schema::{DataType, TimeUnit};
use connectors::ColumnKind;

/// The Arrow type that becomes exactly the Parquet type which COPY wants for a column.
pub fn arrow_type(column: &ColumnKind) -> Option<DataType> {
    Some(match column {
        ColumnKind::SmallInt => DataType::Int16,
        ColumnKind::Integer => DataType::Int32,
        ColumnKind::BigInt => DataType::Int64,
        ColumnKind::Decimal(precision, scale) => DataType::Decimal128(*precision, *scale as i8),
        ColumnKind::Real => DataType::Float32,
        ColumnKind::Double => DataType::Float64,
        ColumnKind::Boolean => DataType::Boolean,
        ColumnKind::Char(_) | ColumnKind::Varchar(_) => DataType::Utf8,
        ColumnKind::Varbyte(_) => DataType::Binary,
        ColumnKind::Date => DataType::Date32,
        ColumnKind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        ColumnKind::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ColumnKind::Other(_) => return None,
    })
}
