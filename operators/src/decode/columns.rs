//! Checked column builders: a row goes in value by value, and comes out again if it turns out bad.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int16Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

/// A declared type of a source column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 16 bits.
    SmallInt,
    /// 32 bits.
    Integer,
    /// 64 bits.
    BigInt,
    /// 64-bit floating point.
    Double,
    /// True or false.
    Boolean,
    /// UTF-8 text of at most so many bytes.
    Varchar(u32),
    /// A moment, in microseconds.
    TimestampTz,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Kind::SmallInt => f.write_str("smallint"),
            Kind::Integer => f.write_str("integer"),
            Kind::BigInt => f.write_str("bigint"),
            Kind::Double => f.write_str("double precision"),
            Kind::Boolean => f.write_str("boolean"),
            Kind::Varchar(bytes) => write!(f, "varchar({bytes})"),
            Kind::TimestampTz => f.write_str("timestamptz"),
        }
    }
}

/// A declared column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceColumn {
    /// The key in the record, as it is written there.
    pub name: String,
    /// Its type.
    pub kind: Kind,
}

/// Why a record cannot become a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The column, if one is to blame.
    pub column: Option<String>,
    /// Why.
    pub reason: String,
}

impl Error {
    /// Of the record as a whole.
    pub fn new(reason: impl Into<String>) -> Error {
        Error { column: None, reason: reason.into() }
    }
}

/// A value for a column, as a format hands it over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Absent, or said to be null.
    Null,
    /// Text, without the format's escapes.
    Text(&'a str),
    /// A number as it is written. The format has checked that it is one.
    Number(&'a str),
    /// True or false.
    Boolean(bool),
    /// A list or an object, as it is written.
    Nested(&'a str),
}

impl Value<'_> {
    fn name(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Text(_) => "a string",
            Value::Number(_) => "a number",
            Value::Boolean(_) => "a boolean",
            Value::Nested(_) => "an object or array",
        }
    }
}

/// Builders of all declared columns. Between rows all have one length.
pub struct Builders {
    columns: Vec<Builder>,
    rows: usize,
}

impl Builders {
    /// Empty ones.
    pub fn new(columns: &[SourceColumn]) -> Builders {
        Builders { columns: columns.iter().map(|c| Builder::new(c.kind)).collect(), rows: 0 }
    }

    /// Sets a column of the row under way. Set twice, the later value counts.
    #[inline]
    pub fn set(&mut self, column: usize, value: Value<'_>) -> Result<(), String> {
        let builder = &mut self.columns[column];
        builder.truncate(self.rows);
        builder.push(value)
    }

    /// Ends the row; columns that were not set are NULL.
    #[inline]
    pub fn end_row(&mut self) {
        self.rows += 1;
        for builder in &mut self.columns {
            if builder.valid.len < self.rows {
                builder.push_null();
            }
        }
    }

    /// Takes back what was set of the row under way.
    pub fn roll_back(&mut self) {
        for builder in &mut self.columns {
            builder.truncate(self.rows);
        }
    }

    /// The columns of all rows; the builders begin anew.
    pub fn finish(&mut self) -> Vec<ArrayRef> {
        self.rows = 0;
        self.columns.iter_mut().map(Builder::finish).collect()
    }
}

/// Which rows are not NULL. No bitmap until there is a NULL.
#[derive(Default)]
struct Valid {
    len: usize,
    bits: Option<BooleanBufferBuilder>,
}

impl Valid {
    #[inline]
    fn push(&mut self, valid: bool) {
        match &mut self.bits {
            Some(bits) => bits.append(valid),
            None if valid => {}
            None => {
                let mut bits = BooleanBufferBuilder::new(self.len + 1);
                bits.append_n(self.len, true);
                bits.append(false);
                self.bits = Some(bits);
            }
        }
        self.len += 1;
    }

    fn truncate(&mut self, len: usize) {
        if let Some(bits) = &mut self.bits {
            bits.truncate(len);
        }
        self.len = len;
    }

    fn finish(&mut self) -> Option<NullBuffer> {
        self.len = 0;
        self.bits.take().map(|mut bits| NullBuffer::new(bits.finish()))
    }
}

enum Values {
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Double(Vec<f64>),
    Boolean(Vec<bool>),
    Text { most: usize, data: Vec<u8>, ends: Vec<i32> },
    Micros(Vec<i64>),
}

struct Builder {
    values: Values,
    valid: Valid,
}

impl Builder {
    fn new(kind: Kind) -> Builder {
        let values = match kind {
            Kind::SmallInt => Values::Int16(Vec::new()),
            Kind::Integer => Values::Int32(Vec::new()),
            Kind::BigInt => Values::Int64(Vec::new()),
            Kind::Double => Values::Double(Vec::new()),
            Kind::Boolean => Values::Boolean(Vec::new()),
            Kind::Varchar(bytes) => Values::Text { most: bytes as usize, data: Vec::new(), ends: vec![0] },
            Kind::TimestampTz => Values::Micros(Vec::new()),
        };
        Builder { values, valid: Valid::default() }
    }

    #[inline]
    fn push(&mut self, value: Value<'_>) -> Result<(), String> {
        if value == Value::Null {
            self.push_null();
            return Ok(());
        }
        let refused = |kind: &str| Err(format!("{} where {kind} is declared", value.name()));
        match (&mut self.values, value) {
            (Values::Int16(values), Value::Number(text)) => values.push(integer(text, "smallint")?),
            (Values::Int32(values), Value::Number(text)) => values.push(integer(text, "integer")?),
            (Values::Int64(values), Value::Number(text)) => values.push(integer(text, "bigint")?),
            (Values::Int16(_) | Values::Int32(_) | Values::Int64(_), _) => return refused("an integer"),
            (Values::Double(values), Value::Number(text)) => values.push(double(text)?),
            (Values::Double(_), _) => return refused("double precision"),
            (Values::Boolean(values), Value::Boolean(value)) => values.push(value),
            (Values::Boolean(_), _) => return refused("boolean"),
            (Values::Text { most, data, ends }, Value::Text(text) | Value::Number(text) | Value::Nested(text)) => {
                put_text(text, *most, data, ends)?;
            }
            (Values::Text { most, data, ends }, Value::Boolean(value)) => {
                put_text(if value { "true" } else { "false" }, *most, data, ends)?;
            }
            (Values::Text { .. }, Value::Null) => {}
            (Values::Micros(values), Value::Text(text)) => values.push(super::timestamp::parse(text)?),
            (Values::Micros(_), _) => return refused("timestamptz"),
        }
        self.valid.push(true);
        Ok(())
    }

    #[inline]
    fn push_null(&mut self) {
        match &mut self.values {
            Values::Int16(values) => values.push(0),
            Values::Int32(values) => values.push(0),
            Values::Int64(values) | Values::Micros(values) => values.push(0),
            Values::Double(values) => values.push(0.0),
            Values::Boolean(values) => values.push(false),
            Values::Text { data, ends, .. } => ends.push(data.len() as i32),
        }
        self.valid.push(false);
    }

    #[inline]
    fn truncate(&mut self, rows: usize) {
        if self.valid.len <= rows {
            return;
        }
        self.valid.truncate(rows);
        match &mut self.values {
            Values::Int16(values) => values.truncate(rows),
            Values::Int32(values) => values.truncate(rows),
            Values::Int64(values) | Values::Micros(values) => values.truncate(rows),
            Values::Double(values) => values.truncate(rows),
            Values::Boolean(values) => values.truncate(rows),
            Values::Text { data, ends, .. } => {
                ends.truncate(rows + 1);
                data.truncate(ends[rows] as usize);
            }
        }
    }

    fn finish(&mut self) -> ArrayRef {
        let nulls = self.valid.finish();
        // A buffer goes out whole, and a new one of the same size takes its place.
        fn take<T>(values: &mut Vec<T>) -> Vec<T> {
            let size = values.len();
            std::mem::replace(values, Vec::with_capacity(size))
        }
        match &mut self.values {
            Values::Int16(values) => Arc::new(Int16Array::new(take(values).into(), nulls)),
            Values::Int32(values) => Arc::new(Int32Array::new(take(values).into(), nulls)),
            Values::Int64(values) => Arc::new(Int64Array::new(take(values).into(), nulls)),
            Values::Micros(values) => {
                Arc::new(TimestampMicrosecondArray::new(take(values).into(), nulls).with_timezone("UTC"))
            }
            Values::Double(values) => Arc::new(Float64Array::new(take(values).into(), nulls)),
            Values::Boolean(values) => Arc::new(BooleanArray::new(take(values).into(), nulls)),
            Values::Text { data, ends, .. } => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(take(ends)));
                ends.push(0);
                Arc::new(StringArray::new(offsets, Buffer::from_vec(take(data)), nulls))
            }
        }
    }
}

#[inline]
fn put_text(text: &str, most: usize, data: &mut Vec<u8>, ends: &mut Vec<i32>) -> Result<(), String> {
    if text.len() > most {
        return Err(format!("{} bytes of text where varchar({most}) is declared", text.len()));
    }
    // Redshift takes no such character into text.
    if text.as_bytes().contains(&0) {
        return Err("text with a NUL character".into());
    }
    let end = i32::try_from(data.len() + text.len()).map_err(|_| "more than 2 GiB of text in one batch".to_string())?;
    data.extend_from_slice(text.as_bytes());
    ends.push(end);
    Ok(())
}

/// From the text, so that no digit is lost on the way through a floating-point number.
#[inline]
fn integer<T: std::str::FromStr>(text: &str, kind: &str) -> Result<T, String> {
    text.parse().map_err(|_| {
        if text.bytes().any(|b| matches!(b, b'.' | b'e' | b'E')) {
            format!("{text} is not written as an integer")
        } else {
            format!("{text} does not fit into {kind}")
        }
    })
}

#[inline]
fn double(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(format!("{text} does not fit into double precision")),
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Array, cast::AsArray, types::*};

    use super::*;

    fn all_kinds() -> Vec<SourceColumn> {
        [Kind::SmallInt, Kind::Integer, Kind::BigInt, Kind::Double, Kind::Boolean, Kind::Varchar(4), Kind::TimestampTz]
            .into_iter()
            .enumerate()
            .map(|(i, kind)| SourceColumn { name: format!("c{i}"), kind })
            .collect()
    }

    #[test]
    fn a_bad_row_leaves_nothing_behind() {
        let columns = all_kinds();
        let mut builders = Builders::new(&columns);
        let good = [
            Value::Number("-32768"),
            Value::Number("2147483647"),
            Value::Number("9007199254740993"),
            Value::Number("1e-3"),
            Value::Boolean(true),
            Value::Text("äö"),
            Value::Text("2026-11-24T10:54:54Z"),
        ];
        for bad in 0..=columns.len() {
            // Values up to `bad`, then a value that fits into no column: the row goes.
            for (column, value) in good.iter().enumerate().take(bad) {
                builders.set(column, *value).unwrap();
            }
            if bad < columns.len() {
                assert!(builders.set(bad, Value::Text("longer than any")).is_err());
                builders.roll_back();
                continue;
            }
            builders.end_row();
        }
        builders.end_row(); // all NULL
        let arrays = builders.finish();
        assert!(arrays.iter().all(|a| a.len() == 2 && a.is_valid(0) && a.is_null(1)));
        assert_eq!(arrays[0].as_primitive::<Int16Type>().value(0), -32768);
        assert_eq!(arrays[2].as_primitive::<Int64Type>().value(0), 9_007_199_254_740_993);
        assert_eq!(arrays[5].as_string::<i32>().value(0), "äö");
        assert!(builders.finish().iter().all(|a| a.is_empty()));
    }

    #[test]
    fn the_later_of_two_values_counts() {
        let columns = all_kinds();
        let mut builders = Builders::new(&columns);
        for value in ["1", "2"] {
            builders.set(0, Value::Number(value)).unwrap();
            builders.set(5, Value::Text(value)).unwrap();
        }
        builders.set(1, Value::Null).unwrap();
        builders.set(1, Value::Number("3")).unwrap();
        builders.end_row();
        let arrays = builders.finish();
        assert_eq!(arrays[0].as_primitive::<Int16Type>().value(0), 2);
        assert_eq!(arrays[1].as_primitive::<Int32Type>().value(0), 3);
        assert_eq!(arrays[5].as_string::<i32>().value(0), "2");
    }

    #[test]
    fn what_does_not_fit_says_why() {
        let columns = all_kinds();
        let mut builders = Builders::new(&columns);
        for (column, value, reason) in [
            (0, Value::Number("32768"), "32768 does not fit into smallint"),
            (2, Value::Number("9223372036854775808"), "9223372036854775808 does not fit into bigint"),
            (1, Value::Number("1.0"), "1.0 is not written as an integer"),
            (1, Value::Text("1"), "a string where an integer is declared"),
            (3, Value::Number("1e999"), "1e999 does not fit into double precision"),
            (4, Value::Number("1"), "a number where boolean is declared"),
            (5, Value::Text("äöü"), "6 bytes of text where varchar(4) is declared"),
            (5, Value::Text("a\0b"), "text with a NUL character"),
            (6, Value::Number("1"), "a number where timestamptz is declared"),
        ] {
            assert_eq!(builders.set(column, value), Err(reason.to_string()));
            builders.roll_back();
        }
        assert!(builders.finish().iter().all(|a| a.is_empty()));
    }
}
