//! The numbers a job counts with. Each is a type of its own, so that one is never taken for another.

use std::fmt;

/// The number of an epoch: everything that was read between two cuts. Epochs count from 0 without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch after this one.
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Taken anew at each start of a job, always larger than all before it. A process of an older one is a zombie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

impl Generation {
    /// The one after it.
    pub fn next(self) -> Generation {
        Generation(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// 128 random bits in hex, minted by each start, for all its attempts to take a generation. Two rivals can never hold the same
/// (generation, nonce), even when one of them does not know whether its attempt went through.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(String);

impl Nonce {
    /// From 16 random bytes.
    pub fn new(random: [u8; 16]) -> Nonce {
        Nonce(random.iter().map(|b| format!("{b:02x}")).collect())
    }

    /// From the text of a control table. `None` if it is not 32 hex digits.
    pub fn parse(text: &str) -> Option<Nonce> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (text.len() == 32 && text.bytes().all(hex)).then(|| Nonce(text.into()))
    }

    /// The 32 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A moment in microseconds since 1970 in UTC, the finest that Redshift stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub i64);

impl Micros {
    /// A Kafka timestamp in milliseconds since 1970; `None` where there is none (-1) or it lies outside of the years 1970 to
    /// 9999. Producers may write any number.
    pub fn from_millis(ms: i64) -> Option<Micros> {
        (0..=253_402_300_799_999).contains(&ms).then(|| Micros(ms * 1000))
    }

    /// Reads what Redshift shows of a moment, in UTC: `2026-11-24 10:54:54+00`, with up to six digits of a second.
    pub fn from_text(text: &str) -> Option<Micros> {
        let text = text.strip_suffix("+00").unwrap_or(text);
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let bytes = whole.as_bytes();
        let shape = bytes.len() == 19 && [4, 7].map(|i| bytes[i]) == *b"--" && [13, 16].map(|i| bytes[i]) == *b"::";
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<i64>().ok()).flatten();
        if !shape || bytes[10] != b' ' || fraction.len() > 6 {
            return None;
        }
        let part = |range| whole.get(range).and_then(digits);
        let (year, month, day) = (part(0..4)?, part(5..7)?, part(8..10)?);
        let seconds = part(11..13)? * 3600 + part(14..16)? * 60 + part(17..19)?;
        let micros = if fraction.is_empty() { 0 } else { digits(&format!("{fraction:0<6}"))? };
        let read = Micros((days_since_1970(year, month, day) * 86_400 + seconds) * 1_000_000 + micros);
        // What is not a day comes back as another.
        read.to_text().starts_with(whole).then_some(read)
    }

    /// `2026-11-24 10:54:54.000001` in UTC, as a Redshift literal wants it.
    pub fn to_text(self) -> String {
        let (days, rest) = (self.0.div_euclid(86_400_000_000), self.0.rem_euclid(86_400_000_000));
        let (year, month, day) = civil(days);
        let (seconds, micros) = (rest / 1_000_000, rest % 1_000_000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}")
    }
}

/// Days from 1970-01-01 to a day of the proleptic Gregorian calendar: month 1 to 12, day from 1. It does not judge the day:
/// the 30th of February is the second day of March (in a leap year the first).
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
pub fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468
}

/// Days since 1970 to (year, month, day) of the proleptic Gregorian calendar.
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_as_text() {
        for (micros, text) in [
            (0, "1970-01-01 00:00:00.000000"),
            (-1, "1969-12-31 23:59:59.999999"),
            (951_782_400_000_000, "2000-02-29 00:00:00.000000"),
            (1_795_517_694_000_001, "2026-11-24 10:54:54.000001"),
        ] {
            assert_eq!(Micros(micros).to_text(), text);
        }
    }

    #[test]
    fn moments_as_redshift_shows_them() {
        for micros in [0, 1, 951_782_400_500_000, 1_795_517_694_000_000, 253_402_300_799_999_999, -1] {
            let text = Micros(micros).to_text();
            assert_eq!(Micros::from_text(&text), Some(Micros(micros)), "{text}");
            let shown = format!("{}+00", text.trim_end_matches('0').trim_end_matches('.'));
            assert_eq!(Micros::from_text(&shown), Some(Micros(micros)), "{shown}");
        }
        for text in [
            "",
            "2026-02-30 00:00:00",
            "2026-11-24",
            "2026-11-24T10:54:54",
            "2026-11-24 10:54:54+01",
            "2026-11-24 25:00:00",
        ] {
            assert_eq!(Micros::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn timestamps_of_records() {
        assert_eq!(Micros::from_millis(1_795_517_694_001), Some(Micros(1_795_517_694_001_000)));
        assert_eq!(
            Micros::from_millis(253_402_300_799_999).map(Micros::to_text).as_deref(),
            Some("9999-12-31 23:59:59.999000")
        );
        for ms in [-1, i64::MIN, i64::MAX, 253_402_300_800_000] {
            assert_eq!(Micros::from_millis(ms), None, "{ms}");
        }
    }

    #[test]
    fn a_nonce_is_32_hex_digits() {
        let nonce = Nonce::new([0xab; 16]);
        assert_eq!(Nonce::parse(nonce.as_str()), Some(nonce));
        for bad in ["", "ab", &"g".repeat(32), &"AB".repeat(16)] {
            assert_eq!(Nonce::parse(bad), None, "{bad}");
        }
    }
}
