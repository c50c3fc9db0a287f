//! The numbers a job counts with. Each is a type of its own, so that one is never taken for another.

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike, Utc};

use crate::hex;

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
    /// A nonce of 16 random bytes.
    pub fn new(random: [u8; 16]) -> Nonce {
        Nonce(hex(&random))
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
        let whole = "2026-11-24 10:54:54".len();
        // A blank in a layout takes any blanks, or none, and a fraction takes nine digits: more than Redshift writes.
        if text.len() > whole + ".123456".len() || text.as_bytes().get(10) != Some(&b' ') {
            return None;
        }
        let read = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok()?;
        let micros = Micros(read.and_utc().timestamp_micros());
        // A leap second, or a number with fewer digits, comes back as another text.
        micros.to_text().starts_with(text.get(..whole)?).then_some(micros)
    }

    /// `2026-11-24 10:54:54.000001` in UTC, as a Redshift literal wants it. People are told another form: [`fmt::Display`].
    pub fn to_text(self) -> String {
        // The calendar ends 260,000 years from here; what a table or a topic holds was kept to four digits of a year before.
        let last = if self.0 < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
        let at = DateTime::from_timestamp_micros(self.0).unwrap_or(last);
        let (year, month, day) = (at.year(), at.month(), at.day());
        let (hour, minute, second, micros) = (at.hour(), at.minute(), at.second(), at.timestamp_subsec_micros());
        format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}")
    }
}

/// RFC 3339 in UTC, as every time is that somebody is told: `2026-11-24T10:54:54.000001Z`, always with six digits, so that the texts sort
/// as the moments do. `{:.0}` leaves them out: `2026-11-24T10:54:54Z`.
impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_text();
        let (day, time) = text.split_once(' ').unwrap_or((&text, ""));
        let time = if f.precision() == Some(0) { time.split('.').next().unwrap_or_default() } else { time };
        write!(f, "{day}T{time}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_as_people_are_told() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (1_795_517_694_000_001, "2026-11-24T10:54:54.000001Z"),
        ] {
            assert_eq!(Micros(micros).to_string(), text);
        }
        assert_eq!(format!("since {:.0},", Micros(1_795_517_694_999_999)), "since 2026-11-24T10:54:54Z,");
    }

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
            "2026-11-24 10:54:60",
            "2026-11-24 10:54:5",
            "2026-11-24 10:54:54.",
            "2026-11-24 10:54:54.1234567",
            "2026-11-24  0:54:54",
            "+2026-1-24 10:54:54",
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
