//! Types that functions ask for.

use arrow_schema::{DataType, IntervalUnit};
use connectors::ColumnKind;

use crate::values::arrow::arrow_type;

/// The longest text in Redshift, in bytes.
pub const TEXT_BYTES_MAX: u32 = 65_535;

/// The type of text whose length nothing limits further.
pub const TEXT: ColumnKind = ColumnKind::Varchar(TEXT_BYTES_MAX);

/// The type of an interval, which expressions have and columns do not.
pub fn interval() -> ColumnKind {
    ColumnKind::Other("interval".into())
}

/// How values of an expression are held.
pub fn held_as(kind: &ColumnKind) -> Option<DataType> {
    match *kind == interval() {
        true => Some(DataType::Interval(IntervalUnit::MonthDayNano)),
        false => arrow_type(kind),
    }
}

/// Whether it is a number.
pub fn is_number(kind: &ColumnKind) -> bool {
    use ColumnKind::*;
    matches!(kind, SmallInt | Integer | BigInt | Decimal(..) | Real | Double)
}

/// Precision and scale of a whole or decimal number.
pub fn as_decimal(kind: &ColumnKind) -> Option<(u8, u8)> {
    match kind {
        ColumnKind::SmallInt => Some((5, 0)),
        ColumnKind::Integer => Some((10, 0)),
        ColumnKind::BigInt => Some((19, 0)),
        ColumnKind::Decimal(precision, scale) => Some((*precision, *scale)),
        _ => None,
    }
}
