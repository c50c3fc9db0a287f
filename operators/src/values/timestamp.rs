//! Moments, wall clocks and days as text: RFC 3339 and its near relations.

use super::Problem;

/// Microseconds since 1970 of `0001-01-01T00:00:00Z`, the first moment that is taken.
pub const FIRST: i64 = -62_135_596_800_000_000;
/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;
/// Microseconds since 1970 of `9999-12-31T23:59:59.999999Z`, the last one.
pub const LAST: i64 = 253_402_300_799_999_999;

/// A moment such as `2026-11-24T10:54:54.123456+01:00` in microseconds since 1970, and whether digits were lost. Between
/// date and time a `T` or a blank; seconds may be left out, or have 0 to 9 digits more, of which those after the sixth are cut off; an offset `Z`,
/// `+hh:mm`, `+hhmm` or `+hh`.
pub fn moment(text: &str) -> Result<(i64, bool), Problem> {
    let refused = |why| NotATime { kind: "timestamp with an offset", text, why };
    let (local, lost, rest) = date_and_time(text).map_err(|e| e.of(refused))?;
    let Some(offset_minutes) = offset(rest) else {
        return Err(refused(if rest.is_empty() {
            "it has no offset such as Z or +01:00"
        } else {
            "its end is not an offset"
        })
        .kind());
    };
    let micros = local - offset_minutes * 60_000_000;
    if !(FIRST..=LAST).contains(&micros) {
        return Err(refused("outside of the years 1 to 9999").range());
    }
    Ok((micros, lost))
}

/// What a clock shows, `2026-11-24T10:54:54.123456`, in microseconds since it showed the beginning of 1970. An offset is
/// refused: to leave it out would be another time.
pub fn wall_clock(text: &str) -> Result<(i64, bool), Problem> {
    clock(text, "timestamp without an offset")
}

/// The same where a time may have an offset or not.
pub fn clock_of_zone(text: &str) -> Result<(i64, bool), Problem> {
    clock(text, "timestamp")
}

#[inline]
fn clock(text: &str, kind: &'static str) -> Result<(i64, bool), Problem> {
    let refused = |why| NotATime { kind, text, why };
    let (local, lost, rest) = date_and_time(text).map_err(|e| e.of(refused))?;
    match (rest.is_empty(), offset(rest)) {
        (true, _) => Ok((local, lost)),
        (false, Some(_)) => Err(refused("it has an offset, so it is a timestamptz").kind()),
        (false, None) => Err(refused("something follows the time that is not an offset").kind()),
    }
}

/// The day whose midnight in UTC, or on a clock, a text names, such as `2026-11-24T00:00:00Z`, in days since 1970; `None` if it names no
/// time at all.
pub fn midnight(text: &str) -> Option<Result<i32, Problem>> {
    let refused = |why| NotATime { kind: "date", text, why };
    let (micros, lost, rest) = match date_and_time(text) {
        Ok(read) => read,
        Err(Why::Range(why)) => return Some(Err(refused(why).range())),
        Err(Why::Form(_)) => return None,
    };
    match (rest.is_empty(), offset(rest)) {
        (false, None) => None,
        (false, Some(minutes)) if minutes != 0 => Some(Err(refused("it has an offset other than that of UTC").kind())),
        _ if lost || micros % DAY != 0 => Some(Err(refused("it is not midnight").kind())),
        _ => Some(Ok((micros / DAY) as i32)),
    }
}

/// Whether a text names a time and its offset.
pub fn has_offset(text: &str) -> bool {
    date_and_time(text).is_ok_and(|(_, _, rest)| offset(rest).is_some())
}

/// Whether a text with a time has no seconds.
pub fn is_short(text: &str) -> bool {
    date_and_time(text).is_ok() && text.as_bytes().get(16) != Some(&b':')
}

/// A day such as `2026-11-24`, in days since 1970.
pub fn day(text: &str) -> Result<i32, Problem> {
    let refused = |why| NotATime { kind: "date", text, why };
    if text.len() != 10 {
        return Err(refused("it is not written YYYY-MM-DD").kind());
    }
    date(text.as_bytes()).map(|days| days as i32).map_err(|e| e.of(refused))
}

/// Why a text is refused, before it is known what it should have been.
enum Why {
    Form(&'static str),
    Range(&'static str),
}

impl Why {
    fn of<'a>(self, refused: impl Fn(&'static str) -> NotATime<'a>) -> Problem {
        match self {
            Why::Form(why) => refused(why).kind(),
            Why::Range(why) => refused(why).range(),
        }
    }
}

struct NotATime<'a> {
    kind: &'static str,
    text: &'a str,
    why: &'static str,
}

impl NotATime<'_> {
    fn text(&self) -> String {
        format!("not a {}: {} ({})", self.kind, super::shown(super::cut(self.text, 100)), self.why)
    }

    fn kind(self) -> Problem {
        Problem::Kind(self.text())
    }

    fn range(self) -> Problem {
        Problem::Range(self.text())
    }
}

fn number(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
}

/// Days from 1970-01-01 to a day of the proleptic Gregorian calendar: month 1 to 12, day from 1. It does not judge the day:
/// the 30th of February is the second day of March (in a leap year the first).
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468
}

/// Days since 1970 of the first ten bytes.
fn date(bytes: &[u8]) -> Result<i64, Why> {
    if bytes.len() < 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return Err(Why::Form("it does not begin with YYYY-MM-DD"));
    }
    let (Some(year), Some(month), Some(day)) = (number(&bytes[0..4]), number(&bytes[5..7]), number(&bytes[8..10]))
    else {
        return Err(Why::Form("there is something else where a digit should be"));
    };
    if year == 0 || !(1..=12).contains(&month) || day == 0 || day > days_in(year, month) {
        return Err(Why::Range("there is no such day"));
    }
    Ok(days_since_1970(year, month, day))
}

/// Microseconds since 1970 as if in UTC, whether digits were lost, and what stands after.
fn date_and_time(text: &str) -> Result<(i64, bool, &[u8]), Why> {
    let bytes = text.as_bytes();
    let days = date(bytes)?;
    if bytes.len() < 16 || !matches!(bytes[10], b'T' | b't' | b' ') || bytes[13] != b':' {
        return Err(Why::Form("it does not begin with YYYY-MM-DDThh:mm"));
    }
    // Seconds may be left out.
    let has_seconds = bytes.len() >= 19 && bytes[16] == b':';
    let second = if has_seconds { number(&bytes[17..19]) } else { Some(0) };
    let fields = (number(&bytes[11..13]), number(&bytes[14..16]), second);
    let (Some(hour), Some(minute), Some(second)) = fields else {
        return Err(Why::Form("there is something else where a digit should be"));
    };
    if hour > 23 || minute > 59 || second > 59 {
        return Err(Why::Range(if second == 60 { "a leap second" } else { "there is no such time" }));
    }
    let mut rest = if has_seconds { &bytes[19..] } else { &bytes[16..] };
    let (mut micros, mut lost) = (0, false);
    if let Some(fraction) = rest.strip_prefix(b".").filter(|_| has_seconds) {
        let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 || digits > 9 {
            return Err(Why::Form("a fraction has 1 to 9 digits"));
        }
        let digit = |b: &u8| i64::from(b - b'0');
        micros = fraction[..digits].iter().map(digit).chain(std::iter::repeat(0)).take(6).fold(0, |n, d| n * 10 + d);
        lost = fraction[..digits].iter().skip(6).any(|b| *b != b'0');
        rest = &fraction[digits..];
    }
    let seconds = (days * 24 + hour) * 3600 + minute * 60 + second;
    Ok((seconds * 1_000_000 + micros, lost, rest))
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
            ("1970-01-01T14:45:00+14:45", 0),
            ("1970-01-01T02:00:00+02", 0),
            ("2000-02-29T00:00:00.5Z", 951_782_400_500_000),
            ("1970-01-01T00:00:00.123456000Z", 123_456),
            ("0001-01-01T00:00:00Z", FIRST),
            ("9999-12-31T23:59:59.999999Z", LAST),
        ] {
            assert_eq!(moment(text), Ok((micros, false)), "{text}");
        }
        assert_eq!(moment("1970-01-01T00:00:00.123456789Z"), Ok((123_456, true)), "what is lost is said");
        assert_eq!(moment("1969-12-31T23:59:59.9999999Z"), Ok((-1, true)), "cut off towards the past");
        assert_eq!(wall_clock("1970-01-01T00:00:00.5"), Ok((500_000, false)));
        for text in ["1970-01-01T00:01", "1970-01-01 00:01"] {
            assert_eq!((wall_clock(text), is_short(text)), (Ok((60_000_000, false)), true), "{text}");
        }
        for text in ["1970-01-01T00:01Z", "1970-01-01T01:01+01:00"] {
            assert_eq!((moment(text), is_short(text)), (Ok((60_000_000, false)), true), "{text}");
            assert!(has_offset(text), "{text}");
        }
        assert!(!is_short("1970-01-01T00:00:00Z") && !has_offset("1970-01-01T00:00:00"));
        for text in ["1970-01-02T00:00:00Z", "1970-01-02 00:00", "1970-01-02T00:00:00.000+00:00"] {
            assert_eq!(midnight(text), Some(Ok(1)), "{text}");
        }
        assert_eq!(midnight("1969-12-31T00:00"), Some(Ok(-1)));
        for text in ["1970-01-02T00:00:00.000001", "1970-01-02T12:00Z", "1970-01-02T00:00+02:00", "1970-02-30T00:00"] {
            assert!(matches!(midnight(text), Some(Err(_))), "{text}");
        }
        for text in ["1970-01-02", "02.01.1970", "1970-01-02T00:00x", ""] {
            assert_eq!(midnight(text), None, "{text}");
        }
        assert_eq!(wall_clock("2026-11-24 10:54:54"), Ok((1_795_517_694_000_000, false)));
        assert_eq!((day("1970-01-02"), day("0001-01-01"), day("9999-12-31")), (Ok(1), Ok(-719_162), Ok(2_932_896)));
    }

    #[test]
    fn what_is_no_moment() {
        for text in [
            "",
            "2026-11-24",
            "2026-11-24T10:54:54",
            "2026-11-24T10:54:54.Z",
            "2026-11-24T10:54.5Z",
            "2026-11-24T10:54:5Z",
            "2026-11-24T10Z",
            "2026-11-24T10:54:54.1234567890Z",
            "2026-11-24T10:54:54+1",
            "2026-11-24T10:54:54+99:00",
            "2026-11-24T10:54:54Zx",
            "2026-1a-24T10:54:54Z",
            "+026-11-24T10:54:54Z",
            "20000-01-01T00:00:00Z",
            "２026-11-24T10:54:54Z",
        ] {
            assert!(matches!(moment(text), Err(Problem::Kind(_))), "{text}");
        }
        for text in [
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "0000-00-00T00:00:00Z",
            "2026-11-24T24:00:00Z",
            "2026-11-24T10:60:00Z",
            "2026-06-30T23:59:60Z",
            "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
        ] {
            assert!(matches!(moment(text), Err(Problem::Range(_))), "{text}");
        }
        for text in ["2026-11-24T10:54:54Z", "2026-11-24T10:54:54+01:00", "2026-11-24T10:54:54 ", "2026-11-24"] {
            assert!(matches!(wall_clock(text), Err(Problem::Kind(_))), "{text}");
        }
        for text in ["2026-11-24T00:00:00", "24.11.2026", "2026-1-1", "20261124"] {
            assert!(matches!(day(text), Err(Problem::Kind(_))), "{text}");
        }
        assert!(matches!(day("0000-00-00"), Err(Problem::Range(_))));
    }

    proptest! {
        /// The text that checkpoint writes for a moment is the moment.
        #[test]
        fn there_and_back(micros in FIRST..=LAST) {
            let text = Micros(micros).to_text();
            prop_assert_eq!(moment(&format!("{text}+00")), Ok((micros, false)));
            prop_assert_eq!(wall_clock(&text), Ok((micros, false)));
            prop_assert_eq!(day(&text[..10]), Ok(micros.div_euclid(86_400_000_000) as i32));
        }

        /// No text panics.
        #[test]
        fn any_text(text in "[0-9TZ:. +é-]{0,40}") {
            let _ = (moment(&text), wall_clock(&text), day(&text));
        }
    }
}
