//! Moments as text: RFC 3339 and its near relations.

/// Microseconds since 1970 of `2026-11-24T10:54:54.123456+01:00`. Between date and time a `T` or a blank; 0 to 9 digits of a
/// second, of which those behind the sixth are cut off; an offset `Z`, `+hh:mm`, `+hhmm` or `+hh`.
pub fn parse(text: &str) -> Result<i64, String> {
    let refused = |why: &str| Err(format!("{text:?} is not a timestamp with an offset: {why}"));
    let bytes = text.as_bytes();
    if bytes.len() < 19
        || bytes[4] != b'-'
        || bytes[7] != b'-'
        || !matches!(bytes[10], b'T' | b't' | b' ')
        || bytes[13] != b':'
        || bytes[16] != b':'
    {
        return refused("it does not begin with YYYY-MM-DDThh:mm:ss");
    }
    let number = |range: std::ops::Range<usize>| {
        bytes[range].iter().try_fold(0i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
    };
    let fields = [number(0..4), number(5..7), number(8..10), number(11..13), number(14..16), number(17..19)];
    let [Some(year), Some(month), Some(day), Some(hour), Some(minute), Some(second)] = fields else {
        return refused("there is something else where a digit should be");
    };
    if year == 0 || !(1..=12).contains(&month) || day == 0 || day > days_in(year, month) {
        return refused("there is no such day");
    }
    if hour > 23 || minute > 59 || second > 59 {
        return refused(if second == 60 { "a leap second" } else { "there is no such time" });
    }
    let mut rest = &bytes[19..];
    let mut micros = 0;
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 || digits > 9 {
            return refused("a fraction has 1 to 9 digits");
        }
        let digit = |b: &u8| i64::from(b - b'0');
        micros = fraction[..digits].iter().map(digit).chain(std::iter::repeat(0)).take(6).fold(0, |n, d| n * 10 + d);
        rest = &fraction[digits..];
    }
    let Some(offset_minutes) = offset(rest) else { return refused("it has no offset such as Z or +01:00") };
    let seconds = (days_since_1970(year, month, day) * 24 + hour) * 3600 + (minute - offset_minutes) * 60 + second;
    Ok(seconds * 1_000_000 + micros)
}

/// Minutes east of UTC.
fn offset(text: &[u8]) -> Option<i64> {
    let digit = |b: u8| b.is_ascii_digit().then(|| i64::from(b - b'0'));
    let (sign, hours, minutes) = match *text {
        [b'Z' | b'z'] => return Some(0),
        [sign, a, b] => (sign, digit(a)? * 10 + digit(b)?, 0),
        [sign, a, b, c, d] | [sign, a, b, b':', c, d] => (sign, digit(a)? * 10 + digit(b)?, digit(c)? * 10 + digit(d)?),
        _ => return None,
    };
    let sign = match sign {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    (hours <= 18 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use checkpoint::Micros;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments() {
        for (text, micros) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01 00:00:00.000001z", 1),
            ("1969-12-31T23:59:59.999999Z", -1),
            ("1970-01-01T01:00:00+01:00", 0),
            ("1969-12-31T18:30:00-0530", 0),
            ("1970-01-01T02:00:00+02", 0),
            ("2000-02-29T00:00:00.5Z", 951_782_400_500_000),
            ("1970-01-01T00:00:00.123456789Z", 123_456),
            ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
            ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
        ] {
            assert_eq!(parse(text), Ok(micros), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment() {
        for text in [
            "",
            "2026-11-24",
            "2026-11-24T10:54:54",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "2026-11-24T24:00:00Z",
            "2026-11-24T10:60:00Z",
            "2026-06-30T23:59:60Z",
            "2026-11-24T10:54:54.Z",
            "2026-11-24T10:54:54.1234567890Z",
            "2026-11-24T10:54:54+1",
            "2026-11-24T10:54:54+99:00",
            "2026-11-24T10:54:54Zx",
            "2026-1a-24T10:54:54Z",
            "+026-11-24T10:54:54Z",
            "２026-11-24T10:54:54Z",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        /// The text that checkpoint writes for a moment is the moment.
        #[test]
        fn there_and_back(micros in -62_135_596_800_000_000i64..253_402_300_800_000_000) {
            prop_assert_eq!(parse(&format!("{}+00", Micros(micros).to_text())), Ok(micros));
        }
    }
}
