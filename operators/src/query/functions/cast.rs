//! CAST, and what becomes of a value where another type is asked for.
//!
//! As Redshift does it: numbers lose places by rounding (decimals half away from zero, floats to the even one), text is cut
//! to the length of its new type, and what a type cannot hold is an error.
//! <https://docs.aws.amazon.com/redshift/latest/dg/c_Supported_data_types.html#r_Type_conversion>

use std::{borrow::Cow, sync::Arc};

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, PrimitiveArray,
    cast::AsArray,
    types::{
        ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
        TimestampMicrosecondType,
    },
};
use connectors::ColumnKind;

use super::{
    kinds::{as_decimal, is_number},
    run::{Run, text_of, texts, values},
    written_time,
};
use crate::values::{Action, Problem, arrow::arrow_type, cut, number, shown, timestamp};

const DAY: i64 = 86_400_000_000;

/// The type that two expressions share where one of either is asked for; `None` if there is none.
pub fn common(a: &ColumnKind, b: &ColumnKind) -> Option<ColumnKind> {
    use ColumnKind::*;
    Some(match (a, b) {
        (a, b) if a == b => a.clone(),
        (Char(n) | Varchar(n), Char(m) | Varchar(m)) => Varchar(*n.max(m)),
        (Varbyte(n), Varbyte(m)) => Varbyte(*n.max(m)),
        (Double, n) | (n, Double) if is_number(n) => Double,
        (Real, n) | (n, Real) if is_number(n) => Double,
        (BigInt, SmallInt | Integer) | (SmallInt | Integer, BigInt) => BigInt,
        (Integer, SmallInt) | (SmallInt, Integer) => Integer,
        (Date, Timestamp) | (Timestamp, Date) => Timestamp,
        (Date | Timestamp, TimestampTz) | (TimestampTz, Date | Timestamp) => TimestampTz,
        (a, b) => {
            let ((p1, s1), (p2, s2)) = (as_decimal(a)?, as_decimal(b)?);
            let scale = s1.max(s2);
            let precision = (p1 - s1).max(p2 - s2) + scale;
            // More than there is room for: one of them must be cast, or good values would not compare.
            return (precision <= 38).then_some(Decimal(precision, scale));
        }
    })
}

/// What casts one type to another; `None` if Redshift has no such cast, or what it does is not known.
pub fn cast(from: &ColumnKind, to: &ColumnKind) -> Option<Run> {
    use ColumnKind::*;
    let (name, arrow) = (to.to_string(), arrow_type(to)?);
    Some(match (from, to) {
        (Char(_) | Varchar(_), Char(most) | Varchar(most)) => shorten(*most as usize, matches!(to, Char(_))),
        (Char(_) | Varchar(_), _) => return from_text(to),
        (SmallInt | Integer | BigInt | Decimal(..), SmallInt | Integer | BigInt | Decimal(..)) => {
            let (_, scale) = as_decimal(from)?;
            let (precision, new_scale) = as_decimal(to)?;
            let from = from.clone();
            let of = move |array: &ArrayRef, row: usize| exact(&from, array, row);
            let rescale = move |value| number::rescale(value, scale, precision, new_scale, Action::Round);
            match to {
                Decimal(..) => Arc::new(move |arrays| {
                    let cast =
                        |row| rescale(of(&arrays[0], row)).map(|(value, _)| Some(value)).map_err(Problem::reason);
                    Ok(Arc::new(values::<Decimal128Type>(arrays, cast)?.with_data_type(arrow.clone())))
                }),
                SmallInt => integers::<Int16Type>(name, of, rescale),
                Integer => integers::<Int32Type>(name, of, rescale),
                _ => integers::<Int64Type>(name, of, rescale),
            }
        }
        (SmallInt | Integer | BigInt | Decimal(..) | Real | Double, Real | Double) => {
            let from = from.clone();
            let single = *to == Real;
            Arc::new(move |arrays| {
                let of = |row| float(&from, &arrays[0], row);
                Ok(match single {
                    true => Arc::new(values::<Float32Type>(arrays, |row| match of(row)? as f32 {
                        value if value.is_infinite() && of(row)?.is_finite() => {
                            Err(format!("out of range for real: {}", number::float_text(of(row)?)))
                        }
                        value => Ok(Some(value)),
                    })?),
                    false => Arc::new(values::<Float64Type>(arrays, |row| of(row).map(Some))?) as ArrayRef,
                })
            })
        }
        (Real | Double, SmallInt | Integer | BigInt) => {
            let (from, to) = (from.clone(), to.clone());
            Arc::new(move |arrays| {
                let of = |row| -> Result<i64, String> {
                    let value = float(&from, &arrays[0], row)?;
                    let rounded = value.round_ties_even();
                    // 2^63 itself is a float, and no bigint.
                    match (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&rounded) {
                        true => Ok(rounded as i64),
                        false => Err(format!("out of range for {to}: {}", number::float_text(value))),
                    }
                };
                let narrow = |row| of(row).map(|value| (value, format!("out of range for {to}: {value}")));
                Ok(match to {
                    SmallInt => Arc::new(values::<Int16Type>(arrays, |row| {
                        let (value, why) = narrow(row)?;
                        value.try_into().map(Some).map_err(|_| why)
                    })?) as ArrayRef,
                    Integer => Arc::new(values::<Int32Type>(arrays, |row| {
                        let (value, why) = narrow(row)?;
                        value.try_into().map(Some).map_err(|_| why)
                    })?),
                    _ => Arc::new(values::<Int64Type>(arrays, |row| of(row).map(Some))?),
                })
            })
        }
        (Real | Double, Decimal(precision, scale)) => {
            let (from, precision, scale) = (from.clone(), *precision, *scale);
            Arc::new(move |arrays| {
                let result = values::<Decimal128Type>(arrays, |row| {
                    // By its shortest text, as the float would be shown.
                    let value = float(&from, &arrays[0], row)?;
                    if !value.is_finite() {
                        return Err(format!("out of range for decimal({precision},{scale}): {value}"));
                    }
                    let text = if from == Real { number::float_text(value as f32) } else { number::float_text(value) };
                    let (value, _) =
                        number::decimal(&text, precision, scale, Action::Round).map_err(Problem::reason)?;
                    Ok(Some(value))
                })?;
                Ok(Arc::new(result.with_data_type(arrow.clone())))
            })
        }
        (SmallInt | Integer | BigInt, Boolean) => {
            let from = from.clone();
            Arc::new(move |arrays| {
                let array = &arrays[0];
                let bits = (0..array.len()).map(|row| array.is_valid(row).then(|| exact(&from, array, row) != 0));
                Ok(Arc::new(BooleanArray::from_iter(bits)))
            })
        }
        (Boolean, SmallInt | Integer | BigInt) => {
            let to = to.clone();
            Arc::new(move |arrays| {
                let bits = arrays[0].as_boolean();
                Ok(match to {
                    SmallInt => {
                        Arc::new(values::<Int16Type>(arrays, |row| Ok(Some(i16::from(bits.value(row)))))?) as ArrayRef
                    }
                    Integer => Arc::new(values::<Int32Type>(arrays, |row| Ok(Some(i32::from(bits.value(row)))))?),
                    _ => Arc::new(values::<Int64Type>(arrays, |row| Ok(Some(i64::from(bits.value(row)))))?),
                })
            })
        }
        (_, Varchar(most) | Char(most)) => return to_text(from, *most as usize),
        (Varbyte(_), Varbyte(most)) => {
            let most = *most as usize;
            Arc::new(move |arrays| {
                let bytes = arrays[0].as_binary::<i32>();
                let cut = bytes.iter().map(|value| value.map(|value| &value[..value.len().min(most)]));
                Ok(Arc::new(BinaryArray::from_iter(cut)))
            })
        }
        (Date, Timestamp | TimestampTz) => {
            micros(arrow, |array, row| Ok(i64::from(array.as_primitive::<Date32Type>().value(row)) * DAY))
        }
        (Timestamp | TimestampTz, Timestamp | TimestampTz) => {
            micros(arrow, |array, row| Ok(array.as_primitive::<TimestampMicrosecondType>().value(row)))
        }
        (Timestamp | TimestampTz, Date) => Arc::new(|arrays| {
            let micros = arrays[0].as_primitive::<TimestampMicrosecondType>();
            let days = values::<Date32Type>(arrays, |row| Ok(Some(micros.value(row).div_euclid(DAY) as i32)))?;
            Ok(Arc::new(days))
        }),
        _ => return None,
    })
}

/// A whole or decimal number, in units of its last place.
fn exact(kind: &ColumnKind, array: &ArrayRef, row: usize) -> i128 {
    match kind {
        ColumnKind::SmallInt => i128::from(array.as_primitive::<Int16Type>().value(row)),
        ColumnKind::Integer => i128::from(array.as_primitive::<Int32Type>().value(row)),
        ColumnKind::BigInt => i128::from(array.as_primitive::<Int64Type>().value(row)),
        _ => array.as_primitive::<Decimal128Type>().value(row),
    }
}

fn float(kind: &ColumnKind, array: &ArrayRef, row: usize) -> Result<f64, String> {
    match kind {
        ColumnKind::Real => Ok(f64::from(array.as_primitive::<Float32Type>().value(row))),
        ColumnKind::Double => Ok(array.as_primitive::<Float64Type>().value(row)),
        ColumnKind::Decimal(_, scale) => {
            // Through its text, so that it is the nearest float.
            let text = number::decimal_text(exact(kind, array, row), *scale);
            text.parse().map_err(|_| format!("out of range for double precision: {text}"))
        }
        _ => Ok(exact(kind, array, row) as f64),
    }
}

fn integers<T: ArrowPrimitiveType>(
    name: String,
    of: impl Fn(&ArrayRef, usize) -> i128 + Send + Sync + 'static,
    rescale: impl Fn(i128) -> Result<(i128, bool), Problem> + Send + Sync + 'static,
) -> Run
where
    T::Native: TryFrom<i128>,
{
    Arc::new(move |arrays| {
        let result = values::<T>(arrays, |row| {
            let value = of(&arrays[0], row);
            let why = |_| format!("out of range for {name}: {value}");
            let (value, _) = rescale(value).map_err(|_| why(()))?;
            T::Native::try_from(value).map(Some).map_err(|_| why(()))
        })?;
        Ok(Arc::new(result))
    })
}

fn micros(
    arrow: arrow_schema::DataType,
    of: impl Fn(&ArrayRef, usize) -> Result<i64, String> + Send + Sync + 'static,
) -> Run {
    Arc::new(move |arrays| {
        let result: PrimitiveArray<TimestampMicrosecondType> = values(arrays, |row| of(&arrays[0], row).map(Some))?;
        Ok(Arc::new(result.with_data_type(arrow.clone())))
    })
}

/// Text that is cut to so many bytes, as an explicit cast does.
fn shorten(most: usize, single: bool) -> Run {
    Arc::new(move |arrays| {
        // Nearly always there is nothing to cut.
        let array = arrays[0].as_string::<i32>();
        if !single && array.offsets().lengths().all(|length| length <= most) {
            return Ok(arrays[0].clone());
        }
        texts(arrays, |row| {
            let text = text_of(&arrays[0], row);
            match single && !text.is_ascii() {
                true => Err("a character of several bytes where char takes only those of one".into()),
                false => Ok(Some(Cow::Borrowed(cut(text, most)))),
            }
        })
    })
}

fn from_text(to: &ColumnKind) -> Option<Run> {
    use ColumnKind::*;
    let (name, arrow) = (to.to_string(), arrow_type(to)?);
    let article = if name.starts_with('i') { "an" } else { "a" };
    let bad = move |text: &str| format!("not {article} {name}: {}", shown(cut(text, 100)));
    Some(match to {
        SmallInt | Integer | BigInt => {
            let to = to.clone();
            Arc::new(move |arrays| {
                macro_rules! parse {
                    ($kind:ty) => {
                        Arc::new(values::<$kind>(arrays, |row| {
                            let text = text_of(&arrays[0], row);
                            text.trim_matches(' ').parse().map(Some).map_err(|_| bad(text))
                        })?)
                    };
                }
                Ok(match to {
                    SmallInt => parse!(Int16Type) as ArrayRef,
                    Integer => parse!(Int32Type),
                    _ => parse!(Int64Type),
                })
            })
        }
        Decimal(precision, scale) => {
            let (precision, scale) = (*precision, *scale);
            Arc::new(move |arrays| {
                let result = values::<Decimal128Type>(arrays, |row| {
                    let text = text_of(&arrays[0], row);
                    let number = text.trim_matches(' ');
                    let number = number.strip_prefix('+').unwrap_or(number);
                    if !is_decimal(number) {
                        return Err(bad(text));
                    }
                    let read = number::decimal(number, precision, scale, Action::Round);
                    read.map(|(value, _)| Some(value)).map_err(Problem::reason)
                })?;
                Ok(Arc::new(result.with_data_type(arrow.clone())))
            })
        }
        Real | Double => {
            let single = *to == Real;
            Arc::new(move |arrays| {
                let read = |row: usize| -> Result<(&str, Option<f64>), String> {
                    let text = text_of(&arrays[0], row);
                    let number = text.trim_matches(' ');
                    let special = ["nan", "infinity", "-infinity"].iter().any(|s| number.eq_ignore_ascii_case(s));
                    match (special, is_decimal(number.strip_prefix('+').unwrap_or(number))) {
                        (true, _) => Ok((number, number.parse().ok())),
                        (_, true) => Ok((number, None)),
                        _ => Err(bad(text)),
                    }
                };
                Ok(match single {
                    true => Arc::new(values::<Float32Type>(arrays, |row| match read(row)? {
                        (_, Some(special)) => Ok(Some(special as f32)),
                        (text, None) => number::real(text).map(Some).map_err(Problem::reason),
                    })?) as ArrayRef,
                    false => Arc::new(values::<Float64Type>(arrays, |row| match read(row)? {
                        (_, Some(special)) => Ok(Some(special)),
                        (text, None) => number::double(text).map(Some).map_err(Problem::reason),
                    })?),
                })
            })
        }
        Boolean => Arc::new(move |arrays| {
            let words = arrays[0].as_string::<i32>();
            let bits = words.iter().map(|word| word.map(|word| boolean(word).ok_or_else(|| bad(word))).transpose());
            Ok(Arc::new(bits.collect::<Result<BooleanArray, String>>()?))
        }),
        Date => Arc::new(move |arrays| {
            let result = values::<Date32Type>(arrays, |row| {
                let text = text_of(&arrays[0], row);
                let read = read_moment(text, false).map_err(|why| format!("{} ({why})", bad(text)))?;
                Ok(Some(read.div_euclid(DAY) as i32))
            })?;
            Ok(Arc::new(result))
        }),
        Timestamp | TimestampTz => {
            let zoned = *to == TimestampTz;
            micros(arrow, move |array, row| {
                let text = text_of(array, row);
                read_moment(text, zoned).map_err(|why| format!("{} ({why})", bad(text)))
            })
        }
        Varbyte(most) => {
            let most = *most as usize;
            Arc::new(move |arrays| {
                let bytes = arrays[0].as_string::<i32>().iter();
                let cut = bytes.map(|text| text.map(|text| &text.as_bytes()[..text.len().min(most)]));
                Ok(Arc::new(BinaryArray::from_iter(cut)))
            })
        }
        _ => return None,
    })
}

/// A day, a time of the wall, or, where an offset may stand, a moment; without one it is UTC. ISO 8601 is tried first.
fn read_moment(text: &str, zoned: bool) -> Result<i64, String> {
    let text = text.trim_matches(' ');
    if text.len() == 10
        && let Ok(days) = timestamp::day(text)
    {
        return Ok(i64::from(days) * DAY);
    }
    match timestamp::wall_clock(text) {
        Ok((micros, _)) => Ok(micros),
        Err(_) if zoned => match timestamp::moment(text) {
            Ok((micros, _)) => Ok(micros),
            Err(_) => written_time::read(text, zoned),
        },
        Err(_) => written_time::read(text, zoned),
    }
}

fn boolean(word: &str) -> Option<bool> {
    match word.trim_matches(' ').to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// Digits with a point, a sign before them and an exponent after, as SQL writes numbers.
fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(m, e)| (m, Some(e)));
    let whole = match mantissa.split_once('.') {
        None => digits(mantissa),
        Some((a, b)) => (digits(a) || a.is_empty()) && (digits(b) || b.is_empty()) && !(a.is_empty() && b.is_empty()),
    };
    whole && exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}

fn to_text(from: &ColumnKind, most: usize) -> Option<Run> {
    use ColumnKind::*;
    let from = from.clone();
    let known =
        matches!(from, SmallInt | Integer | BigInt | Decimal(..) | Real | Double | Date | Timestamp | TimestampTz);
    known.then(|| -> Run {
        Arc::new(move |arrays| {
            texts(arrays, |row| {
                let text = text(&from, &arrays[0], row);
                match text.len() <= most {
                    true => Ok(Some(Cow::Owned(text))),
                    // Half a number is another number.
                    false => Err(format!("longer than varchar({most}): {text}")),
                }
            })
        })
    })
}

/// A value as Redshift shows it.
pub fn text(kind: &ColumnKind, array: &ArrayRef, row: usize) -> String {
    use ColumnKind::*;
    match kind {
        Real => float_text(format!("{:e}", array.as_primitive::<Float32Type>().value(row)), 6),
        Double => float_text(format!("{:e}", array.as_primitive::<Float64Type>().value(row)), 15),
        Decimal(_, scale) => number::decimal_text(exact(kind, array, row), *scale),
        Date => moment_text(i64::from(array.as_primitive::<Date32Type>().value(row)) * DAY)[..10].into(),
        Timestamp => moment_text(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        TimestampTz => moment_text(array.as_primitive::<TimestampMicrosecondType>().value(row)) + "+00",
        _ => exact(kind, array, row).to_string(),
    }
}

fn moment_text(micros: i64) -> String {
    let text = checkpoint::Micros(micros).to_text();
    match text.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|b| b == b'0') => whole.into(),
        _ => text.trim_end_matches('0').into(),
    }
}

/// The shortest digits that give the same float, with an exponent where there are more places than that before the point or
/// more than four zeros after it.
fn float_text(scientific: String, digits_most: i32) -> String {
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific.replace("inf", "Infinity");
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits = mantissa.replace('.', "");
    if exponent < -4 || exponent >= digits_most {
        return format!("{sign}{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
    }
    if exponent < 0 {
        return format!("{sign}0.{}{digits}", "0".repeat((-exponent - 1) as usize));
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        return format!("{sign}{digits}{}", "0".repeat(whole - digits.len()));
    }
    format!("{sign}{}.{}", &digits[..whole], &digits[whole..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_as_they_are_shown() {
        for (value, shown) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (100.0, "100"),
            (-0.001, "-0.001"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (123_456_789_012_345.0, "123456789012345"),
            (1e15, "1e+15"),
            (1.25e300, "1.25e+300"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(float_text(format!("{value:e}"), 15), shown);
        }
    }

    #[test]
    fn what_is_a_number() {
        for good in ["1", "-1", "1.", ".5", "1e5", "1.5E-7"] {
            assert!(is_decimal(good), "{good}");
        }
        for bad in ["", "-", ".", "1e", "e5", "1,5", "0x1", "--1", "nan", "1 2", "١"] {
            assert!(!is_decimal(bad), "{bad}");
        }
    }
}
