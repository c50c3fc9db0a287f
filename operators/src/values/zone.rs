//! Time zones: what a clock on a wall shows somewhere, and which moment that is.

use std::fmt;

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;

use super::timestamp;

/// The version of the time zone database that is compiled in, such as `2026a`.
pub const DATABASE: &str = chrono_tz::IANA_TZDB_VERSION;

/// A time zone of the IANA database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone(Tz);

impl Zone {
    /// The zone of this name, such as `Europe/Tallinn`, in any case.
    pub fn parse(name: &str) -> Option<Zone> {
        chrono_tz::TZ_VARIANTS.into_iter().find(|zone| zone.name().eq_ignore_ascii_case(name)).map(Zone)
    }

    /// The names of all zones.
    pub fn names() -> impl Iterator<Item = &'static str> {
        chrono_tz::TZ_VARIANTS.into_iter().map(Tz::name)
    }

    /// The moment at which a clock here shows this, both in microseconds since 1970. A time that it showed twice is the later one,
    /// which is that of standard time; `None` for one that it never showed.
    pub fn moment(self, wall: i64) -> Option<i64> {
        let wall = civil(wall)?;
        let at = match self.0.from_local_datetime(&wall) {
            LocalResult::None => return None,
            LocalResult::Single(at) => at,
            // Not the one that the database calls standard: for Dublin and Casablanca that is the time of summer.
            LocalResult::Ambiguous(_, later) => later,
        };
        Some(at.timestamp_micros())
    }

    /// What a clock here shows at a moment, both in microseconds since 1970; `None` outside of the years 1 to 9999.
    pub fn wall(self, moment: i64) -> Option<i64> {
        let utc = civil(moment)?;
        let east = self.0.offset_from_utc_datetime(&utc).fix().local_minus_utc();
        let wall = moment.checked_add(i64::from(east) * 1_000_000)?;
        (timestamp::FIRST..=timestamp::LAST).contains(&wall).then_some(wall)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

fn civil(micros: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_micros(micros).map(|time| time.naive_utc())
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn clocks_that_are_put_back_and_forward() {
        let moment = |zone: &str, wall: &str| {
            let zone = Zone::parse(zone).unwrap();
            zone.moment(timestamp::wall_clock(wall).unwrap().0)
        };
        let utc = |text: &str| Some(timestamp::moment(text).unwrap().0);
        assert_eq!(moment("Europe/Tallinn", "2026-01-15T12:00:00"), utc("2026-01-15T10:00:00Z"));
        assert_eq!(moment("europe/tallinn", "2026-07-15T12:00:00"), utc("2026-07-15T09:00:00Z"));
        assert_eq!(moment("Europe/Tallinn", "2026-03-29T03:30:00"), None, "it was never shown");
        assert_eq!(moment("Europe/Tallinn", "2026-10-25T03:30:00"), utc("2026-10-25T01:30:00Z"), "standard time");
        assert_eq!(moment("America/New_York", "2026-11-01T01:30:00"), utc("2026-11-01T06:30:00Z"), "standard time");
        assert_eq!(moment("Europe/Dublin", "2026-10-25T01:30:00"), utc("2026-10-25T01:30:00Z"), "the later");
        assert_eq!(moment("Africa/Casablanca", "2026-02-15T02:30:00"), utc("2026-02-15T02:30:00Z"), "the later");
        assert_eq!(moment("UTC", "2026-10-25T03:30:00.000001"), utc("2026-10-25T03:30:00.000001Z"));
        assert_eq!(Zone::parse("Nowhere"), None);
        let tallinn = Zone::parse("Europe/Tallinn").unwrap();
        let shown = timestamp::wall_clock("2026-07-15T12:00:00").unwrap().0;
        assert_eq!(tallinn.wall(utc("2026-07-15T09:00:00Z").unwrap()), Some(shown));
        assert_eq!(tallinn.to_string(), "Europe/Tallinn");
        assert_eq!(tallinn.wall(timestamp::LAST), None, "beyond the last year");
    }
}
