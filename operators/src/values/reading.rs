//! How the values of a column are read, where the type alone does not say it.

use super::{Action, Problem, cut, lenient, number, pattern::Pattern, shown, timestamp, zone::Zone};

/// What a job file says of how a column is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Whether the type's own form alone is taken.
    pub strict: bool,
    /// Whether the keys of its path match in any case (of ASCII).
    pub any_case: bool,
    /// What a number counts where a time is declared.
    pub epoch: Option<Epoch>,
    /// The pattern of its texts.
    pub layout: Option<Layout>,
    /// The time zone of times that name none; for a column without a zone, the one whose clock it shows.
    pub zone: Option<Zone>,
}

/// What a number counts since the beginning of 1970 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epoch {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
}

impl Epoch {
    /// All of them.
    pub const ALL: &[Epoch] = &[Epoch::Seconds, Epoch::Millis, Epoch::Micros, Epoch::Nanos];

    /// Their words in the job file.
    pub const WORDS: &[&str] =
        &[Epoch::Seconds.word(), Epoch::Millis.word(), Epoch::Micros.word(), Epoch::Nanos.word()];

    /// Its word in the job file.
    pub const fn word(self) -> &'static str {
        match self {
            Epoch::Seconds => "epoch_s",
            Epoch::Millis => "epoch_ms",
            Epoch::Micros => "epoch_us",
            Epoch::Nanos => "epoch_ns",
        }
    }

    /// The moment that a JSON number counts, in microseconds since 1970, and whether digits were lost. What is less than a microsecond
    /// is cut off towards the past.
    ///
    /// # Errors
    /// The moment is outside of the years 1 to 9999.
    pub fn moment(self, text: &str) -> Result<(i64, bool), Problem> {
        let range =
            || Problem::Range(format!("a time outside of the years 1 to 9999: {} as {}", cut(text, 100), self.word()));
        let scale = match self {
            Epoch::Seconds => 6,
            Epoch::Millis => 3,
            Epoch::Micros | Epoch::Nanos => 0,
        };
        let (units, cut_off) = number::decimal(text, 38, scale, Action::Truncate).map_err(|_| range())?;
        let unit = if self == Epoch::Nanos { 1000 } else { 1 };
        let is_past = text.starts_with('-');
        // What was cut off lies before a moment that is before 1970.
        let micros = (units - i128::from(cut_off && is_past)).div_euclid(unit);
        let lost = cut_off || units.rem_euclid(unit) != 0;
        let micros = i64::try_from(micros).ok().filter(|micros| (timestamp::FIRST..=timestamp::LAST).contains(micros));
        Ok((micros.ok_or_else(range)?, lost))
    }
}

/// A pattern with its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    text: String,
    pattern: Pattern,
    /// Whether its texts may be JSON numbers, as those of `YYYYMMDD` are.
    is_number: bool,
}

impl Layout {
    /// Reads a pattern of `to_timestamp`.
    ///
    /// # Errors
    /// It is not a pattern, has a part that can be shown and not read or that stands twice, or does not name a whole day in one way;
    /// in words.
    pub fn parse(text: &str) -> Result<Layout, String> {
        let pattern = Pattern::parse(text)?;
        if let Some(why) = pattern.unreadable() {
            return Err(why);
        }
        if let Some(why) = pattern.incomplete() {
            return Err(format!("{text:?} {why}"));
        }
        let is_number = lenient::number(&pattern.show(&chrono::DateTime::UNIX_EPOCH.naive_utc())).is_ok();
        Ok(Layout { text: text.into(), pattern, is_number })
    }

    /// As the job file writes it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A text as a day, in days since 1970.
    ///
    /// # Errors
    /// It is not in this form, or names a time of the day other than midnight.
    pub fn day(&self, text: &str) -> Result<i32, Problem> {
        if lenient::is_empty(text) {
            return Err(lenient::empty("date"));
        }
        let micros = self.read(text)?;
        match micros % 86_400_000_000 {
            0 => Ok((micros / 86_400_000_000) as i32),
            _ => Err(Problem::Kind(format!(
                "a date at another time than midnight: {} as {}",
                shown(cut(text, 100)),
                self.text
            ))),
        }
    }

    /// What a clock shows, in microseconds since 1970.
    fn read(&self, text: &str) -> Result<i64, Problem> {
        let problem = |why: String| {
            Problem::Kind(format!("not a time of that form: {} as {} ({why})", shown(cut(text, 100)), self.text))
        };
        let text = text.trim_matches(' ');
        let time = self.pattern.read(text, true).map_err(problem)?;
        if chrono::Datelike::year(&time) < 1000 {
            return Err(problem("digits of the year are missing".into()));
        }
        Ok(time.and_utc().timestamp_micros())
    }
}

impl Reading {
    /// Whether a time is read as its type says it.
    pub fn is_plain(&self) -> bool {
        self.epoch.is_none() && self.layout.is_none() && self.zone.is_none()
    }

    /// A text as a time, in microseconds since 1970, and whether digits were lost. `zoned`: a moment; else what a clock shows.
    ///
    /// # Errors
    /// The text is not such a time, or not one that there was.
    pub fn time(&self, text: &str, zoned: bool) -> Result<(i64, bool), Problem> {
        let problem = match self.text(text, zoned) {
            Err(problem @ Problem::Kind(_)) => problem,
            other => return other,
        };
        // A text of digits that is not in the form of the layout is no count: it would be a time near 1970.
        let is_count = !self.strict && self.layout.as_ref().is_none_or(|layout| !layout.is_number);
        match lenient::number(text) {
            Ok(number) if is_count && (self.epoch.is_some() || self.layout.is_none()) => self.count(number, zoned),
            _ => Err(problem),
        }
    }

    /// A number as a time.
    ///
    /// # Errors
    /// It was not declared what it counts, or it counts too much.
    pub fn count(&self, number: &str, zoned: bool) -> Result<(i64, bool), Problem> {
        let Some(epoch) = self.epoch else {
            let kind = if zoned { "timestamptz" } else { "timestamp" };
            return Err(Problem::Kind(format!(
                "a number where {kind} is declared, without `time` = {}: {}",
                Epoch::WORDS.join(", "),
                cut(number, 100)
            )));
        };
        let (moment, lost) = epoch.moment(number)?;
        match self.zone {
            Some(zone) if !zoned => Ok((zone.wall(moment).ok_or_else(|| outside(number))?, lost)),
            _ => Ok((moment, lost)),
        }
    }

    fn text(&self, text: &str, zoned: bool) -> Result<(i64, bool), Problem> {
        if lenient::is_empty(text) && !self.strict {
            return Err(lenient::empty(if zoned { "timestamptz" } else { "timestamp" }));
        }
        if let Some(layout) = &self.layout {
            let wall = layout.read(text)?;
            return Ok((self.of_wall(wall, text, zoned)?, false));
        }
        if self.strict && timestamp::is_short(text) {
            return Err(Problem::Kind(format!("a time without seconds: {}", shown(cut(text, 100)))));
        }
        let Some(zone) = self.zone else {
            return if zoned { timestamp::moment(text) } else { timestamp::wall_clock(text) };
        };
        match (timestamp::clock_of_zone(text), zoned) {
            (Ok((wall, lost)), _) => Ok((self.of_wall(wall, text, zoned)?, lost)),
            (Err(problem), _) if !timestamp::has_offset(text) => Err(problem),
            (Err(_), true) => timestamp::moment(text),
            (Err(_), false) => {
                let (moment, lost) = timestamp::moment(text)?;
                Ok((zone.wall(moment).ok_or_else(|| outside(text))?, lost))
            }
        }
    }

    /// What a clock shows, as the column has it.
    fn of_wall(&self, wall: i64, text: &str, zoned: bool) -> Result<i64, Problem> {
        let Some(zone) = self.zone.filter(|_| zoned) else { return Ok(wall) };
        let moment = zone.moment(wall).ok_or_else(|| {
            Problem::Range(format!("a time that no clock showed in that zone: {} in {zone}", shown(cut(text, 100))))
        })?;
        let is_inside = (timestamp::FIRST..=timestamp::LAST).contains(&moment);
        if is_inside { Ok(moment) } else { Err(outside(text)) }
    }
}

fn outside(text: &str) -> Problem {
    Problem::Range(format!("a time outside of the years 1 to 9999: {}", shown(cut(text, 100))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_as_times() {
        use Epoch::*;
        for (epoch, text, micros, lost) in [
            (Seconds, "1732575600", 1_732_575_600_000_000, false),
            (Seconds, "1732575600.123", 1_732_575_600_123_000, false),
            (Seconds, "1732575600.123456789", 1_732_575_600_123_456, true),
            (Seconds, "1.7325756e9", 1_732_575_600_000_000, false),
            (Seconds, "-1", -1_000_000, false),
            (Seconds, "-0.0000001", -1, true),
            (Seconds, "0", 0, false),
            (Millis, "1732575600123", 1_732_575_600_123_000, false),
            (Millis, "1732575600123.0004", 1_732_575_600_123_000, true),
            (Micros, "1732575600123456", 1_732_575_600_123_456, false),
            (Nanos, "1732575600123456789", 1_732_575_600_123_456, true),
            (Nanos, "1732575600123456000", 1_732_575_600_123_456, false),
            (Nanos, "-1", -1, true),
            (Nanos, "-1000.5", -2, true),
        ] {
            assert_eq!(epoch.moment(text), Ok((micros, lost)), "{text} {epoch:?}");
        }
        for (epoch, text) in [(Seconds, "1732575600123456"), (Millis, "1e30"), (Seconds, "1e400"), (Seconds, "-1e12")] {
            assert!(matches!(epoch.moment(text), Err(Problem::Range(_))), "{text} {epoch:?}");
        }
    }

    #[test]
    fn texts_as_times() {
        let utc = |text: &str| timestamp::moment(text).unwrap().0;
        let zone = Zone::parse("Europe/Tallinn");
        let millis = Reading { epoch: Some(Epoch::Millis), ..Reading::default() };
        assert_eq!(millis.time("1732575600123", true), Ok((1_732_575_600_123_000, false)));
        assert_eq!(millis.time(" +1732575600123 ", false), Ok((1_732_575_600_123_000, false)));
        assert_eq!(millis.time("2026-11-24T10:00:00Z", true), Ok((utc("2026-11-24T10:00:00Z"), false)), "beside it");
        assert!(matches!(millis.time("soon", true), Err(Problem::Kind(_))));
        assert!(matches!(millis.time("", true), Err(Problem::Empty(_))));
        let none = Reading::default();
        let mut both = millis.clone();
        both.layout = Layout::parse("YYYYMMDD").ok();
        assert!(both.time("20261125", true).is_ok() && both.count("1732575600123", true).is_ok());
        assert!(matches!(both.time("20261131", true), Err(Problem::Kind(_))), "no day, and no count either");
        both.layout = Layout::parse("YYYY.DDD").ok();
        assert!(both.time("2026.366", true).is_err());
        both.layout = Layout::parse("DD/MM/YYYY").ok();
        assert_eq!(both.time("1732575600123", true), Ok((1_732_575_600_123_000, false)));
        let reason = none.time(" 1732575600 ", true).unwrap_err().reason();
        assert!(reason.contains("epoch_s, epoch_ms, epoch_us, epoch_ns: 1732575600"), "{reason}");
        assert!(none.count("5", true).unwrap_err().reason().contains("epoch_s, epoch_ms, epoch_us, epoch_ns"));
        let here = Reading { zone, ..Reading::default() };
        let noon = utc("2026-11-24T10:00:00Z");
        for text in ["2026-11-24T12:00:00", "2026-11-24 12:00", "2026-11-24T10:00:00Z", "2026-11-24T11:00:00+01:00"] {
            assert_eq!(here.time(text, true), Ok((noon, false)), "{text}");
        }
        let shown = timestamp::wall_clock("2026-11-24T12:00:00").unwrap();
        for text in ["2026-11-24T12:00:00", "2026-11-24T10:00:00Z", "2026-11-24T10:00Z"] {
            assert_eq!(here.time(text, false), Ok(shown), "{text}: what a clock there shows");
        }
        assert!(matches!(here.time("2026-03-29T03:30:00", true), Err(Problem::Range(_))), "a gap");
        assert!(here.time(" 2026-11-24 10:00", true).unwrap_err().reason().starts_with("not a timestamp: "));
        assert!(matches!(none.time("2026-11-24T12:00:00", true), Err(Problem::Kind(_))), "no zone is declared");
        assert!(matches!(none.time("2026-11-24T12:00:00Z", false), Err(Problem::Kind(_))));
        let layout = Layout::parse("DD/MM/YYYY HH24:MI").ok();
        let there = Reading { zone, layout, ..Reading::default() };
        assert_eq!(there.time("24/11/2026 12:00", true), Ok((noon, false)));
        assert_eq!(there.time("24/11/2026 12:00", false), Ok(shown));
        for text in ["2026-11-24T12:00:00Z", "30/02/2026 12:00", "24/11/2026", "24/11/2026 12:00 x"] {
            assert!(matches!(there.time(text, true), Err(Problem::Kind(_))), "{text}");
        }
        let strict = Reading { strict: true, ..Reading::default() };
        assert!(strict.time("2026-11-24T12:00Z", true).is_err());
        assert!(none.time("2026-11-24T12:00Z", true).is_ok());
        for (layout, text) in [("DD/MM/YYYY", "24/11/26"), ("YYYYMMDD", "2026112"), ("YYYYMMDDHH24MI", "20261124123")] {
            let layout = Layout::parse(layout).unwrap();
            assert!(layout.read(text).is_err(), "{text} as {}", layout.text());
        }
        for (layout, text) in [
            ("MM/DD/YYYY HH12:MIAM", "11/24/2026 9:05PM"),
            ("MM/DD/YYYY HH12:MIAM", "3/4/2026 09:05AM"),
            ("DDMonthYYYY", "24November2026"),
            ("DDMonYYYY", "4Nov2026"),
        ] {
            let layout = Layout::parse(layout).unwrap();
            assert!(layout.read(text).is_ok(), "{text} as {}: {:?}", layout.text(), layout.read(text));
        }
        for (text, part) in [
            ("YYYY-MM-DD HH24:MM:SS", "MM; minutes are MI"),
            ("YY/MM/DD YYYY", "the year"),
            ("DD Mon MM YYYY", "the month"),
            ("YYYY-MM-DD HH24:MI:SS.MS.US", "the fraction"),
            ("YYYY-MM-DD DD", "DD"),
        ] {
            assert!(Layout::parse(text).unwrap_err().contains(part), "{text}");
        }
        let compact = Layout::parse("YYYYMMDDHH24MISS").unwrap();
        assert_eq!(compact.read("20261124120000"), Ok(shown.0));
        for text in ["", "HH24:MI", "DD/MM", "YYYY", "YYYY-MM-DD HH:MI", "YYYY-MM-DD HH24:MI AM", "YYYY-MM DDD"] {
            assert!(Layout::parse(text).is_err(), "{text}");
        }
        let strict = Reading { strict: true, ..there };
        assert_eq!(strict.time("24/11/2026 12:00", true), Ok((noon, false)), "the layout's own form");
        assert!(Reading { strict: true, ..millis }.time("1732575600123", true).is_err());
        let last = Reading { zone: Zone::parse("America/New_York"), ..Reading::default() };
        assert!(matches!(last.time("9999-12-31T23:59:59", true), Err(Problem::Range(_))));
        assert!(Layout::parse("IYYY").is_err() && Layout::parse("what").is_err());
    }

    proptest! {
        /// However a moment is counted, it is that moment.
        #[test]
        fn counted_and_back(micros in timestamp::FIRST..=timestamp::LAST) {
            let seconds = number::decimal_text(micros.into(), 6);
            let millis = number::decimal_text(micros.into(), 3);
            let nanos = format!("{}000", micros);
            for (epoch, text) in [(Epoch::Seconds, seconds), (Epoch::Millis, millis), (Epoch::Micros, micros.to_string()), (Epoch::Nanos, nanos)] {
                prop_assert_eq!(epoch.moment(&text), Ok((micros, false)));
            }
        }
    }
}
