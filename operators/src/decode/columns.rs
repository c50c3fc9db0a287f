//! Checked column builders: a row goes in value by value, and comes out again if it turns out bad.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array,
    Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use base64::{Engine, prelude::BASE64_STANDARD};
use connectors::ColumnKind;

use crate::{
    failure::{Failure, fail},
    schema::SourceColumn,
    values::{Action, Policy, Problem, fit_text, lenient, number, reading::Reading, timestamp},
};

/// Why a record cannot become a row. Begins with words that do not depend on the record, then a colon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// The column, if one is to blame.
    pub column: Option<usize>,
    /// Why it cannot become a row.
    pub reason: String,
}

impl From<String> for BadRecord {
    fn from(reason: String) -> BadRecord {
        BadRecord { column: None, reason }
    }
}

impl BadRecord {
    /// A refusal of the record as a whole.
    pub fn new(reason: impl Into<String>) -> BadRecord {
        BadRecord { column: None, reason: reason.into() }
    }
}

/// A value for a column, as a format hands it over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Absent, or said to be null.
    Null,
    /// Text, without the format's escapes.
    Text(&'a str),
    /// Bytes that are not text.
    Bytes(&'a [u8]),
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
            Value::Bytes(_) => "bytes",
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
    /// Columns of the row under way whose value was changed by policy.
    touched: Vec<usize>,
    changed: Vec<u64>,
    spare: String,
}

impl Builders {
    /// Empty ones.
    pub fn new(columns: &[SourceColumn]) -> Builders {
        Builders {
            columns: columns.iter().map(Builder::new).collect(),
            rows: 0,
            touched: Vec::new(),
            changed: vec![0; columns.len()],
            spare: String::new(),
        }
    }

    /// Sets a column of the row under way. Set twice, the later value counts.
    #[inline]
    pub fn set(&mut self, column: usize, value: Value<'_>) -> Result<(), Problem> {
        self.unset(column);
        let builder = &mut self.columns[column];
        match builder.push(value, &mut self.spare) {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            Err(problem) => {
                builder.truncate(self.rows); // it may have failed half-way
                if builder.policy.action(&problem) != Action::Null {
                    return Err(problem);
                }
                builder.push_null();
            }
        }
        self.touched.push(column);
        Ok(())
    }

    /// Takes back what was set of a column in the row under way.
    #[inline]
    pub fn unset(&mut self, column: usize) {
        let builder = &mut self.columns[column];
        if builder.valid.len > self.rows {
            builder.truncate(self.rows);
            self.touched.retain(|touched| *touched != column);
        }
    }

    /// Whether the column was set in the row under way.
    pub fn is_set(&self, column: usize) -> bool {
        self.columns[column].valid.len > self.rows
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
        for column in self.touched.drain(..) {
            self.changed[column] += 1;
        }
    }

    /// Takes back what was set of the row under way.
    pub fn roll_back(&mut self) {
        self.touched.clear();
        (0..self.columns.len()).for_each(|column| self.unset(column));
    }

    /// The columns of all rows, and of each how many values a policy changed; the builders begin anew.
    pub fn finish(&mut self) -> (Vec<ArrayRef>, Vec<u64>) {
        self.rows = 0;
        let changed = self.changed.clone();
        self.changed.fill(0);
        (self.columns.iter_mut().map(Builder::finish).collect(), changed)
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

/// Values of different lengths, one after the other.
struct Bytes {
    most: usize,
    data: Vec<u8>,
    ends: Vec<i32>,
}

impl Bytes {
    fn new(most: u32) -> Bytes {
        Bytes { most: most as usize, data: Vec::new(), ends: vec![0] }
    }

    /// Ends the value that was appended to `data`.
    #[inline]
    fn end(&mut self) -> Result<(), Problem> {
        let full = |_| Problem::Kind("more than 2 GiB of text in one batch".into());
        self.ends.push(i32::try_from(self.data.len()).map_err(full)?);
        Ok(())
    }
}

enum Values {
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Decimal {
        precision: u8,
        scale: u8,
        units: Vec<i128>,
    },
    Real(Vec<f32>),
    Double(Vec<f64>),
    Boolean(Vec<bool>),
    /// `single`: only characters of one byte.
    Text {
        single: bool,
        bytes: Bytes,
    },
    Binary(Bytes),
    Days(Vec<i32>),
    /// `zoned`: moments; else what a clock shows.
    Micros {
        zoned: bool,
        micros: Vec<i64>,
    },
}

struct Builder {
    values: Values,
    valid: Valid,
    policy: Policy,
    reading: Reading,
    /// Whether times are read as their type says it.
    plain: bool,
}

impl Builder {
    fn new(column: &SourceColumn) -> Builder {
        let values = match &column.kind {
            ColumnKind::SmallInt => Values::Int16(Vec::new()),
            ColumnKind::Integer => Values::Int32(Vec::new()),
            ColumnKind::BigInt => Values::Int64(Vec::new()),
            ColumnKind::Decimal(precision, scale) => {
                Values::Decimal { precision: *precision, scale: *scale, units: Vec::new() }
            }
            ColumnKind::Real => Values::Real(Vec::new()),
            ColumnKind::Double => Values::Double(Vec::new()),
            ColumnKind::Boolean => Values::Boolean(Vec::new()),
            ColumnKind::Char(most) => Values::Text { single: true, bytes: Bytes::new(*most) },
            ColumnKind::Varchar(most) => Values::Text { single: false, bytes: Bytes::new(*most) },
            ColumnKind::Varbyte(most) => Values::Binary(Bytes::new(*most)),
            ColumnKind::Date => Values::Days(Vec::new()),
            ColumnKind::Timestamp => Values::Micros { zoned: false, micros: Vec::new() },
            ColumnKind::TimestampTz => Values::Micros { zoned: true, micros: Vec::new() },
            ColumnKind::Other(name) => fail(Failure::Bug(format!("a declared column of type {name}"))),
        };
        let (policy, reading) = (column.policy, column.reading.clone());
        Builder { values, valid: Valid::default(), policy, plain: reading.is_plain() && !reading.strict, reading }
    }

    /// Whether a policy changed the value. What a type takes, `docs/types.md` says as well.
    #[inline]
    fn push(&mut self, value: Value<'_>, spare: &mut String) -> Result<bool, Problem> {
        if value == Value::Null {
            self.push_null();
            return Ok(false);
        }
        let refused = |kind: &str| Err(Problem::Kind(format!("{} where {kind} is declared", value.name())));
        let (mut changed, strict) = (false, self.reading.strict);
        match (&mut self.values, value) {
            (Values::Int16(values), Value::Number(text)) => values.push(integer(text, "smallint", strict)?),
            (Values::Int32(values), Value::Number(text)) => values.push(integer(text, "integer", strict)?),
            (Values::Int64(values), Value::Number(text)) => values.push(integer(text, "bigint", strict)?),
            (Values::Int16(values), Value::Text(text)) if !strict => {
                values.push(integer(lenient::number(text)?, "smallint", strict)?);
            }
            (Values::Int32(values), Value::Text(text)) if !strict => {
                values.push(integer(lenient::number(text)?, "integer", strict)?);
            }
            (Values::Int64(values), Value::Text(text)) if !strict => {
                values.push(integer(lenient::number(text)?, "bigint", strict)?);
            }
            (Values::Int16(_) | Values::Int32(_) | Values::Int64(_), _) => return refused("an integer"),
            (Values::Decimal { precision, scale, units }, Value::Number(text)) => {
                let (value, lost) = match number::usual_decimal(text, *precision, *scale) {
                    Some(value) => (value, false),
                    None => number::decimal(text, *precision, *scale, self.policy.scale)?,
                };
                units.push(value);
                changed = lost;
            }
            (Values::Decimal { precision, scale, units }, Value::Text(text)) if !strict => {
                let (value, lost) = match number::usual_decimal(text, *precision, *scale) {
                    Some(value) => (value, false),
                    None => number::decimal(lenient::number(text)?, *precision, *scale, self.policy.scale)?,
                };
                units.push(value);
                changed = lost;
            }
            (Values::Decimal { .. }, _) => return refused("a decimal"),
            (Values::Real(values), Value::Number(text)) => values.push(number::real(text)?),
            (Values::Double(values), Value::Number(text)) => values.push(number::double(text)?),
            (Values::Real(values), Value::Text(text)) => match number::special(text) {
                Some(value) => values.push(value as f32),
                None if strict => return refused("real"),
                None => values.push(number::real(lenient::number(text)?)?),
            },
            (Values::Double(values), Value::Text(text)) => match number::special(text) {
                Some(value) => values.push(value),
                None if strict => return refused("double precision"),
                None => values.push(number::double(lenient::number(text)?)?),
            },
            (Values::Real(_), _) => return refused("real"),
            (Values::Double(_), _) => return refused("double precision"),
            (Values::Boolean(values), Value::Boolean(value)) => values.push(value),
            (Values::Boolean(values), Value::Text(text)) if !strict => values.push(lenient::boolean(text)?),
            (Values::Boolean(values), Value::Number(text)) if !strict => values.push(lenient::truth(text)?),
            (Values::Boolean(_), _) => return refused("boolean"),
            (Values::Text { single, bytes }, value) => {
                let text = match value {
                    Value::Text(text) | Value::Number(text) | Value::Nested(text) => text,
                    Value::Boolean(true) => "true",
                    Value::Boolean(false) => "false",
                    Value::Null => "",
                    Value::Bytes(_) => return refused("text"),
                };
                let (text, by_policy) = fit_text(text, bytes.most, *single, &self.policy, spare)?;
                let Some(text) = text else {
                    self.push_null();
                    return Ok(true);
                };
                bytes.data.extend_from_slice(text.as_bytes());
                bytes.end()?;
                changed = by_policy;
            }
            (Values::Binary(bytes), Value::Text(text)) => changed = push_base64(text, bytes, &self.policy)?,
            (Values::Binary(bytes), Value::Bytes(value)) => {
                let start = bytes.data.len();
                bytes.data.extend_from_slice(value);
                changed = end_bytes(start, bytes, &self.policy)?;
            }
            (Values::Binary(_), _) => return refused("varbyte (as base64)"),
            (Values::Days(values), Value::Text(text)) => values.push(match &self.reading.layout {
                None if strict => timestamp::day(text)?,
                None => timestamp::day(text).or_else(|problem| lenient::day(text, problem))?,
                Some(layout) => layout.day(text)?,
            }),
            (Values::Days(_), _) => return refused("date"),
            (Values::Micros { zoned, micros }, Value::Text(text)) => {
                let (value, lost) = match (self.plain, *zoned) {
                    // What is no such time is looked at once more, to say what it is instead.
                    (true, true) => timestamp::moment(text).or_else(|_| self.reading.time(text, true))?,
                    (true, false) => timestamp::wall_clock(text).or_else(|_| self.reading.time(text, false))?,
                    (false, zoned) => self.reading.time(text, zoned)?,
                };
                micros.push(value);
                changed = lost;
            }
            (Values::Micros { zoned, micros }, Value::Number(text)) => {
                let (value, lost) = self.reading.count(text, *zoned)?;
                micros.push(value);
                changed = lost;
            }
            (Values::Micros { zoned: true, .. }, _) => return refused("timestamptz"),
            (Values::Micros { zoned: false, .. }, _) => return refused("timestamp"),
        }
        self.valid.push(true);
        Ok(changed)
    }

    #[inline]
    fn push_null(&mut self) {
        match &mut self.values {
            Values::Int16(values) => values.push(0),
            Values::Int32(values) | Values::Days(values) => values.push(0),
            Values::Int64(values) | Values::Micros { micros: values, .. } => values.push(0),
            Values::Decimal { units, .. } => units.push(0),
            Values::Real(values) => values.push(0.0),
            Values::Double(values) => values.push(0.0),
            Values::Boolean(values) => values.push(false),
            // What was appended before fits, or the value before this one would have been refused.
            Values::Text { bytes, .. } | Values::Binary(bytes) => bytes.ends.push(bytes.data.len() as i32),
        }
        self.valid.push(false);
    }

    /// Back to so many rows, also from the middle of a value that was refused.
    fn truncate(&mut self, rows: usize) {
        if self.valid.len > rows {
            self.valid.truncate(rows);
        }
        match &mut self.values {
            Values::Int16(values) => values.truncate(rows),
            Values::Int32(values) | Values::Days(values) => values.truncate(rows),
            Values::Int64(values) | Values::Micros { micros: values, .. } => values.truncate(rows),
            Values::Decimal { units, .. } => units.truncate(rows),
            Values::Real(values) => values.truncate(rows),
            Values::Double(values) => values.truncate(rows),
            Values::Boolean(values) => values.truncate(rows),
            Values::Text { bytes, .. } | Values::Binary(bytes) => {
                bytes.ends.truncate(rows + 1);
                bytes.data.truncate(bytes.ends[rows] as usize);
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
        let ends = |bytes: &mut Bytes| {
            let offsets = OffsetBuffer::new(ScalarBuffer::from(take(&mut bytes.ends)));
            bytes.ends.push(0);
            offsets
        };
        match &mut self.values {
            Values::Int16(values) => Arc::new(Int16Array::new(take(values).into(), nulls)),
            Values::Int32(values) => Arc::new(Int32Array::new(take(values).into(), nulls)),
            Values::Int64(values) => Arc::new(Int64Array::new(take(values).into(), nulls)),
            Values::Decimal { precision, scale, units } => {
                let array = Decimal128Array::new(take(units).into(), nulls);
                match array.with_precision_and_scale(*precision, *scale as i8) {
                    Ok(array) => Arc::new(array),
                    Err(e) => fail(Failure::Bug(format!("decimal({precision},{scale}): {e}"))),
                }
            }
            Values::Real(values) => Arc::new(Float32Array::new(take(values).into(), nulls)),
            Values::Double(values) => Arc::new(Float64Array::new(take(values).into(), nulls)),
            Values::Boolean(values) => Arc::new(BooleanArray::new(take(values).into(), nulls)),
            Values::Days(values) => Arc::new(Date32Array::new(take(values).into(), nulls)),
            Values::Micros { zoned, micros } => {
                let array = TimestampMicrosecondArray::new(take(micros).into(), nulls);
                Arc::new(array.with_timezone_opt(zoned.then_some("UTC")))
            }
            Values::Text { bytes, .. } => {
                let offsets = ends(bytes);
                Arc::new(StringArray::new(offsets, Buffer::from_vec(take(&mut bytes.data)), nulls))
            }
            Values::Binary(bytes) => {
                let offsets = ends(bytes);
                Arc::new(BinaryArray::new(offsets, Buffer::from_vec(take(&mut bytes.data)), nulls))
            }
        }
    }
}

/// A whole number, or one that is written with a point or an exponent and is whole, unless it is to be `strict`.
#[inline]
fn integer<T: std::str::FromStr + TryFrom<i128>>(text: &str, kind: &str, strict: bool) -> Result<T, Problem> {
    number::integer(text, kind).or_else(|problem| match problem {
        Problem::Kind(_) if !strict => lenient::whole(text, kind),
        other => Err(other),
    })
}

/// Bytes are written as base64 in JSON. Whether they were cut.
fn push_base64(text: &str, bytes: &mut Bytes, policy: &Policy) -> Result<bool, Problem> {
    let start = bytes.data.len();
    BASE64_STANDARD.decode_vec(text, &mut bytes.data).map_err(|e| Problem::Kind(format!("not base64: {e}")))?;
    end_bytes(start, bytes, policy)
}

/// Ends the bytes that were appended from `start` on. Whether they were cut.
fn end_bytes(start: usize, bytes: &mut Bytes, policy: &Policy) -> Result<bool, Problem> {
    let length = bytes.data.len() - start;
    let long = length > bytes.most;
    if long && policy.long != Action::Truncate {
        return Err(Problem::Long(format!("longer than varbyte({}): {length} bytes", bytes.most)));
    }
    bytes.data.truncate(start + length.min(bytes.most));
    bytes.end()?;
    Ok(long)
}

#[cfg(test)]
mod tests {
    use arrow_array::{Array, cast::AsArray, types::*};

    use super::*;

    fn all_kinds() -> Vec<SourceColumn> {
        let kinds = [
            ColumnKind::SmallInt,
            ColumnKind::Integer,
            ColumnKind::BigInt,
            ColumnKind::Double,
            ColumnKind::Boolean,
            ColumnKind::Varchar(4),
            ColumnKind::TimestampTz,
            ColumnKind::Decimal(38, 5),
            ColumnKind::Real,
            ColumnKind::Char(3),
            ColumnKind::Varbyte(3),
            ColumnKind::Date,
            ColumnKind::Timestamp,
        ];
        kinds.into_iter().enumerate().map(|(i, kind)| SourceColumn::new(&format!("c{i}"), kind)).collect()
    }

    const GOOD: [Value<'_>; 13] = [
        Value::Number("-32768"),
        Value::Number("2147483647"),
        Value::Number("9007199254740993"),
        Value::Number("1e-3"),
        Value::Boolean(true),
        Value::Text("äö"),
        Value::Text("2026-11-24T10:54:54Z"),
        Value::Number("999999999999999999999999999999999.99999"),
        Value::Number("0.1"),
        Value::Text("abc"),
        Value::Text("AAEC"),
        Value::Text("2026-11-24"),
        Value::Text("2026-11-24T10:54:54.000001"),
    ];

    #[test]
    fn a_bad_row_leaves_nothing_behind() {
        let columns = all_kinds();
        let mut builders = Builders::new(&columns);
        for bad in 0..=columns.len() {
            // Values up to `bad`, then a value that fits into no column: the row goes.
            for (column, value) in GOOD.iter().enumerate().take(bad) {
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
        let (arrays, changed) = builders.finish();
        assert!(arrays.iter().all(|a| a.len() == 2 && a.is_valid(0) && a.is_null(1)));
        assert_eq!(changed, vec![0; columns.len()]);
        assert_eq!(arrays[0].as_primitive::<Int16Type>().value(0), -32768);
        assert_eq!(arrays[2].as_primitive::<Int64Type>().value(0), 9_007_199_254_740_993);
        assert_eq!(arrays[5].as_string::<i32>().value(0), "äö");
        assert_eq!(arrays[7].as_primitive::<Decimal128Type>().value(0), 10i128.pow(38) - 1);
        assert_eq!(arrays[8].as_primitive::<Float32Type>().value(0), 0.1);
        assert_eq!(arrays[10].as_binary::<i32>().value(0), [0, 1, 2]);
        assert_eq!(arrays[12].as_primitive::<TimestampMicrosecondType>().value(0), 1_795_517_694_000_001);
        assert!(builders.finish().0.iter().all(|a| a.is_empty()));
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
        builders.set(2, Value::Number("4")).unwrap();
        builders.unset(2);
        builders.end_row();
        let (arrays, _) = builders.finish();
        assert_eq!(arrays[0].as_primitive::<Int16Type>().value(0), 2);
        assert_eq!(arrays[1].as_primitive::<Int32Type>().value(0), 3);
        assert!(arrays[2].is_null(0));
        assert_eq!(arrays[5].as_string::<i32>().value(0), "2");
    }

    #[test]
    fn what_does_not_fit_says_why() {
        let columns = all_kinds();
        let mut builders = Builders::new(&columns);
        for (column, value, reason) in [
            (0, Value::Number("32768"), "out of range for smallint: 32768"),
            (2, Value::Number("9223372036854775808"), "out of range for bigint: 9223372036854775808"),
            (1, Value::Number("1.5"), "a number that is not whole: 1.5"),
            (1, Value::Text("12.34"), "a number that is not whole: 12.34"),
            (1, Value::Text("one"), "a string that is not a number: \"one\""),
            (1, Value::Text(" "), "an empty string where a number is declared"),
            (1, Value::Boolean(true), "a boolean where an integer is declared"),
            (3, Value::Number("1e999"), "out of range for double precision: 1e999"),
            (3, Value::Text("nan"), "a string that is not a number: \"nan\""),
            (4, Value::Number("2"), "a number where boolean is declared, and not 0 or 1: 2"),
            (4, Value::Text("on"), "a string that is not true or false: \"on\""),
            (5, Value::Text("äöü"), "longer than varchar(4): 6 bytes"),
            (5, Value::Text("a\0b"), "text with a NUL character"),
            (
                6,
                Value::Number("1"),
                "a number where timestamptz is declared, without `time` = epoch_s, epoch_ms, epoch_us, epoch_ns: 1",
            ),
            (6, Value::Text(""), "an empty string where timestamptz is declared"),
            (7, Value::Number("0.000001"), "more digits after the point than decimal(38,5): 0.000001"),
            (7, Value::Text("NaN"), "a string that is not a number: \"NaN\""),
            (7, Value::Text("1,5"), "a string that is not a number: \"1,5\""),
            (8, Value::Number("1e39"), "out of range for real: 1e39"),
            (9, Value::Text("abcd"), "longer than char(3): 4 bytes"),
            (9, Value::Text("ä"), "a character of several bytes where char takes only those of one"),
            (10, Value::Text("AAECAw=="), "longer than varbyte(3): 4 bytes"),
            (10, Value::Nested("[1]"), "an object or array where varbyte (as base64) is declared"),
            (11, Value::Text("2026-11-24T10:00Z"), "not a date: \"2026-11-24T10:00Z\" (it is not midnight)"),
            (11, Value::Text("2026-11-24T"), "not a date: \"2026-11-24T\" (it is not written YYYY-MM-DD)"),
            (12, Value::Boolean(true), "a boolean where timestamp is declared"),
        ] {
            assert_eq!(builders.set(column, value).map_err(Problem::reason), Err(reason.to_string()));
            builders.roll_back();
        }
        assert!(builders.finish().0.iter().all(|a| a.is_empty()));
    }

    #[test]
    fn what_a_policy_changes_is_counted() {
        let all = Policy {
            long: Action::Truncate,
            range: Action::Null,
            scale: Action::Round,
            nul: Action::Truncate,
            empty: Action::Null,
        };
        let columns: Vec<SourceColumn> = all_kinds().into_iter().map(|c| SourceColumn { policy: all, ..c }).collect();
        let mut builders = Builders::new(&columns);
        for (column, value) in [
            (0, Value::Number("40000")),
            (5, Value::Text("a\0bcdef")),
            (6, Value::Text("2026-02-30T00:00:00Z")),
            (7, Value::Number("0.000005")),
            (9, Value::Text("abcd")),
            (10, Value::Text("AAECAw==")),
            (12, Value::Text("2026-11-24T10:54:54.0000019")),
            (11, Value::Text("")),
        ] {
            builders.set(column, value).unwrap();
        }
        builders.end_row();
        // A row that goes takes its counts with it, and so does a value after which another one comes.
        builders.set(0, Value::Number("40000")).unwrap();
        builders.roll_back();
        builders.set(0, Value::Number("40000")).unwrap();
        builders.set(0, Value::Number("50000")).unwrap();
        builders.set(5, Value::Text("abcdef")).unwrap();
        builders.set(5, Value::Text("abc")).unwrap();
        builders.end_row();
        let (arrays, changed) = builders.finish();
        assert_eq!(changed, [2, 0, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1, 1]);
        assert!(arrays[0].is_null(0) && arrays[6].is_null(0));
        assert_eq!(arrays[5].as_string::<i32>().value(0), "abcd");
        assert_eq!(arrays[7].as_primitive::<Decimal128Type>().value(0), 1);
        assert_eq!(arrays[10].as_binary::<i32>().value(0), [0, 1, 2]);
    }
}
