//! Intervals: how far apart two times are. They are there to be added to a time, and no column has them.
//!
//! One has months, whose length depends on where they begin, and microseconds. The time zone is UTC, so a day is always as long as
//! another. <https://docs.aws.amazon.com/redshift/latest/dg/r_interval_data_types.html>

use std::sync::Arc;

use arrow_array::{
    ArrayRef, IntervalMonthDayNanoArray,
    cast::AsArray,
    types::{Decimal128Type, Float64Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType},
};
use arrow_buffer::i256;
use chrono::Months;
use connectors::ColumnKind;
use datafusion_common::ScalarValue;

use super::{
    arithmetic::{Operator, divide},
    kinds::{as_decimal, interval},
    run::{Run, values},
    time::{Part, civil, micros, micros_of, part, times},
    typed::{Kind, Typed, call},
};

const DAY: i64 = 86_400_000_000;

/// An interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    months: i64,
    micros: i64,
}

impl Span {
    fn of(array: &ArrayRef, row: usize) -> Span {
        let IntervalMonthDayNano { months, days, nanoseconds } =
            array.as_primitive::<IntervalMonthDayNanoType>().value(row);
        Span { months: months.into(), micros: i64::from(days) * DAY + nanoseconds / 1000 }
    }

    fn native(self) -> Result<IntervalMonthDayNano, String> {
        let (months, days) = (i32::try_from(self.months), i32::try_from(self.micros / DAY));
        match (months, days) {
            (Ok(months), Ok(days)) => Ok(IntervalMonthDayNano { months, days, nanoseconds: self.micros % DAY * 1000 }),
            _ => Err(too_long()),
        }
    }

    fn plus(self, other: Span, sign: i64) -> Option<Span> {
        Some(Span {
            months: self.months.checked_add(other.months.checked_mul(sign)?)?,
            micros: self.micros.checked_add(other.micros.checked_mul(sign)?)?,
        })
    }

    /// Times `over / under`, rounded to the microsecond.
    fn scaled(self, over: i256, under: i256) -> Result<Span, String> {
        if under == i256::ZERO {
            return Err("division by zero".into());
        }
        let months = i256::from(self.months).checked_mul(over).ok_or_else(too_long)?;
        if months.checked_rem(under) != Some(i256::ZERO) {
            return Err(part_of_a_month());
        }
        let months = months.checked_div(under).and_then(i256::to_i128);
        let micros = i256::from(self.micros).checked_mul(over).and_then(|micros| divide(micros, under));
        let fits = |value: Option<i128>| value.and_then(|value| i64::try_from(value).ok()).ok_or_else(too_long);
        Ok(Span { months: fits(months)?, micros: fits(micros.and_then(i256::to_i128))? })
    }

    fn scaled_float(self, by: f64) -> Result<Span, String> {
        let months = self.months as f64 * by;
        let micros = (self.micros as f64 * by).round_ties_even();
        if !months.is_finite() || !micros.is_finite() || months.abs() > 1e9 || micros.abs() >= 9.2e18 {
            return Err(too_long());
        }
        if months.fract() != 0.0 {
            return Err(part_of_a_month());
        }
        Ok(Span { months: months as i64, micros: micros as i64 })
    }
}

fn too_long() -> String {
    "out of range for interval".into()
}

fn part_of_a_month() -> String {
    "a part of a month has no length: use days".into()
}

/// Whether it is an interval.
pub fn is_interval(typed: &Typed) -> bool {
    typed.kind == Kind::Known(interval())
}

/// `INTERVAL 'text' from TO to (digits)`.
pub fn literal(text: &str, from: Option<&str>, to: Option<&str>, digits: Option<u64>) -> Result<Typed, String> {
    let span = read(text, from, to, digits).map_err(|why| format!("{text:?} is not an interval: {why}"))?;
    let value = ScalarValue::IntervalMonthDayNano(Some(span.native()?));
    Ok(Typed::constant(value, interval()))
}

/// Months of a unit, or microseconds.
fn unit(name: &str) -> Result<Span, String> {
    let months = |months| Ok(Span { months, micros: 0 });
    let micros = |micros| Ok(Span { months: 0, micros });
    match name.to_ascii_lowercase().as_str() {
        "decade" | "decades" | "decs" | "dec" => return months(120),
        "century" | "centuries" | "c" | "cent" | "cents" => return months(1_200),
        "millennium" | "millennia" | "mil" | "mils" => return months(12_000),
        _ => {}
    }
    match part(name)? {
        Part::Microsecond => micros(1),
        Part::Millisecond => micros(1_000),
        Part::Second => micros(1_000_000),
        Part::Minute => micros(60_000_000),
        Part::Hour => micros(3_600_000_000),
        Part::Day => micros(DAY),
        Part::Week => micros(7 * DAY),
        Part::Month => months(1),
        Part::Quarter => months(3),
        Part::Year => months(12),
        Part::DayOfWeek | Part::DayOfYear | Part::Epoch => Err(format!("{name:?} is not a unit")),
    }
}

fn read(text: &str, from: Option<&str>, to: Option<&str>, digits: Option<u64>) -> Result<Span, String> {
    let mut span = Span { months: 0, micros: 0 };
    let spaced = text.replace(',', " ");
    let mut chunks = spaced.split_whitespace().peekable();
    if chunks.peek().is_none() {
        return Err("it is empty".into());
    }
    let last = to.or(from);
    while let Some(chunk) = chunks.next() {
        let (sign, bare) = match chunk.split_at_checked(1) {
            Some(("-", bare)) => (-1, bare),
            Some(("+", bare)) => (1, bare),
            _ => (1, chunk),
        };
        let found = if bare.contains(':') {
            clock(bare, is_minutes(from, to))?
        } else if let Some((years, months)) = bare.split_once('-') {
            let (years, months) = (whole(years)?, whole(months)?);
            Span { months: years.checked_mul(12).and_then(|y| y.checked_add(months)).ok_or_else(too_long)?, micros: 0 }
        } else {
            let (amount, name) =
                bare.split_at(bare.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(bare.len()));
            let next_is_name = |chunk: &&str| chunk.starts_with(|c: char| c.is_alphabetic());
            let one = match name {
                "" => match chunks.next_if(next_is_name) {
                    Some(name) => unit(name)?,
                    // `'1 2:03:04'`: the days before the time.
                    None if chunks.peek().is_some_and(|next| next.contains(':')) => unit("day")?,
                    None => unit(last.unwrap_or("second"))?,
                },
                name => unit(name)?,
            };
            amounts(amount, one)?
        };
        span = span.plus(found, sign).ok_or_else(too_long)?;
    }
    cut_to(span, last, digits)
}

/// `12:34` is of minutes and seconds in MINUTE TO SECOND, and of hours and minutes anywhere else.
fn is_minutes(from: Option<&str>, to: Option<&str>) -> bool {
    let is = |field: Option<&str>, name: &str| field.is_some_and(|field| field.eq_ignore_ascii_case(name));
    is(from, "minute") && is(to, "second")
}

fn whole(digits: &str) -> Result<i64, String> {
    digits.parse().map_err(|_| format!("{digits:?} is not a whole number"))
}

fn clock(text: &str, is_minutes: bool) -> Result<Span, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (hours, minutes, seconds) = match parts[..] {
        [minutes, seconds] if is_minutes => ("0", minutes, seconds),
        [hours, minutes] => (hours, minutes, "0"),
        [hours, minutes, seconds] => (hours, minutes, seconds),
        _ => return Err(format!("{text:?} is not a time")),
    };
    let mut span = Span { months: 0, micros: 0 };
    for (amount, name) in [(hours, "hour"), (minutes, "minute"), (seconds, "second")] {
        span = span.plus(amounts(amount, unit(name)?)?, 1).ok_or_else(too_long)?;
    }
    Ok(span)
}

/// So many of a unit, with digits after a point.
fn amounts(digits: &str, one: Span) -> Result<Span, String> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) || whole.len() + fraction.len() == 0 || digits.len() > 30 {
        return Err(format!("{digits:?} is not a number"));
    }
    let units: i128 = format!("{whole}{fraction}").parse().map_err(|_| too_long())?;
    one.scaled(i256::from_i128(units), i256::from_i128(10i128.pow(fraction.len() as u32)))
}

/// What is smaller than the last field is cut off.
fn cut_to(span: Span, last: Option<&str>, digits: Option<u64>) -> Result<Span, String> {
    let Some(last) = last else { return Ok(span) };
    let one = unit(last)?;
    let cut = |value: i64, unit: i64| value - value % unit;
    Ok(match (one.months, one.micros, digits) {
        (0, 1_000_000, None) => span,
        (0, 1_000_000, Some(digits @ 0..=6)) => Span { micros: cut(span.micros, 10i64.pow(6 - digits as u32)), ..span },
        (0, 1_000_000, Some(_)) => return Err("a second has at most 6 digits".into()),
        (0, micros, _) => Span { micros: cut(span.micros, micros), ..span },
        (months, ..) => Span { months: cut(span.months, months), micros: 0 },
    })
}

/// Compiles an operator one of whose sides is an interval.
pub fn operator(operator: Operator, left: Typed, right: Typed) -> Result<Typed, String> {
    use Operator::*;
    let refused = format!("{} {} {}", left.kind, operator.sign(), right.kind);
    let is_time = |typed: &Typed| {
        matches!(&typed.kind, Kind::Known(ColumnKind::Date | ColumnKind::Timestamp | ColumnKind::TimestampTz))
    };
    match (operator, is_interval(&left), is_interval(&right)) {
        (Plus | Minus, true, true) => {
            let sign = if operator == Plus { 1 } else { -1 };
            let run = intervals(move |arrays, row| {
                Span::of(&arrays[0], row).plus(Span::of(&arrays[1], row), sign).ok_or_else(too_long)
            });
            Ok(call(operator.sign(), vec![left.expr, right.expr], interval(), run))
        }
        (Plus, true, false) if is_time(&right) => Ok(later(right, left, 1)),
        (Plus, false, true) if is_time(&left) => Ok(later(left, right, 1)),
        (Minus, false, true) if is_time(&left) => Ok(later(left, right, -1)),
        (Times | By, true, false) => scaled(operator, left, right, &refused),
        (Times, false, true) => scaled(operator, right, left, &refused),
        _ => Err(format!("{refused} is nothing: an interval is added to a time, or multiplied by a number; cast it")),
    }
}

/// The same one in the other direction.
pub fn negated(span: Typed) -> Typed {
    let run =
        intervals(|arrays, row| Span { months: 0, micros: 0 }.plus(Span::of(&arrays[0], row), -1).ok_or_else(too_long));
    call("-", vec![span.expr], interval(), run)
}

fn intervals(of: impl Fn(&[ArrayRef], usize) -> Result<Span, String> + Send + Sync + 'static) -> Run {
    Arc::new(move |arrays| {
        let result: IntervalMonthDayNanoArray =
            values::<IntervalMonthDayNanoType>(arrays, |row| of(arrays, row).and_then(Span::native).map(Some))?;
        Ok(Arc::new(result))
    })
}

/// A time and an interval: months first, of which a shorter one cuts the day; then the rest.
fn later(time: Typed, span: Typed, sign: i64) -> Typed {
    let from = match &time.kind {
        Kind::Known(kind) => kind.clone(),
        _ => ColumnKind::Timestamp,
    };
    let kind = if from == ColumnKind::TimestampTz { ColumnKind::TimestampTz } else { ColumnKind::Timestamp };
    times(format!("interval {sign}"), vec![time.expr, span.expr], kind, move |arrays, row| {
        let (start, span) = (micros_of(&from, &arrays[0], row), Span::of(&arrays[1], row));
        let too_far = || "a time outside of the years 1 to 9999".to_string();
        let months = span.months * sign;
        let start = match months {
            0 => start,
            _ => {
                let by = Months::new(u32::try_from(months.unsigned_abs()).map_err(|_| too_far())?);
                let start = civil(start)?;
                let end = if months < 0 { start.checked_sub_months(by) } else { start.checked_add_months(by) };
                micros(end.ok_or_else(too_far)?)?
            }
        };
        let end = span.micros.checked_mul(sign).and_then(|by| start.checked_add(by)).ok_or_else(too_far)?;
        micros(civil(end).map_err(|_| too_far())?)
    })
}

/// An interval times a number, or divided by it.
fn scaled(operator: Operator, span: Typed, number: Typed, refused: &str) -> Result<Typed, String> {
    let Kind::Known(kind) = &number.kind else { return Err(format!("{refused}: cast the number")) };
    let is_times = operator == Operator::Times;
    let (number, run) = match kind {
        ColumnKind::Real | ColumnKind::Double => {
            let run = intervals(move |arrays, row| {
                let (span, by) = (Span::of(&arrays[0], row), arrays[1].as_primitive::<Float64Type>().value(row));
                match (is_times, by) {
                    (false, 0.0) => Err("division by zero".into()),
                    (false, by) => span.scaled_float(1.0 / by),
                    (true, by) => span.scaled_float(by),
                }
            });
            (number.to(&ColumnKind::Double)?, run)
        }
        ColumnKind::Decimal(_, scale) => {
            let one = i256::from_i128(10i128.pow((*scale).into()));
            let run = intervals(move |arrays, row| {
                let by = i256::from_i128(arrays[1].as_primitive::<Decimal128Type>().value(row));
                let (over, under) = if is_times { (by, one) } else { (one, by) };
                Span::of(&arrays[0], row).scaled(over, under)
            });
            (number, run)
        }
        kind if as_decimal(kind).is_some() => {
            let run = intervals(move |arrays, row| {
                let (span, by) = (Span::of(&arrays[0], row), arrays[1].as_primitive::<Int64Type>().value(row));
                let (over, under) = if is_times { (by, 1) } else { (1, by) };
                span.scaled(i256::from(over), i256::from(under))
            });
            (number.to(&ColumnKind::BigInt)?, run)
        }
        _ => return Err(format!("{refused}: {kind} is not a number")),
    };
    Ok(call(operator.sign(), vec![span.expr, number.expr], interval(), run))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_an_interval() {
        let second = 1_000_000;
        for (text, from, to, months, micros) in [
            ("1 second", None, None, 0, second),
            ("1 millisecond", None, None, 0, 1_000),
            ("5 s", None, None, 0, 5 * second),
            ("52 weeks", None, None, 0, 364 * DAY),
            ("3 hours, 35 minutes", None, None, 0, (3 * 60 + 35) * 60 * second),
            ("1w, 1h, 1m, 1s", None, None, 0, 7 * DAY + (3600 + 60 + 1) * second),
            ("0.5 days", None, None, 0, DAY / 2),
            ("10", None, None, 0, 10 * second),
            ("6 months", None, None, 6, 0),
            ("1.5 years", None, None, 18, 0),
            ("1 year 2 months -3 days", None, None, 14, -3 * DAY),
            ("1", Some("SECOND"), None, 0, second),
            ("23", Some("MONTH"), None, 23, 0),
            ("-2", Some("DAY"), None, 0, -2 * DAY),
            ("1-2", Some("YEAR"), Some("MONTH"), 14, 0),
            ("1-2", Some("MONTH"), None, 14, 0),
            ("1 2:03:04.5", Some("DAY"), Some("SECOND"), 0, DAY + (2 * 3600 + 3 * 60 + 4) * second + second / 2),
            ("12:34", None, None, 0, (12 * 60 + 34) * 60 * second),
            ("12:34", Some("MINUTE"), Some("SECOND"), 0, (12 * 60 + 34) * second),
            ("1 day 1 hour 1 minute 1.123 seconds", Some("MINUTE"), None, 0, DAY + 3660 * second),
            ("1 year 5 months", Some("YEAR"), None, 12, 0),
        ] {
            assert_eq!(read(text, from, to, None), Ok(Span { months, micros }), "{text}");
        }
        assert_eq!(read("1.23456", Some("SECOND"), None, Some(2)), Ok(Span { months: 0, micros: 1_230_000 }));
        for text in [
            "",
            "soon",
            "1 fortnight",
            "0.5 months",
            "1 day ago",
            "1..5 days",
            "--1 day",
            "1e3 days",
            "1 epoch",
            "99999999999999 years",
        ] {
            assert!(literal(text, None, None, None).is_err(), "{text}");
        }
    }
}
