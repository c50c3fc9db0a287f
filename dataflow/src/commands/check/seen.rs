//! Values as records have them, and what a declaration makes of them. Pure.

use connectors::ColumnKind;
use operators::{
    decode::{
        Format,
        columns::{Builders, Value},
    },
    schema::SourceColumn,
    values::{Action, json, lenient},
};

/// A value as a record has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Said to be null.
    Null,
    /// Text.
    Text(String),
    /// Bytes that are not text.
    Bytes(Vec<u8>),
    /// A number as it is written.
    Number(String),
    /// True or false.
    Boolean(bool),
    /// A list or an object as it is written.
    Nested(String),
}

impl Seen {
    /// The value of a JSON text; `None` for a string that is not text, with half a surrogate pair.
    pub fn of_json(text: &str) -> Option<Seen> {
        Some(match text.as_bytes().first()? {
            b'"' => Seen::Text(json::unquote(text).ok()?),
            b'{' | b'[' => Seen::Nested(text.into()),
            b'n' => Seen::Null,
            b't' => Seen::Boolean(true),
            b'f' => Seen::Boolean(false),
            _ => Seen::Number(text.into()),
        })
    }

    /// The value of a record without parts.
    pub fn of_bytes(bytes: &[u8]) -> Seen {
        match std::str::from_utf8(bytes) {
            Ok(text) => Seen::Text(text.into()),
            Err(_) => Seen::Bytes(bytes.into()),
        }
    }

    fn value(&self, as_bytes: bool) -> Value<'_> {
        match self {
            Seen::Text(text) if as_bytes => Value::Bytes(text.as_bytes()),
            Seen::Null => Value::Null,
            Seen::Text(text) => Value::Text(text),
            Seen::Bytes(bytes) => Value::Bytes(bytes),
            Seen::Number(text) => Value::Number(text),
            Seen::Boolean(truth) => Value::Boolean(*truth),
            Seen::Nested(text) => Value::Nested(text),
        }
    }

    /// The number that it is, or that its text holds.
    pub fn number(&self) -> Option<&str> {
        match self {
            Seen::Number(text) => Some(text),
            Seen::Text(text) => lenient::number(text).ok(),
            _ => None,
        }
    }

    /// How long it is, in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Seen::Null => 0,
            Seen::Text(text) | Seen::Number(text) | Seen::Nested(text) => text.len(),
            Seen::Bytes(bytes) => bytes.len(),
            Seen::Boolean(_) => 5,
        }
    }

    /// Whether there is nothing in it: null, or a text of blanks.
    pub fn is_nothing(&self) -> bool {
        matches!(self, Seen::Null) || matches!(self, Seen::Text(text) if lenient::is_empty(text))
    }
}

/// What becomes of values that a declaration takes, all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// How many its policies make NULL, those without anything in them among them.
    pub nulls: usize,
    /// How many of these have something in them.
    pub lost: usize,
    /// How many are cut or rounded.
    pub altered: usize,
}

/// What a declaration makes of these values; `None` if it refuses one of them, or cannot be in a stream of this format.
pub fn take(column: &SourceColumn, format: Format, values: &[Seen]) -> Option<Taken> {
    format.check(std::slice::from_ref(column)).ok()?;
    let kind = &column.kind;
    let as_bytes = is_raw(format, kind);
    let is_time = matches!(kind, ColumnKind::Timestamp | ColumnKind::TimestampTz);
    let mut builders = Builders::new(std::slice::from_ref(column));
    let mut taken = Taken::default();
    for value in values {
        builders.set(0, value.value(as_bytes)).ok()?;
        builders.end_row();
        let (columns, changed) = builders.finish();
        let is_null = columns.first().is_some_and(|column| column.is_null(0));
        if is_null && *value != Seen::Null {
            taken.nulls += 1;
            taken.lost += usize::from(!value.is_nothing());
        } else if *kind == ColumnKind::Double {
            taken.altered += usize::from(value.number().is_some_and(|number| !is_double(number)));
        } else if !is_time {
            // Of times it is what is less than a microsecond, whatever the declaration.
            taken.altered += usize::from(changed.first().is_some_and(|changed| *changed > 0));
        }
    }
    Some(taken)
}

/// How many of these values a declaration takes by itself, NULL left aside.
pub fn count(column: &SourceColumn, format: Format, values: &[Seen]) -> usize {
    if format.check(std::slice::from_ref(column)).is_err() {
        return 0;
    }
    let as_bytes = is_raw(format, &column.kind);
    let mut builders = Builders::new(std::slice::from_ref(column));
    let given = values.iter().filter(|value| **value != Seen::Null);
    let is_taken = |value: &&Seen| {
        let is_taken = builders.set(0, value.value(as_bytes)).is_ok();
        builders.roll_back();
        is_taken
    };
    given.filter(is_taken).count()
}

/// In JSON bytes are base64; a record without parts is what it is.
fn is_raw(format: Format, kind: &ColumnKind) -> bool {
    format == Format::Raw && matches!(kind, ColumnKind::Varbyte(_))
}

impl Taken {
    /// How many values are not what they were.
    pub fn changed(&self) -> usize {
        self.nulls + self.altered
    }

    /// What is done to how many of these values, in words; `None` if nothing is.
    pub fn words(&self, column: &SourceColumn, values: &[Seen]) -> Option<String> {
        let all = values.iter().filter(|value| **value != Seen::Null).count();
        let of = |count: usize| format!("{count} of {all} {}", if all == 1 { "value" } else { "values" });
        let nulls = (self.nulls > 0).then(|| format!("makes {} NULL", of(self.nulls)));
        let has_nul = |value: &&Seen| matches!(value, Seen::Text(text) if text.contains('\0'));
        let stripped = match column.policy.nul {
            Action::Truncate => values.iter().filter(has_nul).count().min(self.altered),
            _ => 0,
        };
        let nuls = (stripped > 0).then(|| format!("takes the NUL characters out of {}", of(stripped)));
        let verb = match column.kind {
            ColumnKind::Decimal(..) if column.policy.scale == Action::Truncate => "cuts",
            ColumnKind::Decimal(..) | ColumnKind::Double => "rounds",
            _ => "cuts",
        };
        let altered = self.altered - stripped;
        let altered = (altered > 0).then(|| format!("{verb} {}", of(altered)));
        let done: Vec<String> = [nulls, altered, nuls].into_iter().flatten().collect();
        (!done.is_empty()).then(|| format!("it {}", done.join(", ")))
    }
}

/// Whether a double has all digits of a number.
fn is_double(number: &str) -> bool {
    // The shortest text that is read as that double again.
    number.parse::<f64>().is_ok_and(|double| significant(&format!("{double:e}")) == significant(number))
}

/// Whether a number that is whole would be another one as a double, as a large id would.
pub fn is_other_id(number: &str) -> bool {
    let (digits, power) = significant(number);
    digits.len() as i64 <= power && !is_double(number)
}

/// The digits of a number without the zeros around them, and the power of ten of the first.
fn significant(number: &str) -> (String, i64) {
    let number = number.trim_start_matches('-');
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let first = digits.len() - digits.trim_start_matches('0').len();
    let power = exponent_of(exponent) + whole.len() as i64 - first as i64;
    let digits = digits.trim_matches('0').to_string();
    let power = if digits.is_empty() { 0 } else { power };
    (digits, power)
}

/// Beyond a thousand a number fits into nothing.
fn exponent_of(text: &str) -> i64 {
    let most = if text.starts_with('-') { -1000 } else { 1000 };
    text.parse::<i64>().unwrap_or(most).clamp(-1000, 1000)
}

/// How many digits a number has before its point and after it, as it is written.
pub fn digits(number: &str) -> (u32, u32) {
    let number = number.trim_start_matches('-');
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent = exponent_of(exponent);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let leading = if whole == "0" { 0 } else { whole.len() as i64 };
    let count = |digits: i64| digits.clamp(0, 1000) as u32;
    (count(leading + exponent), count(fraction.len() as i64 - exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_of_numbers() {
        for (number, expected) in [
            ("0", (0, 0)),
            ("-12.34", (2, 2)),
            ("1.50", (1, 2)),
            ("0.005", (0, 3)),
            ("1e3", (4, 0)),
            ("1.25e1", (2, 1)),
            ("1e-7", (0, 7)),
            ("1200", (4, 0)),
            ("1e400", (401, 0)),
            ("1e99999999999999999999", (1000, 0)),
        ] {
            assert_eq!(digits(number), expected, "{number}");
        }
    }

    #[test]
    fn numbers_that_a_double_has_whole() {
        for number in ["0", "0.1", "-0.0", "1e60", "9007199254740992", "0.30000000000000004", "1.50"] {
            assert!(is_double(number), "{number}");
        }
        for number in ["9007199254740993", "-9007199254740993.0", "0.1234567890123456789", "1e400"] {
            assert!(!is_double(number), "{number}");
        }
        assert!(is_other_id("9007199254740993") && is_other_id("9.007199254740993e15"));
        assert!(!is_other_id("0.1234567890123456789") && !is_other_id("1732575600123"));
    }
}
