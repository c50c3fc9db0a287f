//! Numbers out of their text, exactly: no digit passes through a floating-point number on its way to a whole or decimal one.

use super::{Action, Problem};

/// A whole number, written as one: without a point and without an exponent.
#[inline]
pub fn integer<T: std::str::FromStr>(text: &str, kind: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| match text.bytes().any(|b| matches!(b, b'.' | b'e' | b'E')) {
        true => Problem::Kind(format!("a number that is not written as an integer: {text}")),
        false => Problem::Range(format!("out of range for {kind}: {text}")),
    })
}

/// The nearest 64-bit number. What is too large, or so small that only zero is near, is out of range.
#[inline]
pub fn double(text: &str) -> Result<f64, Problem> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && (value != 0.0 || is_zero(text)) => Ok(value),
        _ => Err(Problem::Range(format!("out of range for double precision: {text}"))),
    }
}

/// The nearest 32-bit number, in one step from the text.
#[inline]
pub fn real(text: &str) -> Result<f32, Problem> {
    match text.parse::<f32>() {
        Ok(value) if value.is_finite() && (value != 0.0 || is_zero(text)) => Ok(value),
        _ => Err(Problem::Range(format!("out of range for real: {text}"))),
    }
}

fn is_zero(text: &str) -> bool {
    !text.bytes().take_while(|b| !matches!(b, b'e' | b'E')).any(|b| (b'1'..=b'9').contains(&b))
}

/// What no JSON number can say and text may: protobuf's JSON form writes these as strings.
/// <https://protobuf.dev/programming-guides/json/>
pub fn special(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// A float as a number is written, without the zeros of one that is large or small, which nobody has sent.
pub fn float_text(value: impl std::fmt::Display + std::fmt::LowerExp) -> String {
    let (plain, short) = (value.to_string(), format!("{value:e}"));
    if plain.len() > 20 { short } else { plain }
}

/// The powers of ten below 2 to the 127th.
const POWERS: [i128; 39] = {
    let (mut powers, mut i) = ([1; 39], 1);
    while i < 39 {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// What [`decimal`] makes of the usual case, in one pass: a JSON number of at most 18 digits without an exponent, none of which is lost.
/// `None` where it is something else, which need not be a number.
#[inline]
pub fn usual_decimal(text: &str, precision: u8, scale: u8) -> Option<i128> {
    let bytes = text.as_bytes();
    let (negative, digits) = match bytes.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, bytes),
    };
    if digits.len() > 19 {
        return None;
    }
    let (mut value, mut point) = (0u64, None);
    for (place, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => value = value.wrapping_mul(10) + u64::from(byte - b'0'),
            b'.' if point.is_none() => point = Some(place),
            _ => return None,
        }
    }
    let whole = point.unwrap_or(digits.len());
    let fraction = digits.len() - whole - usize::from(point.is_some());
    let is_json = whole > 0 && (whole == 1 || digits[0] != b'0') && point.is_none() | (fraction > 0);
    let more = usize::from(scale).checked_sub(fraction)?;
    if !is_json || whole + fraction > 18 {
        return None;
    }
    let units = i128::from(value).checked_mul(POWERS[more])?;
    let fits = units < POWERS[usize::from(precision)];
    fits.then_some(if negative { -units } else { units })
}

/// A JSON number as a decimal of so many digits, in units of its last place; and whether digits were lost, which only
/// happens when `on_scale` allows it.
pub fn decimal(text: &str, precision: u8, scale: u8, on_scale: Action) -> Result<(i128, bool), Problem> {
    let range = || Problem::Range(format!("out of range for decimal({precision},{scale}): {text}"));
    let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        // Beyond 64 bits the exponent is as good as infinite.
        Some((mantissa, e)) => {
            let limit = if e.starts_with('-') { i64::MIN / 4 } else { i64::MAX / 4 };
            (mantissa, e.parse::<i64>().unwrap_or(limit).clamp(i64::MIN / 4, i64::MAX / 4))
        }
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes()).map(|b| b - b'0').skip_while(|d| *d == 0);
    let count = digits().count() as i64;
    if count == 0 {
        return Ok((0, false));
    }
    // How many of the digits stay, once the point is `scale` places further right; more than there are means zeros after.
    let stay = count + exponent - fraction.len() as i64 + i64::from(scale);
    let mut value: i128 = 0;
    for digit in digits().take(stay.max(0) as usize) {
        let next = value.checked_mul(10).and_then(|v| v.checked_add(i128::from(digit)));
        value = next.ok_or_else(range)?;
    }
    if stay > count {
        let zeros = u32::try_from(stay - count).ok().and_then(|zeros| 10i128.checked_pow(zeros));
        value = zeros.and_then(|power| value.checked_mul(power)).ok_or_else(range)?;
    }
    let lost = digits().skip(stay.max(0) as usize).any(|d| d != 0);
    if lost {
        match on_scale {
            Action::Truncate => {}
            Action::Round => {
                let half = stay >= 0 && digits().nth(stay as usize).is_some_and(|d| d >= 5);
                value = value.checked_add(i128::from(half)).ok_or_else(range)?;
            }
            _ => {
                return Err(Problem::Scale(format!(
                    "more digits after the point than decimal({precision},{scale}): {text}"
                )));
            }
        }
    }
    if value >= 10i128.pow(u32::from(precision)) {
        return Err(range());
    }
    Ok((if negative { -value } else { value }, lost))
}

/// A decimal in units of another last place; and whether digits were lost, which only happens when `on_scale` allows it.
pub fn rescale(units: i128, from: u8, precision: u8, scale: u8, on_scale: Action) -> Result<(i128, bool), Problem> {
    let range =
        || Problem::Range(format!("out of range for decimal({precision},{scale}): {}", decimal_text(units, from)));
    let (value, lost) = if scale >= from {
        (units.checked_mul(10i128.pow(u32::from(scale - from))).ok_or_else(range)?, false)
    } else {
        let unit = 10i128.pow(u32::from(from - scale));
        let (cut, rest) = (units / unit, units % unit);
        match (rest != 0, on_scale) {
            (false, _) => (cut, false),
            (true, Action::Truncate) => (cut, true),
            (true, Action::Round) if rest.unsigned_abs() >= (unit as u128).div_ceil(2) => (cut + units.signum(), true),
            (true, Action::Round) => (cut, true),
            (true, _) => {
                let text = decimal_text(units, from);
                return Err(Problem::Scale(format!(
                    "more digits after the point than decimal({precision},{scale}): {text}"
                )));
            }
        }
    };
    if value.unsigned_abs() >= 10u128.pow(u32::from(precision)) {
        return Err(range());
    }
    Ok((value, lost))
}

/// A decimal as it is written, with all its places.
pub fn decimal_text(units: i128, scale: u8) -> String {
    let digits = format!("{:0>width$}", units.unsigned_abs(), width = usize::from(scale) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
    let sign = if units < 0 { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn floats_are_shown_as_they_are_sent() {
        for text in ["1e39", "0.1", "-12345.678", "1e-30", "0.30000000000000004", "NaN"] {
            assert_eq!(float_text(text.parse::<f64>().unwrap()), text);
        }
        assert_eq!(float_text(1e30_f32), "1e30");
    }

    #[test]
    fn decimals() {
        let exact = |text: &str, p, s| decimal(text, p, s, Action::Reject).map(|(v, lost)| (v, assert!(!lost)).0);
        for (text, p, s, value) in [
            ("0", 1, 0, 0),
            ("-0.0", 5, 2, 0),
            ("0e999999999999999999999", 5, 2, 0),
            ("1.5", 5, 2, 150),
            ("-1.50", 5, 2, -150),
            ("1.500000", 5, 2, 150),
            ("15e-1", 5, 2, 150),
            ("0.00015E+4", 5, 2, 150),
            ("999.99", 5, 2, 99_999),
            ("9007199254740993", 16, 0, 9_007_199_254_740_993),
            ("99999999999999999999999999999999999999", 38, 0, 10i128.pow(38) - 1),
            ("-0.0000000000000000000000000000000000001", 38, 37, -1),
        ] {
            assert_eq!(exact(text, p, s), Ok(value), "{text}");
        }
        for (text, p, s) in
            [("1000", 5, 2), ("-1000", 5, 2), ("1e400", 38, 0), ("1e99999999999999999999", 38, 0), ("10", 1, 0)]
        {
            assert!(matches!(exact(text, p, s), Err(Problem::Range(_))), "{text}");
        }
        for text in ["1.005", "1e-3", "1e-99999999999999999999", "0.001"] {
            assert!(matches!(exact(text, 5, 2), Err(Problem::Scale(_))), "{text}");
        }
    }

    #[test]
    fn the_usual_case_is_taken() {
        for (text, units) in [("12.34", 1234), ("-0.5", -50), ("0", 0), ("999999999999999.99", 99_999_999_999_999_999)]
        {
            assert_eq!(usual_decimal(text, 17, 2), Some(units), "{text}");
        }
        for text in
            ["", "-", ".", "1.", ".5", "007", "1.234", "1e2", " 1", "+1", "1000000000000000", "9999999999999999999"]
        {
            assert_eq!(usual_decimal(text, 17, 2), None, "{text}");
        }
    }

    #[test]
    fn what_a_policy_allows_to_lose() {
        for (text, rounded, cut) in [
            ("1.005", 101, 100),
            ("-1.005", -101, -100),
            ("1.0049999", 100, 100),
            ("0.004", 0, 0),
            ("0.005", 1, 0),
            ("0.0009", 0, 0),
            ("9.995", 1000, 999),
        ] {
            assert_eq!(decimal(text, 5, 2, Action::Round), Ok((rounded, true)), "{text}");
            assert_eq!(decimal(text, 5, 2, Action::Truncate), Ok((cut, true)), "{text}");
        }
        let most = format!("{}.5", i128::MAX);
        assert!(matches!(decimal(&most, 38, 0, Action::Round), Err(Problem::Range(_))), "{most} overflowed");
        assert!(
            matches!(decimal("999.995", 5, 2, Action::Round), Err(Problem::Range(_))),
            "rounding made it too large"
        );
    }

    #[test]
    fn another_scale() {
        let to = |units, from, p, s, action| rescale(units, from, p, s, action);
        assert_eq!(to(150, 2, 5, 3, Action::Reject), Ok((1500, false)));
        assert_eq!(to(150, 2, 5, 1, Action::Reject), Ok((15, false)));
        assert!(matches!(to(155, 2, 5, 1, Action::Reject), Err(Problem::Scale(_))));
        assert_eq!(to(155, 2, 5, 1, Action::Round), Ok((16, true)));
        assert_eq!(to(-155, 2, 5, 1, Action::Round), Ok((-16, true)), "half away from zero");
        assert_eq!(to(154, 2, 5, 1, Action::Round), Ok((15, true)));
        assert_eq!(to(-159, 2, 5, 1, Action::Truncate), Ok((-15, true)));
        assert!(matches!(to(i128::MAX, 0, 38, 2, Action::Round), Err(Problem::Range(_))));
        assert!(matches!(to(100_000, 0, 5, 0, Action::Reject), Err(Problem::Range(_))));
        for (units, scale, text) in [(0, 0, "0"), (5, 2, "0.05"), (-5, 2, "-0.05"), (-1234, 2, "-12.34"), (7, 0, "7")] {
            assert_eq!(decimal_text(units, scale), text);
        }
    }

    #[test]
    fn floating_point() {
        assert_eq!(double("-0.0").map(f64::to_bits), Ok((-0.0f64).to_bits()));
        assert_eq!(double("0e9"), Ok(0.0));
        assert_eq!(real("0.1"), Ok(0.1f32));
        for text in ["1e400", "-1e400", "1e-400"] {
            assert!(matches!(double(text), Err(Problem::Range(_))), "{text}");
        }
        for text in ["1e39", "1e-60"] {
            assert!(matches!(real(text), Err(Problem::Range(_))), "{text}");
        }
        assert_eq!(integer::<i64>("9223372036854775807", "bigint"), Ok(i64::MAX));
        assert!(matches!(integer::<i64>("9223372036854775808", "bigint"), Err(Problem::Range(_))));
        assert!(matches!(integer::<i16>("1.0", "smallint"), Err(Problem::Kind(_))));
    }

    proptest! {
        /// Whatever way a number is written, it is the same number.
        #[test]
        fn the_way_it_is_written_does_not_matter(units in -999_999_999i64..=999_999_999, shift in 0i64..30) {
            let plain = format!("{}{}.{:03}", if units < 0 { "-" } else { "" }, units.abs() / 1000, units.abs() % 1000);
            let shifted = format!("{units}{}e-{}", "0".repeat(shift as usize), shift + 3);
            prop_assert_eq!(decimal(&plain, 9, 3, Action::Reject), Ok((i128::from(units), false)));
            prop_assert_eq!(decimal(&shifted, 9, 3, Action::Reject), Ok((i128::from(units), false)));
        }

        /// The usual case is a case of the other, and is not what is not JSON.
        #[test]
        fn the_usual_decimal_is_a_decimal(text in "-?[0-9]{0,20}([.][0-9]{0,8})?(e1)?", precision in 1u8..=38, scale in 0u8..=37) {
            let scale = scale.min(precision);
            if let Some(units) = usual_decimal(&text, precision, scale) {
                prop_assert!(super::super::json::is_number(&text), "{}", text);
                prop_assert_eq!(decimal(&text, precision, scale, Action::Reject), Ok((units, false)));
            }
        }
    }
}
