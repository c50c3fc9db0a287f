//! Values in another form than the type's own, which lose nothing by being taken: numbers, truths and days as people send them.
//!
//! A column with `strict = true` takes none of these.

use super::{Action, Problem, cut, json, number, shown, timestamp};

/// What JSON counts as blank.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r'])
}

/// The JSON number that a text holds. Blanks around it and one `+` before it do not belong to it.
///
/// # Errors
/// The text holds something else, or nothing.
pub fn number(text: &str) -> Result<&str, Problem> {
    let trimmed = trim(text);
    if trimmed.is_empty() {
        return Err(Problem::Empty("an empty string where a number is declared".into()));
    }
    let number = match trimmed.strip_prefix('+') {
        Some(number) if number.starts_with('-') => trimmed,
        Some(number) => number,
        None => trimmed,
    };
    if json::is_number(number) {
        return Ok(number);
    }
    Err(Problem::Kind(format!("a string that is not a number: {}", shown(cut(text, 100)))))
}

/// A whole number that is written with a point or an exponent, such as `1.0` or `7E+3`.
///
/// # Errors
/// The number is not whole, or beyond the type.
pub fn whole<T: TryFrom<i128>>(text: &str, kind: &str) -> Result<T, Problem> {
    let range = || Problem::Range(format!("out of range for {kind}: {}", cut(text, 100)));
    let (value, _) = number::decimal(text, 38, 0, Action::Reject).map_err(|problem| match problem {
        Problem::Scale(_) => Problem::Kind(format!("a number that is not whole: {}", cut(text, 100))),
        _ => range(),
    })?;
    T::try_from(value).map_err(|_| range())
}

/// A truth as Redshift reads it from a text, in any case and with blanks around it.
/// <https://docs.aws.amazon.com/redshift/latest/dg/r_Boolean_type.html>
///
/// # Errors
/// The text says something else, or nothing.
pub fn boolean(text: &str) -> Result<bool, Problem> {
    const YES: [&str; 5] = ["true", "t", "yes", "y", "1"];
    const NO: [&str; 5] = ["false", "f", "no", "n", "0"];
    let trimmed = trim(text);
    let is = |words: [&str; 5]| words.iter().any(|word| trimmed.eq_ignore_ascii_case(word));
    match () {
        () if is(YES) => Ok(true),
        () if is(NO) => Ok(false),
        () if trimmed.is_empty() => Err(Problem::Empty("an empty string where boolean is declared".into())),
        () => Err(Problem::Kind(format!("a string that is not true or false: {}", shown(cut(text, 100))))),
    }
}

/// A truth that is written as a number: 0 or 1.
///
/// # Errors
/// The number is another one.
pub fn truth(number: &str) -> Result<bool, Problem> {
    match number {
        "1" => Ok(true),
        "0" => Ok(false),
        other => Err(Problem::Kind(format!("a number where boolean is declared, and not 0 or 1: {}", cut(other, 100)))),
    }
}

/// A day that is written as its midnight, such as `2026-11-24T00:00:00Z`. `problem` is what is wrong with it as a day alone.
///
/// # Errors
/// `problem`, or that it is another time of the day.
pub fn day(text: &str, problem: Problem) -> Result<i32, Problem> {
    if trim(text).is_empty() {
        return Err(empty("date"));
    }
    match timestamp::midnight(text) {
        None => Err(problem),
        Some(day) => day,
    }
}

/// There is nothing where a value of this kind should be.
pub fn empty(kind: &str) -> Problem {
    Problem::Empty(format!("an empty string where {kind} is declared"))
}

/// Whether a text has nothing in it but blanks.
pub fn is_empty(text: &str) -> bool {
    trim(text).is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_in_strings() {
        for (text, inside) in [
            ("12.34", "12.34"),
            (" 12.34 ", "12.34"),
            ("+7", "7"),
            ("\t-0.5e+3\n", "-0.5e+3"),
            ("1E5", "1E5"),
            ("0", "0"),
            ("-0", "-0"),
        ] {
            assert_eq!(number(text), Ok(inside), "{text:?}");
        }
        for text in [
            "1,5", "0x1f", "1_000", "+-5", "++5", "+ 5", "- 5", "007", "1.", ".5", "1e", "NaN", "Infinity", "one",
            "1 2", "\u{a0}1", "１",
        ] {
            let refused = number(text).unwrap_err().reason();
            assert_eq!(refused, format!("a string that is not a number: {}", shown(text)));
        }
        for text in ["", "  ", "\n"] {
            assert!(matches!(number(text), Err(Problem::Empty(_))), "{text:?}");
        }
    }

    #[test]
    fn whole_numbers() {
        for (text, value) in [("1.0", 1), ("1e3", 1000), ("7E+3", 7000), ("-1.50e1", -15), ("0.0", 0), ("100e-2", 1)] {
            assert_eq!(whole::<i64>(text, "bigint"), Ok(value), "{text}");
        }
        assert_eq!(whole::<i64>("9223372036854775807.0", "bigint"), Ok(i64::MAX), "no float on the way");
        assert_eq!(whole::<i64>("9007199254740993.0", "bigint"), Ok(9_007_199_254_740_993));
        for text in ["1.5", "1e-1", "-0.1"] {
            assert!(matches!(whole::<i64>(text, "bigint"), Err(Problem::Kind(_))), "{text}");
        }
        for text in ["9223372036854775808.0", "1e19", "1e400", "-1e99999999999999999999"] {
            assert!(matches!(whole::<i64>(text, "bigint"), Err(Problem::Range(_))), "{text}");
        }
        assert!(matches!(whole::<i16>("4e4", "smallint"), Err(Problem::Range(_))));
    }

    #[test]
    fn truths() {
        for text in ["true", "TRUE", "t", "T", "yes", "Yes", "y", "1", " true ", "\ttrue"] {
            assert_eq!(boolean(text), Ok(true), "{text:?}");
        }
        for text in ["false", "False", "f", "no", "N", "0", " 0"] {
            assert_eq!(boolean(text), Ok(false), "{text:?}");
        }
        for text in ["on", "off", "2", "-1", "tru", "1.0", "null", "ja"] {
            assert!(matches!(boolean(text), Err(Problem::Kind(_))), "{text:?}");
        }
        assert!(matches!(boolean(" "), Err(Problem::Empty(_))));
        assert_eq!((truth("0"), truth("1")), (Ok(false), Ok(true)));
        for number in ["2", "-1", "1.0", "01", "1e0"] {
            assert!(truth(number).is_err(), "{number}");
        }
    }

    proptest! {
        /// A number is the same number inside a string.
        #[test]
        fn a_string_changes_no_number(units in any::<i64>(), exponent in -9i32..9, before in "[ \t]{0,3}", after in "[ \n]{0,3}") {
            let plain = format!("{units}e{exponent}");
            let sign = if units >= 0 { "+" } else { "" };
            let text = format!("{before}{sign}{plain}{after}");
            prop_assert_eq!(number(&text), Ok(plain.as_str()));
            let exact = number::decimal(&plain, 38, 0, Action::Reject).ok().and_then(|(value, _)| i64::try_from(value).ok());
            prop_assert_eq!(whole::<i64>(&plain, "bigint").ok(), exact);
        }
    }
}
