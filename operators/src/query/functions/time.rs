//! Functions on dates and timestamps. The time zone of a session is UTC.

use std::{borrow::Cow, sync::Arc};

use arrow_array::{
    ArrayRef,
    cast::AsArray,
    types::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType},
};
use chrono::{DateTime, Datelike, Days, LocalResult, Months, NaiveDate, NaiveDateTime, TimeZone, Timelike};
use chrono_tz::Tz;
use connectors::ColumnKind;
use datafusion_physical_expr::PhysicalExpr;

use super::{
    arguments::{Arguments, Function},
    kinds::{TEXT, is_number},
    run::{Run, integer_of, text_of, texts, values},
    typed::{Kind, Typed, call},
};
use crate::values::{arrow::arrow_type, cut, pattern::Pattern, shown, timestamp};

/// The functions on times.
pub const FUNCTIONS: &[Function] = &[
    Function { names: &["date_trunc"], form: "date_trunc('part', time)", compile: date_trunc },
    Function { names: &["dateadd", "date_add"], form: "dateadd(part, number, time)", compile: dateadd },
    Function { names: &["datediff", "date_diff"], form: "datediff(part, from, to)", compile: datediff },
    Function { names: &["date_part"], form: "date_part(part, time)", compile: date_part },
    Function { names: &["last_day"], form: "last_day(time)", compile: last_day },
    Function { names: &["to_char"], form: "to_char(time, 'pattern')", compile: to_char },
    Function {
        names: &["to_date"],
        form: "to_date(text, 'pattern' [, is_strict])",
        compile: |a| read(a, "to_date", &ColumnKind::Date),
    },
    Function {
        names: &["to_timestamp"],
        form: "to_timestamp(text, 'pattern' [, is_strict])",
        compile: |a| read(a, "to_timestamp", &ColumnKind::TimestampTz),
    },
    Function {
        names: &["convert_timezone"],
        form: "convert_timezone(['from',] 'to', timestamp)",
        compile: convert_timezone,
    },
];

/// Functions whose first argument is the name of a part, which may stand without quotes.
pub const PART_FIRST: &[&str] = &["dateadd", "date_add", "datediff", "date_diff", "date_part", "date_trunc"];

/// A part of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    DayOfWeek,
    DayOfYear,
    Epoch,
}

/// <https://docs.aws.amazon.com/redshift/latest/dg/r_Dateparts_for_datetime_functions.html>
pub(super) fn part(name: &str) -> Result<Part, String> {
    Ok(match name.to_lowercase().as_str() {
        "microsecond" | "microsec" | "microsecs" | "microseconds" | "usecond" | "useconds" | "us" | "usec"
        | "usecs" => Part::Microsecond,
        "millisecond" | "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisec" | "millisecs"
        | "milliseconds" => Part::Millisecond,
        "second" | "s" | "sec" | "secs" | "seconds" => Part::Second,
        "minute" | "m" | "min" | "mins" | "minutes" => Part::Minute,
        "hour" | "h" | "hr" | "hrs" | "hours" => Part::Hour,
        "day" | "d" | "days" => Part::Day,
        "week" | "w" | "weeks" => Part::Week,
        "month" | "mon" | "mons" | "months" => Part::Month,
        "quarter" | "qtr" | "qtrs" | "quarters" => Part::Quarter,
        "year" | "y" | "yr" | "yrs" | "years" => Part::Year,
        "dayofweek" | "dow" | "dw" | "weekday" => Part::DayOfWeek,
        "dayofyear" | "doy" | "dy" | "yearday" => Part::DayOfYear,
        "epoch" => Part::Epoch,
        other => return Err(format!("{other:?} is not a part of a time that is known here")),
    })
}

/// Argument `i`, which must be a date or timestamp, and its type.
fn time(arguments: &Arguments, i: usize) -> Result<(Arc<dyn PhysicalExpr>, ColumnKind), String> {
    let argument = arguments.0.get(i).ok_or("an argument is missing")?;
    match &argument.kind {
        Kind::Known(kind @ (ColumnKind::Date | ColumnKind::Timestamp | ColumnKind::TimestampTz)) => {
            Ok((argument.expr.clone(), kind.clone()))
        }
        Kind::Quoted(_) | Kind::Null => Ok((argument.clone().to(&ColumnKind::Timestamp)?.expr, ColumnKind::Timestamp)),
        Kind::Known(other) => Err(format!("argument {} is {other} and should be a date or timestamp: cast it", i + 1)),
    }
}

/// Microseconds since 1970, of a date its midnight.
pub(super) fn micros_of(kind: &ColumnKind, array: &ArrayRef, row: usize) -> i64 {
    match kind {
        ColumnKind::Date => i64::from(array.as_primitive::<Date32Type>().value(row)) * 86_400_000_000,
        _ => array.as_primitive::<TimestampMicrosecondType>().value(row),
    }
}

pub(super) fn civil(micros: i64) -> Result<NaiveDateTime, String> {
    DateTime::from_timestamp_micros(micros).map(|t| t.naive_utc()).ok_or_else(|| "a time out of range".into())
}

pub(super) fn micros(time: NaiveDateTime) -> Result<i64, String> {
    let micros = time.and_utc().timestamp_micros();
    match (timestamp::FIRST..=timestamp::LAST).contains(&micros) {
        true => Ok(micros),
        false => Err("a time outside of the years 1 to 9999".into()),
    }
}

/// A call that gives times of one type.
pub(super) fn times(
    name: String,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    kind: ColumnKind,
    of: impl Fn(&[ArrayRef], usize) -> Result<i64, String> + Send + Sync + 'static,
) -> Typed {
    let arrow = arrow_type(&kind);
    let run: Run = Arc::new(move |arrays| {
        let result = values::<TimestampMicrosecondType>(arrays, |row| of(arrays, row).map(Some))?;
        Ok(match &arrow {
            Some(arrow) => Arc::new(result.with_data_type(arrow.clone())) as ArrayRef,
            None => Arc::new(result),
        })
    });
    call(name, arguments, kind, run)
}

fn truncate(part: Part, time: NaiveDateTime) -> NaiveDateTime {
    let day = time.date();
    let at = |date: Option<NaiveDate>| date.unwrap_or(day).and_hms_opt(0, 0, 0).unwrap_or(time);
    let unit = |nanos: i64| {
        let rest = i64::from(time.num_seconds_from_midnight()) * 1_000_000_000 + i64::from(time.nanosecond());
        time - chrono::TimeDelta::nanoseconds(rest % nanos)
    };
    match part {
        Part::Microsecond => unit(1_000),
        Part::Millisecond => unit(1_000_000),
        Part::Second => unit(1_000_000_000),
        Part::Minute => unit(60_000_000_000),
        Part::Hour => unit(3_600_000_000_000),
        // Weeks begin on Monday.
        Part::Week => at(day.checked_sub_days(Days::new(u64::from(day.weekday().num_days_from_monday())))),
        Part::Month => at(day.with_day(1)),
        Part::Quarter => at(NaiveDate::from_ymd_opt(day.year(), day.month0() / 3 * 3 + 1, 1)),
        Part::Year => at(NaiveDate::from_ymd_opt(day.year(), 1, 1)),
        Part::Day | Part::DayOfWeek | Part::DayOfYear | Part::Epoch => at(Some(day)),
    }
}

fn date_trunc(arguments: Arguments) -> Result<Typed, String> {
    arguments.count(2..=2)?;
    let part = part(arguments.quoted(0)?)?;
    if part > Part::Year {
        return Err(format!("date_trunc() does not take '{}'", arguments.quoted(0)?));
    }
    let (argument, kind) = time(&arguments, 1)?;
    let result = if kind == ColumnKind::TimestampTz { ColumnKind::TimestampTz } else { ColumnKind::Timestamp };
    Ok(times(format!("date_trunc {part:?}"), vec![argument], result, move |arrays, row| {
        micros(truncate(part, civil(micros_of(&kind, &arrays[0], row))?))
    }))
}

fn dateadd(arguments: Arguments) -> Result<Typed, String> {
    arguments.count(3..=3)?;
    let part = part(arguments.quoted(0)?)?;
    if part > Part::Year {
        return Err(format!("dateadd() does not take '{}'", arguments.quoted(0)?));
    }
    let ((argument, kind), number) = (time(&arguments, 2)?, arguments.integer(1)?);
    let result = if kind == ColumnKind::TimestampTz { ColumnKind::TimestampTz } else { ColumnKind::Timestamp };
    Ok(times(format!("dateadd {part:?}"), vec![number, argument], result, move |arrays, row| {
        let (number, start) = (integer_of(&arrays[0], row), micros_of(&kind, &arrays[1], row));
        let too_far = || "a time outside of the years 1 to 9999".to_string();
        let plus = |unit: i64| number.checked_mul(unit).and_then(|by| start.checked_add(by)).ok_or_else(too_far);
        let months = |each: i64| -> Result<NaiveDateTime, String> {
            let months = number.checked_mul(each).ok_or_else(too_far)?;
            let by = Months::new(u32::try_from(months.unsigned_abs()).map_err(|_| too_far())?);
            let start = civil(start)?;
            let end = if months < 0 { start.checked_sub_months(by) } else { start.checked_add_months(by) };
            end.ok_or_else(too_far)
        };
        let end = match part {
            Part::Microsecond => plus(1)?,
            Part::Millisecond => plus(1_000)?,
            Part::Second => plus(1_000_000)?,
            Part::Minute => plus(60_000_000)?,
            Part::Hour => plus(3_600_000_000)?,
            Part::Day => plus(86_400_000_000)?,
            Part::Week => plus(7 * 86_400_000_000)?,
            Part::Month => return micros(months(1)?),
            Part::Quarter => return micros(months(3)?),
            _ => return micros(months(12)?),
        };
        micros(civil(end)?)
    }))
}

/// How many boundaries of the part lie between the two.
fn datediff(arguments: Arguments) -> Result<Typed, String> {
    arguments.count(3..=3)?;
    let part = part(arguments.quoted(0)?)?;
    if part == Part::Week {
        return Err("where a week begins for datediff() is not documented: use datediff(day, ...) / 7".into());
    }
    if part > Part::Year {
        return Err(format!("datediff() does not take '{}'", arguments.quoted(0)?));
    }
    let ((from, from_kind), (to, to_kind)) = (time(&arguments, 1)?, time(&arguments, 2)?);
    let count = move |micros: i64| -> Result<i64, String> {
        let time = civil(micros)?;
        let months = i64::from(time.year()) * 12 + i64::from(time.month0());
        Ok(match part {
            Part::Microsecond => micros,
            Part::Millisecond => micros.div_euclid(1_000),
            Part::Second => micros.div_euclid(1_000_000),
            Part::Minute => micros.div_euclid(60_000_000),
            Part::Hour => micros.div_euclid(3_600_000_000),
            Part::Month => months,
            Part::Quarter => months.div_euclid(3),
            Part::Year => months.div_euclid(12),
            _ => micros.div_euclid(86_400_000_000),
        })
    };
    let run: Run = Arc::new(move |arrays| {
        let result = values::<Int64Type>(arrays, |row| {
            let from = count(micros_of(&from_kind, &arrays[0], row))?;
            Ok(Some(count(micros_of(&to_kind, &arrays[1], row))? - from))
        })?;
        Ok(Arc::new(result))
    });
    Ok(call(format!("datediff {part:?}"), vec![from, to], ColumnKind::BigInt, run))
}

fn date_part(arguments: Arguments) -> Result<Typed, String> {
    arguments.count(2..=2)?;
    let part = part(arguments.quoted(0)?)?;
    let (argument, kind) = time(&arguments, 1)?;
    let run: Run = Arc::new(move |arrays| {
        let result = values::<Float64Type>(arrays, |row| {
            let micros = micros_of(&kind, &arrays[0], row);
            let time = civil(micros)?;
            let in_minute = micros.rem_euclid(60_000_000);
            Ok(Some(match part {
                Part::Microsecond => in_minute as f64,
                Part::Millisecond => in_minute as f64 / 1e3,
                Part::Second => (in_minute / 1_000_000) as f64,
                Part::Minute => f64::from(time.minute()),
                Part::Hour => f64::from(time.hour()),
                Part::Day => f64::from(time.day()),
                Part::Week => f64::from(time.iso_week().week()),
                Part::Month => f64::from(time.month()),
                Part::Quarter => f64::from(time.month0() / 3 + 1),
                Part::Year => f64::from(time.year()),
                Part::DayOfWeek => f64::from(time.weekday().num_days_from_sunday()),
                Part::DayOfYear => f64::from(time.ordinal()),
                Part::Epoch => micros.div_euclid(1_000_000) as f64,
            }))
        })?;
        Ok(Arc::new(result))
    });
    // Whole numbers all, but for milliseconds.
    let typed = call(format!("date_part {part:?}"), vec![argument], ColumnKind::Double, run);
    match part {
        Part::Millisecond => Ok(typed),
        Part::Epoch => typed.to(&ColumnKind::BigInt),
        _ => typed.to(&ColumnKind::Integer),
    }
}

fn last_day(arguments: Arguments) -> Result<Typed, String> {
    arguments.count(1..=1)?;
    let (argument, kind) = time(&arguments, 0)?;
    let run: Run = Arc::new(move |arrays| {
        let result = values::<Date32Type>(arrays, |row| {
            let day = civil(micros_of(&kind, &arrays[0], row))?.date();
            let first = day.with_day(1).and_then(|first| first.checked_add_months(Months::new(1)));
            let last = first.and_then(|next| next.pred_opt()).ok_or("a time out of range")?;
            Ok(Some((last.and_hms_opt(0, 0, 0).unwrap_or_default().and_utc().timestamp() / 86_400) as i32))
        })?;
        Ok(Arc::new(result))
    });
    Ok(call("last_day", vec![argument], ColumnKind::Date, run))
}

fn to_char(arguments: Arguments) -> Result<Typed, String> {
    arguments.count(2..=2)?;
    if let Some(kind) = arguments.0[0].known().filter(is_number) {
        return Err(format!("to_char() of a {kind} is not supported: cast it as varchar"));
    }
    let ((argument, kind), text) = (time(&arguments, 0)?, arguments.quoted(1)?);
    let pattern = Pattern::parse(text)?;
    let run: Run = Arc::new(move |arrays| {
        texts(arrays, |row| Ok(Some(Cow::Owned(pattern.show(&civil(micros_of(&kind, &arrays[0], row))?)))))
    });
    Ok(call(format!("to_char {text:?}"), vec![argument], TEXT, run))
}

fn read(mut arguments: Arguments, name: &str, kind: &ColumnKind) -> Result<Typed, String> {
    let strict = arguments.last_word().unwrap_or(false);
    arguments.count(2..=2)?;
    let text = arguments.quoted(1)?;
    let pattern = Pattern::parse(text)?;
    if let Some(why) = pattern.unreadable() {
        return Err(why);
    }
    let wanted = text.to_string();
    let typed = times(
        format!("{name} {text:?} {strict}"),
        vec![arguments.text(0)?],
        ColumnKind::TimestampTz,
        move |arrays, row| {
            let text = text_of(&arrays[0], row);
            let time = pattern.read(text.trim_matches(' '), strict);
            // What does not depend on the record stands before the first colon, and a pattern may have one.
            let time =
                time.map_err(|why| format!("not a time of that form: {} as {wanted} ({why})", shown(cut(text, 100))))?;
            micros(time)
        },
    );
    typed.to(kind)
}

/// A time of the wall in one zone, as the wall of another shows it. Times that the first never showed (when clocks were put
/// forward) are read with the offset before the change, and those it showed twice as the later one, as PostgreSQL does it.
fn convert_timezone(mut arguments: Arguments) -> Result<Typed, String> {
    arguments.count(2..=3)?;
    if arguments.len() == 2 {
        arguments.0.insert(0, Typed::quoted("UTC".into()));
    }
    let zone = |name: &str| {
        let found = name.parse::<Tz>();
        found.map_err(|_| format!("{name:?} is not a time zone: write it like 'Europe/Berlin'"))
    };
    let (from, to) = (zone(arguments.quoted(0)?)?, zone(arguments.quoted(1)?)?);
    let (argument, kind) = time(&arguments, 2)?;
    Ok(times(format!("convert_timezone {from} {to}"), vec![argument], ColumnKind::Timestamp, move |arrays, row| {
        let wall = civil(micros_of(&kind, &arrays[0], row))?;
        // A moment has its zone.
        let from = if kind == ColumnKind::TimestampTz { Tz::UTC } else { from };
        let moment = match from.from_local_datetime(&wall) {
            LocalResult::Single(moment) => moment,
            LocalResult::Ambiguous(_, later) => later,
            LocalResult::None => {
                let before = from.offset_from_utc_datetime(&(wall - chrono::TimeDelta::days(1)));
                from.from_utc_datetime(&(wall - chrono::Offset::fix(&before)))
            }
        };
        micros(moment.with_timezone(&to).naive_local())
    }))
}
