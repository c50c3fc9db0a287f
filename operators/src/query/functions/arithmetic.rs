//! Numbers: `+ - * / %` and the functions on them.
//!
//! Types of results follow Redshift: <https://docs.aws.amazon.com/redshift/latest/dg/r_numeric_computations201.html>. Whole
//! numbers stay of the wider type of the two, and what does not fit into it is an error, never wrapped; decimals get the
//! documented precision and scale; a quotient of decimals is rounded half away from zero.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType,
    cast::AsArray,
    types::{Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type},
};
use arrow_buffer::i256;
use connectors::ColumnKind;

use super::{
    arguments::{Arguments, Function},
    kinds::{as_decimal, is_number},
    run::{Run, values},
    typed::{Kind, Typed, call},
};
use crate::values::arrow::arrow_type;

/// An arithmetic operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `+`
    Plus,
    /// `-`
    Minus,
    /// `*`
    Times,
    /// `/`
    By,
    /// `%`
    Modulo,
}

impl Operator {
    pub(super) fn sign(self) -> &'static str {
        match self {
            Operator::Plus => "+",
            Operator::Minus => "-",
            Operator::Times => "*",
            Operator::By => "/",
            Operator::Modulo => "%",
        }
    }
}

/// Compiles `left operator right`.
pub fn operator(operator: Operator, left: Typed, right: Typed) -> Result<Typed, String> {
    // A text in quotes becomes what the other side is; beside a decimal, the decimal that it says.
    let (left, right) = (left.beside(&right)?, right.beside(&left)?);
    let other = |this: &Typed, other: &Typed| match (&this.kind, &other.kind) {
        (Kind::Known(kind), _) => Some(kind.clone()),
        (_, Kind::Known(kind)) => Some(kind.clone()),
        _ => None,
    };
    let (Some(l), Some(r)) = (other(&left, &right), other(&right, &left)) else {
        return Err(format!("{} {} {}: of what type? Cast one of them", left.kind, operator.sign(), right.kind));
    };
    if let Some(kind) = [&l, &r].into_iter().find(|kind| !is_number(kind)) {
        let help = match kind {
            ColumnKind::Date | ColumnKind::Timestamp | ColumnKind::TimestampTz => {
                "add an interval, as in t + interval '1 day', or use dateadd() or datediff()"
            }
            ColumnKind::Varchar(_) | ColumnKind::Char(_) => "cast it; texts are joined by ||",
            _ => "cast it",
        };
        return Err(format!("{kind} is not a number: {help}"));
    }
    use ColumnKind::*;
    let result = match (&l, &r) {
        (Real, Real) => Real,
        (Real | Double, _) | (_, Real | Double) => Double,
        (Decimal(..), _) | (_, Decimal(..)) => {
            let (Some(a), Some(b)) = (as_decimal(&l), as_decimal(&r)) else { return Err("no decimals".into()) };
            return decimals(operator, left.to(&Decimal(a.0, a.1))?, a, right.to(&Decimal(b.0, b.1))?, b);
        }
        (BigInt, _) | (_, BigInt) => BigInt,
        (Integer, _) | (_, Integer) => Integer,
        _ => SmallInt,
    };
    if matches!(result, Real | Double) && operator == Operator::Modulo {
        return Err("% is for whole and decimal numbers: cast them".into());
    }
    let name = result.to_string();
    let run = match result {
        SmallInt => natives::<Int16Type>(operator, name, |_| false),
        Integer => natives::<Int32Type>(operator, name, |_| false),
        BigInt => natives::<Int64Type>(operator, name, |_| false),
        Real => natives::<Float32Type>(operator, name, f32::is_infinite),
        _ => natives::<Float64Type>(operator, name, f64::is_infinite),
    };
    let arguments = vec![left.to(&result)?.expr, right.to(&result)?.expr];
    Ok(call(operator.sign(), arguments, result, run))
}

/// `infinite` tells a float that became too large: arrow does not call that an overflow, and Redshift does.
fn natives<T: ArrowPrimitiveType>(operator: Operator, kind: String, infinite: fn(T::Native) -> bool) -> Run {
    Arc::new(move |arrays| {
        let (left, right) = (arrays[0].as_primitive::<T>(), arrays[1].as_primitive::<T>());
        let result = values::<T>(arrays, |row| {
            let (a, b) = (left.value(row), right.value(row));
            if b.is_zero() && matches!(operator, Operator::By | Operator::Modulo) {
                return Err("division by zero".into());
            }
            let result = match operator {
                Operator::Plus => a.add_checked(b),
                Operator::Minus => a.sub_checked(b),
                Operator::Times => a.mul_checked(b),
                Operator::By => a.div_checked(b),
                Operator::Modulo => a.mod_checked(b),
            };
            match result {
                Ok(value) if !infinite(value) || infinite(a) || infinite(b) => Ok(Some(value)),
                _ => Err(format!("out of range for {kind}: {a:?} {} {b:?}", operator.sign())),
            }
        })?;
        Ok(Arc::new(result))
    })
}

fn decimals(
    operator: Operator,
    left: Typed,
    (p1, s1): (u8, u8),
    right: Typed,
    (p2, s2): (u8, u8),
) -> Result<Typed, String> {
    let (p1, s1, p2, s2) = (i32::from(p1), i32::from(s1), i32::from(p2), i32::from(s2));
    let (precision, scale) = match operator {
        Operator::Plus | Operator::Minus => {
            let scale = s1.max(s2);
            ((p1 - s1).max(p2 - s2) + 1 + scale, scale)
        }
        Operator::Times => (p1 + p2 + 1, s1 + s2),
        Operator::By => {
            let scale = 4.max(s1 + p2 - s2 + 1);
            let precision = p1 - s1 + s2 + scale;
            // More than there is room for: places after the point give way, though not the last four.
            let scale = if precision > 38 { (scale - (precision - 38)).max(4) } else { scale };
            (precision, scale)
        }
        Operator::Modulo => {
            let scale = s1.max(s2);
            ((p1 - s1).max(p2 - s2) + scale, scale)
        }
    };
    if scale > 37 {
        return Err(format!("the result would have {scale} digits after the point: cast one of them to fewer"));
    }
    let (precision, scale) = (precision.min(38) as u8, scale as u8);
    let kind = ColumnKind::Decimal(precision, scale);
    let limit = 10i128.pow(u32::from(precision));
    let name = kind.to_string();
    let up = |by: i32| i256::from_i128(10).checked_pow(by.max(0) as u32);
    let (up_left, up_right) = match operator {
        Operator::Times => (up(0), up(0)),
        Operator::By => (up(i32::from(scale) - s1 + s2), up(0)),
        _ => (up(i32::from(scale) - s1), up(i32::from(scale) - s2)),
    };
    let (Some(up_left), Some(up_right)) = (up_left, up_right) else {
        return Err("too many digits after the point: cast one of them to fewer".into());
    };
    let arrow = arrow_type(&kind);
    let run: Run = Arc::new(move |arrays| {
        let (a, b) = (arrays[0].as_primitive::<Decimal128Type>(), arrays[1].as_primitive::<Decimal128Type>());
        let result = values::<Decimal128Type>(arrays, |row| {
            let (a, b) = (i256::from_i128(a.value(row)), i256::from_i128(b.value(row)));
            if b == i256::ZERO && matches!(operator, Operator::By | Operator::Modulo) {
                return Err("division by zero".into());
            }
            let (Some(a), Some(b)) = (a.checked_mul(up_left), b.checked_mul(up_right)) else {
                return Err(format!("out of range for {name}"));
            };
            let result = match operator {
                Operator::Plus => a.checked_add(b),
                Operator::Minus => a.checked_sub(b),
                Operator::Times => a.checked_mul(b),
                Operator::By => divide(a, b),
                Operator::Modulo => a.checked_rem(b),
            };
            let result = result.and_then(i256::to_i128).filter(|value| value.unsigned_abs() < limit as u128);
            result.map(Some).ok_or_else(|| format!("out of range for {name}"))
        })?;
        Ok(match &arrow {
            Some(arrow) => Arc::new(result.with_data_type(arrow.clone())),
            None => Arc::new(result),
        })
    });
    Ok(call(operator.sign(), vec![left.expr, right.expr], kind, run))
}

/// Rounded half away from zero.
pub(super) fn divide(a: i256, b: i256) -> Option<i256> {
    let (quotient, rest) = (a.checked_div(b)?, a.checked_rem(b)?);
    let twice = rest.wrapping_abs().checked_mul(i256::from_i128(2))?;
    if twice < b.wrapping_abs() {
        return Some(quotient);
    }
    let one = if (a < i256::ZERO) == (b < i256::ZERO) { i256::ONE } else { i256::MINUS_ONE };
    quotient.checked_add(one)
}

/// The functions on numbers.
pub const FUNCTIONS: &[Function] = &[
    Function {
        names: &["mod"],
        form: "mod(number, number)",
        compile: |mut arguments| {
            arguments.count(2..=2)?;
            let right = arguments.0.remove(1);
            operator(Operator::Modulo, arguments.0.remove(0), right)
        },
    },
    Function { names: &["abs"], form: "abs(number)", compile: |arguments| one(arguments, "abs", OnNumber::Abs) },
    Function { names: &["sign"], form: "sign(number)", compile: |arguments| one(arguments, "sign", OnNumber::Sign) },
    Function {
        names: &["ceil", "ceiling"],
        form: "ceil(number)",
        compile: |arguments| one(arguments, "ceil", OnNumber::Ceil),
    },
    Function {
        names: &["floor"],
        form: "floor(number)",
        compile: |arguments| one(arguments, "floor", OnNumber::Floor),
    },
    Function {
        names: &["round"],
        form: "round(number [, digits])",
        compile: |arguments| places(arguments, "round", OnNumber::Round),
    },
    Function {
        names: &["trunc"],
        form: "trunc(number [, digits])",
        compile: |arguments| places(arguments, "trunc", OnNumber::Trunc),
    },
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum OnNumber {
    Abs,
    Sign,
    Ceil,
    Floor,
    Round,
    Trunc,
}

fn one(arguments: Arguments, name: &str, step: OnNumber) -> Result<Typed, String> {
    arguments.count(1..=1)?;
    steps(arguments, name, step, 0)
}

fn places(arguments: Arguments, name: &str, step: OnNumber) -> Result<Typed, String> {
    arguments.count(1..=2)?;
    let digits = match arguments.0.get(1) {
        None => 0,
        Some(digits) => {
            let text = digits.expr.to_string();
            match text.parse::<i32>() {
                Ok(digits) if (-37..=37).contains(&digits) => digits,
                _ => return Err("the number of digits must be written as a number from -37 to 37".into()),
            }
        }
    };
    steps(arguments, name, step, digits)
}

fn steps(mut arguments: Arguments, name: &str, step: OnNumber, digits: i32) -> Result<Typed, String> {
    let argument = arguments.0.swap_remove(0);
    let kind = match &argument.kind {
        Kind::Known(kind) if is_number(kind) => kind.clone(),
        Kind::Known(kind @ (ColumnKind::Date | ColumnKind::Timestamp | ColumnKind::TimestampTz)) => {
            return Err(format!("{kind} is not a number: write CAST(t AS date), or date_trunc('day', t)"));
        }
        Kind::Known(kind) => return Err(format!("{kind} is not a number: cast it")),
        _ => ColumnKind::Double,
    };
    let name = format!("{name} {digits}");
    let argument = argument.to(&kind)?;
    Ok(match kind {
        ColumnKind::Real | ColumnKind::Double => {
            let run: Run = Arc::new(move |arrays| {
                let numbers = arrays[0].as_primitive::<Float64Type>();
                let result = values::<Float64Type>(arrays, |row| Ok(Some(float(numbers.value(row), step, digits))))?;
                Ok(Arc::new(result) as ArrayRef)
            });
            call(name, vec![argument.to(&ColumnKind::Double)?.expr], ColumnKind::Double, run)
        }
        kind => {
            // Whole numbers are decimals without places, and come back as what they were.
            let Some((precision, scale)) = as_decimal(&kind) else { return Err(format!("{kind} is not a number")) };
            // Rounded up there may be a digit more; a sign needs one before the point.
            let precision = match step {
                OnNumber::Round | OnNumber::Ceil | OnNumber::Floor => (precision + 1).min(38),
                OnNumber::Sign => precision.max((scale + 1).min(38)),
                OnNumber::Abs | OnNumber::Trunc => precision,
            };
            let whole = !matches!(kind, ColumnKind::Decimal(..));
            let decimal = ColumnKind::Decimal(precision, scale);
            let arrow = arrow_type(&decimal);
            let limit = 10u128.pow(u32::from(precision));
            let run: Run = Arc::new(move |arrays| {
                let numbers = arrays[0].as_primitive::<Decimal128Type>();
                let result = values::<Decimal128Type>(arrays, |row| {
                    let result = exact(numbers.value(row), i32::from(scale), step, digits);
                    match result.filter(|value| value.unsigned_abs() < limit) {
                        Some(value) => Ok(Some(value)),
                        None => Err(format!("out of range for decimal({precision},{scale})")),
                    }
                })?;
                Ok(match &arrow {
                    Some(arrow) => Arc::new(result.with_data_type(arrow.clone())) as ArrayRef,
                    None => Arc::new(result),
                })
            });
            let result = call(name, vec![argument.to(&decimal)?.expr], decimal, run);
            if whole { result.to(&kind)? } else { result }
        }
    })
}

fn float(value: f64, step: OnNumber, digits: i32) -> f64 {
    let factor = 10f64.powi(digits);
    let rounded = || {
        let scaled = value * factor;
        // A number so large has no digits after the point.
        if scaled.is_finite() { scaled.round_ties_even() / factor } else { value }
    };
    // By the digits that are shown: 0.29 is a little less than that, and cut to two places it is 0.29 all the same.
    let cut = || {
        let text = value.to_string();
        match text.split_once('.') {
            Some((whole, fraction)) if digits > 0 && fraction.len() > digits as usize => {
                format!("{whole}.{}", &fraction[..digits as usize]).parse().unwrap_or(value)
            }
            _ if digits > 0 => value,
            _ if digits == 0 => value.trunc(),
            _ => (value * factor).trunc() / factor,
        }
    };
    match step {
        OnNumber::Abs => value.abs(),
        OnNumber::Sign if value == 0.0 || value.is_nan() => value,
        OnNumber::Sign => value.signum(),
        OnNumber::Ceil => value.ceil(),
        OnNumber::Floor => value.floor(),
        OnNumber::Round => rounded(),
        OnNumber::Trunc => cut(),
    }
}

fn exact(value: i128, scale: i32, step: OnNumber, digits: i32) -> Option<i128> {
    let one = 10i128.checked_pow(scale as u32)?;
    let unit = if scale > digits { 10i128.checked_pow((scale - digits) as u32) } else { Some(1) };
    // Rounded to a place beyond all there are.
    let Some(unit) = unit else { return Some(0) };
    match step {
        OnNumber::Abs => Some(value.abs()),
        OnNumber::Sign => Some(value.signum() * one),
        OnNumber::Ceil => Some(value.checked_add(one - 1)?.div_euclid(one) * one),
        OnNumber::Floor => Some(value.div_euclid(one) * one),
        OnNumber::Trunc => Some(value / unit * unit),
        OnNumber::Round => {
            let rest = value % unit;
            let up = rest.unsigned_abs() * 2 >= unit.unsigned_abs() && unit > 1;
            Some((value / unit + if up { value.signum() } else { 0 }) * unit)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_keep_what_they_have() {
        for (value, step, digits, expected) in [
            (1e300, OnNumber::Round, 37, 1e300),
            (1e300, OnNumber::Trunc, 10, 1e300),
            (0.29, OnNumber::Trunc, 2, 0.29),
            (-1.999, OnNumber::Trunc, 2, -1.99),
            (1234.5, OnNumber::Trunc, -2, 1200.0),
            (2.5, OnNumber::Round, 0, 2.0),
            (1.25, OnNumber::Round, 1, 1.2),
            (f64::INFINITY, OnNumber::Trunc, 2, f64::INFINITY),
        ] {
            assert_eq!(float(value, step, digits), expected, "{value} {digits}");
        }
    }
}
