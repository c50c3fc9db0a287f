//! Dates and times as SQL takes them in a text, beyond ISO 8601: with names of months, the month first, without separators.
//!
//! The order is that of Redshift's default DateStyle, `ISO, MDY`. What its documentation shows is taken, and what reads in one
//! way only; what depends on the moment at which it is read is not.
//! <https://docs.aws.amazon.com/redshift/latest/dg/r_Date_and_time_literals.html>

use chrono::{Datelike, NaiveDate, Weekday};

use crate::values::{shown, timestamp, zone::Zone};

const MICROS_A_DAY: i64 = 86_400_000_000;
const MINUTE: i64 = 60_000_000;

/// A text as microseconds since 1970: of a moment if `zoned`, where one without a zone is in UTC; else of what a clock shows.
///
/// # Errors
/// It is not such a time, or not one that there was; why, in words.
pub fn read(text: &str, zoned: bool) -> Result<i64, String> {
    let text = text.trim();
    match text.to_ascii_lowercase().as_str() {
        "epoch" => return Ok(0),
        word @ ("now" | "today" | "tomorrow" | "yesterday") => {
            return Err(format!("'{word}' is another time whenever a record is read again: use _timestamp"));
        }
        "infinity" | "-infinity" | "invalid" | "" => return Err("it names no day".into()),
        _ => {}
    }
    let mut fields = Fields::default();
    let chunks = text.split(|c: char| c.is_whitespace() || c == ',').filter(|chunk| !chunk.is_empty());
    for chunk in chunks {
        // `T` between digits stands between date and time.
        let between = chunk.char_indices().zip(chunk.chars().skip(1)).skip(1).find_map(|((at, c), next)| {
            let after_digit = chunk.as_bytes()[at - 1].is_ascii_digit();
            (matches!(c, 'T' | 't') && after_digit && next.is_ascii_digit()).then_some(at)
        });
        match between {
            Some(at) => {
                fields.take(&chunk[..at])?;
                fields.time(&chunk[at + 1..])?;
            }
            None => fields.take(chunk)?,
        }
    }
    fields.micros(zoned)
}

/// What a text has named so far.
#[derive(Default)]
struct Fields<'a> {
    date: Option<NaiveDate>,
    month: Option<u32>,
    /// Of a date with the name of a month: its day and its year, in the order in which they stand.
    numbers: Vec<&'a str>,
    weekday: Option<Weekday>,
    /// Microseconds of the day.
    time: Option<i64>,
    is_afternoon: Option<bool>,
    zone: Option<Place>,
}

/// Where a clock hangs.
enum Place {
    /// So many minutes east of UTC.
    East(i64),
    Zone(Zone),
}

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Mon),
    ("tuesday", Weekday::Tue),
    ("wednesday", Weekday::Wed),
    ("thursday", Weekday::Thu),
    ("friday", Weekday::Fri),
    ("saturday", Weekday::Sat),
    ("sunday", Weekday::Sun),
];

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Minutes east of UTC of abbreviations that mean one zone in PostgreSQL and by common use. Those that mean several, like IST, are
/// left out.
const ABBREVIATIONS: &[(&str, i64)] = &[
    ("utc", 0),
    ("ut", 0),
    ("gmt", 0),
    ("z", 0),
    ("zulu", 0),
    ("wet", 0),
    ("west", 60),
    ("bst", 60),
    ("cet", 60),
    ("cest", 120),
    ("eet", 120),
    ("eest", 180),
    ("msk", 180),
    ("ast", -240),
    ("adt", -180),
    ("est", -300),
    ("edt", -240),
    ("cst", -360),
    ("cdt", -300),
    ("mst", -420),
    ("mdt", -360),
    ("pst", -480),
    ("pdt", -420),
    ("akst", -540),
    ("akdt", -480),
    ("hst", -600),
    ("jst", 540),
    ("kst", 540),
    ("hkt", 480),
    ("sgt", 480),
    ("awst", 480),
    ("aest", 600),
    ("aedt", 660),
    ("nzst", 720),
    ("nzdt", 780),
];

impl<'a> Fields<'a> {
    /// A piece between blanks.
    fn take(&mut self, chunk: &'a str) -> Result<(), String> {
        let has_letters = chunk.contains(|c: char| c.is_alphabetic());
        let first = chunk.chars().next().unwrap_or_default();
        match chunk {
            _ if first.is_alphabetic() && chunk.chars().all(|c| c.is_alphabetic() || c == '.') => self.word(chunk),
            _ if matches!(first, '+' | '-') => self.set_zone(offset(chunk), chunk),
            _ if chunk.contains(':') => self.time(chunk),
            _ if chunk.bytes().all(|b| b.is_ascii_digit()) => self.digits(chunk),
            // `040506.789` after the date.
            _ if self.date.is_some() => match has_letters && first.is_alphabetic() {
                true => self.zone(chunk),
                false => self.time(chunk),
            },
            _ => match self.parted(chunk) {
                Some(date) => date,
                None if first.is_alphabetic() => self.zone(chunk),
                None => Err(format!("{} is neither a date nor a time", shown(chunk))),
            },
        }
    }

    fn word(&mut self, word: &str) -> Result<(), String> {
        let folded = word.trim_end_matches('.').to_ascii_lowercase();
        if let Some(month) = month(&folded) {
            return match self.month.replace(month) {
                None if self.date.is_none() => Ok(()),
                _ => Err("it has two months".into()),
            };
        }
        if let Some((_, weekday)) =
            WEEKDAYS.iter().find(|(name, _)| *name == folded || folded.len() == 3 && name.starts_with(&folded))
        {
            self.weekday = Some(*weekday);
            return Ok(());
        }
        if folded == "am" || folded == "pm" {
            return self.meridiem(&folded);
        }
        self.zone(word)
    }

    fn meridiem(&mut self, half: &str) -> Result<(), String> {
        match self.is_afternoon.replace(half == "pm") {
            None if self.time.is_some() => Ok(()),
            _ => Err(format!("{half} stands after no time")),
        }
    }

    fn zone(&mut self, name: &str) -> Result<(), String> {
        let short = ABBREVIATIONS.iter().find(|(short, _)| name.eq_ignore_ascii_case(short));
        let place = match short {
            Some((_, east)) => Some(Place::East(*east)),
            None => Zone::parse(name).map(Place::Zone),
        };
        match place {
            Some(place) => self.set_zone(Some(place), name),
            None => Err(format!("{} is neither a month nor a time zone", shown(name))),
        }
    }

    fn set_zone(&mut self, place: Option<Place>, text: &str) -> Result<(), String> {
        let Some(place) = place else { return Err(format!("{} is not an offset such as +01:00", shown(text))) };
        match self.zone.replace(place) {
            None => Ok(()),
            Some(_) => Err("it has two time zones".into()),
        }
    }

    /// Digits alone: a date, a time after one, or a part of a date with the name of a month.
    fn digits(&mut self, digits: &'a str) -> Result<(), String> {
        let is_begun = self.month.is_some() || !self.numbers.is_empty();
        match digits.len() {
            4 | 6 if self.day().is_ok() && self.time.is_none() => self.time(digits),
            1 | 2 | 4 => {
                self.numbers.push(digits);
                Ok(())
            }
            8 if !is_begun => self.set_date(&digits[..4], number(&digits[4..6])?, &digits[6..]),
            6 if !is_begun => self.set_date(&digits[..2], number(&digits[2..4])?, &digits[4..]),
            _ => Err(format!("{} is neither a date nor a time", shown(digits))),
        }
    }

    /// A date with the same separator between its parts; `None` if it is none.
    fn parted(&mut self, chunk: &'a str) -> Option<Result<(), String>> {
        let separator = chunk.chars().find(|c| matches!(c, '-' | '/' | '.'))?;
        let parts: Vec<&str> = chunk.split(separator).collect();
        let is_number = |part: &str| !part.is_empty() && part.len() <= 4 && part.bytes().all(|b| b.is_ascii_digit());
        let named = |part: &str| month(&part.to_ascii_lowercase());
        Some(match parts.as_slice() {
            [year, day]
                if separator == '.' && year.len() == 4 && day.len() == 3 && is_number(year) && is_number(day) =>
            {
                self.day_of_year(year, day)
            }
            [a, b, c] if is_number(a) && is_number(b) && is_number(c) => match a.len() {
                4 => number(b).and_then(|month| self.set_date(a, month, c)),
                1 | 2 => number(a).and_then(|month| match month {
                    1..=12 => self.set_date(c, month, b),
                    _ => Err(format!("there is no month {month}, which stands first")),
                }),
                _ => Err(format!("{} is not a date", shown(chunk))),
            },
            [a, b, c] => {
                let places = [a, b, c].map(|part| named(part));
                let (Some(month), 1) = (places.iter().flatten().next(), places.iter().flatten().count()) else {
                    return None;
                };
                let numbers: Vec<&str> = parts.iter().copied().filter(|part| is_number(part)).collect();
                let [first, second] = numbers[..] else { return None };
                self.named_date(*month, first, second)
            }
            _ => return None,
        })
    }

    fn day_of_year(&mut self, year: &str, day: &str) -> Result<(), String> {
        let date = NaiveDate::from_yo_opt(number(year)? as i32, number(day)?);
        self.date = Some(date.filter(|date| date.year() > 0).ok_or("there is no such day")?);
        Ok(())
    }

    /// The one of four digits is the year; of two short ones it stands last.
    fn named_date(&mut self, month: u32, first: &str, second: &str) -> Result<(), String> {
        let (year, day) = if first.len() > 2 { (first, second) } else { (second, first) };
        self.set_date(year, month, day)
    }

    fn set_date(&mut self, year: &str, month: u32, day: &str) -> Result<(), String> {
        if self.date.is_some() {
            return Err("it has two dates".into());
        }
        let (short, year) = (year.len() <= 2, number(year)? as i32);
        let year = match year {
            year if !short => year,
            0..=69 => year + 2000,
            _ => year + 1900,
        };
        let day = number(day)?;
        let date = NaiveDate::from_ymd_opt(year, month, day).filter(|_| (1..=9999).contains(&year));
        self.date = Some(date.ok_or_else(|| format!("there is no day {day} of month {month} in the year {year}"))?);
        Ok(())
    }

    /// `hh:mm`, `hh:mm:ss.ffffff`, `hhmm` or `hhmmss`, and what stands straight after it: AM, PM, a zone.
    fn time(&mut self, chunk: &'a str) -> Result<(), String> {
        if self.time.is_some() {
            return Err("it has two times".into());
        }
        let is_part = |c: char| c.is_ascii_digit() || matches!(c, ':' | '.');
        let (clock, rest) = chunk.split_at(chunk.find(|c| !is_part(c)).unwrap_or(chunk.len()));
        let (whole, fraction) = clock.split_once('.').map_or((clock, None), |(w, f)| (w, Some(f)));
        let parts: Vec<&str> = match (whole.contains(':'), whole.len()) {
            (true, _) => whole.split(':').collect(),
            (false, 4) => vec![&whole[..2], &whole[2..]],
            (false, 6) => vec![&whole[..2], &whole[2..4], &whole[4..]],
            _ => return Err(format!("{} is not a time", shown(chunk))),
        };
        let (hour, minute, second) = match parts[..] {
            [hour, minute] if fraction.is_none() => (short(hour)?, short(minute)?, 0),
            [hour, minute, second] => (short(hour)?, short(minute)?, short(second)?),
            _ => return Err(format!("{} is not a time", shown(chunk))),
        };
        if hour > 23 || minute > 59 || second > 59 {
            return Err(format!("there is no time {clock}"));
        }
        let micros = match fraction {
            None => 0,
            Some(digits) if (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) => {
                // What is less than a microsecond is cut off.
                format!("{digits:0<6}")[..6].parse().unwrap_or(0)
            }
            Some(_) => return Err("a fraction has 1 to 9 digits".into()),
        };
        let seconds = i64::from((hour * 60 + minute) * 60 + second);
        self.time = Some(seconds * 1_000_000 + micros);
        match rest {
            "" => Ok(()),
            _ if rest.starts_with(['+', '-']) => self.set_zone(offset(rest), rest),
            _ => self.word(rest),
        }
    }

    fn day(&self) -> Result<NaiveDate, String> {
        let (None, Some(month), [first, second]) = (self.date, self.month, &self.numbers[..]) else {
            return match (self.date, self.month, &self.numbers[..]) {
                (Some(date), None, []) => Ok(date),
                (None, ..) => Err("it has no whole date".into()),
                _ => Err("it has two dates".into()),
            };
        };
        let mut date = Fields::default();
        date.named_date(month, first, second)?;
        date.date.ok_or_else(|| "it has no whole date".into())
    }

    fn micros(&self, zoned: bool) -> Result<i64, String> {
        let day = self.day()?;
        if let Some(weekday) = self.weekday.filter(|weekday| *weekday != day.weekday()) {
            return Err(format!("that day is a {}, not a {weekday}", day.weekday()));
        }
        let time = self.time.unwrap_or(0);
        let hours = time / (60 * MINUTE);
        let time = match self.is_afternoon {
            None => time,
            Some(_) if hours > 12 => return Err("AM and PM stand after hours up to 12".into()),
            Some(is_afternoon) => time % (12 * 60 * MINUTE) + if is_afternoon { 12 * 60 * MINUTE } else { 0 },
        };
        let days = day.signed_duration_since(NaiveDate::default()).num_days();
        let wall = days * MICROS_A_DAY + time;
        let moment = match &self.zone {
            None | Some(Place::East(0)) => wall,
            Some(_) if !zoned => {
                return Err("it has a time zone other than UTC: cast it to timestamptz first".into());
            }
            Some(Place::East(minutes)) => wall - minutes * MINUTE,
            Some(Place::Zone(zone)) => {
                zone.moment(wall).ok_or_else(|| format!("no clock showed that time in {zone}"))?
            }
        };
        match (timestamp::FIRST..=timestamp::LAST).contains(&moment) {
            true => Ok(moment),
            false => Err("outside of the years 1 to 9999".into()),
        }
    }
}

fn month(folded: &str) -> Option<u32> {
    let is_it = |name: &&str| *name == folded || folded == "sept" && *name == "september" || folded == &name[..3];
    MONTHS.iter().position(is_it).map(|place| place as u32 + 1)
}

fn number(digits: &str) -> Result<u32, String> {
    digits.parse().map_err(|_| format!("{} is not a number", shown(digits)))
}

/// A part of a time.
fn short(digits: &str) -> Result<u32, String> {
    match digits.len() {
        1 | 2 => number(digits),
        _ => Err(format!("{} is not a part of a time", shown(digits))),
    }
}

/// `+h`, `+hh`, `+hhmm`, `+hh:mm`.
fn offset(text: &str) -> Option<Place> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) if minutes.len() == 2 => (hours, minutes),
        Some(_) => return None,
        None if digits.len() == 4 => digits.split_at_checked(2)?,
        None => (digits, "0"),
    };
    let is_number = |text: &str| matches!(text.len(), 1 | 2) && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(hours) || !is_number(minutes) {
        return None;
    }
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 18 && minutes <= 59).then_some(Place::East(sign * (hours * 60 + minutes)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn utc(text: &str) -> i64 {
        timestamp::moment(&format!("{text}Z")).unwrap().0
    }

    /// The examples of <https://docs.aws.amazon.com/redshift/latest/dg/r_Date_and_time_literals.html>,
    /// of <https://docs.aws.amazon.com/redshift/latest/dg/automatic-recognition.html>, and their neighbours.
    #[test]
    fn forms_that_redshift_documents() {
        for (text, day) in [
            ("January 8, 1999", "1999-01-08"),
            ("1999-01-08", "1999-01-08"),
            ("1/8/1999", "1999-01-08"),
            ("01/02/00", "2000-01-02"),
            ("2000-Jan-31", "2000-01-31"),
            ("Jan-31-2000", "2000-01-31"),
            ("31-Jan-2000", "2000-01-31"),
            ("20080215", "2008-02-15"),
            ("080215", "2008-02-15"),
            ("2008.366", "2008-12-31"),
            ("11/25/2026", "2026-11-25"),
            ("20261125", "2026-11-25"),
            ("Nov 25, 2026", "2026-11-25"),
            ("nov 25 2026", "2026-11-25"),
            ("25 November 2026", "2026-11-25"),
            ("2026-Nov-25", "2026-11-25"),
            ("Nov-25-2026", "2026-11-25"),
            ("2026 Nov 25", "2026-11-25"),
            ("08-FEB-15", "2015-02-08"),
            ("8 Feb 99", "1999-02-08"),
            ("1/8/70", "1970-01-08"),
            ("1/8/69", "2069-01-08"),
            ("Jun 1,2008", "2008-06-01"),
            ("Jun,30,2008", "2008-06-30"),
            ("Sept 1, 2026", "2026-09-01"),
            ("2026/11/25", "2026-11-25"),
            ("2026.11.25", "2026-11-25"),
            ("11.25.2026", "2026-11-25"),
            ("11-25-2026", "2026-11-25"),
            ("2026-1-5", "2026-01-05"),
            ("Wed, 25 Nov 2026", "2026-11-25"),
            ("epoch", "1970-01-01"),
        ] {
            assert_eq!(read(text, false), Ok(utc(&format!("{day}T00:00:00"))), "{text}");
        }
        for (text, time) in [
            ("20080215 04:05:06.789", "2008-02-15T04:05:06.789"),
            ("20080215 04:05:06", "2008-02-15T04:05:06"),
            ("20080215 04:05", "2008-02-15T04:05:00"),
            ("20080215 040506", "2008-02-15T04:05:06"),
            ("20080215 040506.5", "2008-02-15T04:05:06.5"),
            ("20080215T040506", "2008-02-15T04:05:06"),
            ("20080215 0405", "2008-02-15T04:05:00"),
            ("20080215 04:05 AM", "2008-02-15T04:05:00"),
            ("20080215 04:05 PM", "2008-02-15T16:05:00"),
            ("20080215 04:05pm", "2008-02-15T16:05:00"),
            ("20080215 12:05 AM", "2008-02-15T00:05:00"),
            ("20080215 12:05 PM", "2008-02-15T12:05:00"),
            ("20080215 16:05", "2008-02-15T16:05:00"),
            ("Jun 1,2008  09:59:59", "2008-06-01T09:59:59"),
            ("Dec 31,2008 18:20", "2008-12-31T18:20:00"),
            ("6/1/2008 09:59:59", "2008-06-01T09:59:59"),
            ("6/1/2008 9:5", "2008-06-01T09:05:00"),
            ("17 Dec 07:37:16 1997", "1997-12-17T07:37:16"),
            ("12.17.1997 07:37:16.00", "1997-12-17T07:37:16"),
            ("Nov 25 2026 0405", "2026-11-25T04:05:00"),
            ("2026-11-25 10:00", "2026-11-25T10:00:00"),
            ("2026-11-25T10:00:00Z", "2026-11-25T10:00:00"),
            ("2026-11-25 10:00:00 UTC", "2026-11-25T10:00:00"),
            ("2026-11-25 10:00:00.1234567", "2026-11-25T10:00:00.123456"),
        ] {
            assert_eq!(read(text, false), Ok(utc(time)), "{text}");
            assert_eq!(read(text, true), Ok(utc(time)), "{text}");
        }
        for (text, time) in [
            ("Jun 1,2008 09:59:59 EST", "2008-06-01T14:59:59"),
            ("17 Dec 07:37:16 1997 PST", "1997-12-17T15:37:16"),
            ("11/25/2026 10:00+02", "2026-11-25T08:00:00"),
            ("11/25/2026 10:00 +0230", "2026-11-25T07:30:00"),
            ("11/25/2026 10:00 -2:30", "2026-11-25T12:30:00"),
            ("Wed, 25 Nov 2026 10:00:00 +0100", "2026-11-25T09:00:00"),
            ("Nov 25, 2026 12:00 Europe/Tallinn", "2026-11-25T10:00:00"),
            ("20260725 05:00 america/new_york", "2026-07-25T09:00:00"),
            ("Nov 25, 2026 CET", "2026-11-24T23:00:00"),
        ] {
            assert_eq!(read(text, true), Ok(utc(time)), "{text}");
            assert!(read(text, false).unwrap_err().contains("cast it to timestamptz first"), "{text}");
        }
    }

    /// Each form that the page on queries shows is taken.
    #[test]
    fn the_page_on_queries_shows_forms_that_are_taken() {
        let page = include_str!("../../../../docs/sql.md");
        let forms = |part: &str| {
            let row = page.lines().find_map(|line| line.strip_prefix(&format!("| {part} | "))).expect(part);
            row.split('`').skip(1).step_by(2).map(String::from).collect::<Vec<_>>()
        };
        let (days, times, zones) = (forms("date"), forms("time"), forms("zone"));
        assert!(days.len() > 9 && times.len() > 4 && zones.len() > 6);
        for day in &days {
            assert_eq!(read(day, false), Ok(utc("2026-11-25T00:00:00")), "{day}");
        }
        for time in times.iter().filter(|time| *time != "T") {
            read(&format!("{} {time}", days[0]), false).unwrap_or_else(|why| panic!("{time}: {why}"));
        }
        for zone in zones.iter().filter(|zone| *zone != "timestamptz") {
            read(&format!("{} 10:00 {zone}", days[0]), true).unwrap_or_else(|why| panic!("{zone}: {why}"));
        }
    }

    #[test]
    fn what_is_not_taken() {
        for (text, why) in [
            ("", "no day"),
            ("soon", "neither a month nor a time zone"),
            ("25/11/2026", "there is no month 25"),
            ("25.11.2026", "there is no month 25"),
            ("99-01-08", "there is no month 99"),
            ("99-Jan-08", "there is no day 99"),
            ("02/30/2026", "there is no day 30 of month 2"),
            ("Jun,31,2008", "there is no day 31 of month 6"),
            ("20260230", "there is no day 30 of month 2"),
            ("2026.367", "no such day"),
            ("2026.365.1", "there is no day"),
            ("0000-01-01", "there is no day"),
            ("2026-11", "neither a date nor a time"),
            ("2026", "no whole date"),
            ("1732575600", "neither a date nor a time"),
            ("10:00", "no whole date"),
            ("Nov 25", "no whole date"),
            ("Nov Dec 2026", "two months"),
            ("Nov 25, 2026 Dec 1, 2026", "two months"),
            ("11/25/2026 11/26/2026", "not a time"),
            ("11/25/2026 10:00 11:00", "two times"),
            ("11/25/2026 24:00", "no time 24:00"),
            ("11/25/2026 10:60", "no time 10:60"),
            ("11/25/2026 13:00 PM", "up to 12"),
            ("11/25/2026 PM", "after no time"),
            ("11/25/2026 10:00 +25", "not an offset"),
            ("11/25/2026 10:00 IST", "neither a month nor a time zone"),
            ("11/25/2026 10:00 UTC CET", "two time zones"),
            ("Tue, 25 Nov 2026", "that day is a Wed"),
            ("now", "_timestamp"),
            ("Today", "_timestamp"),
            ("tomorrow", "_timestamp"),
            ("yesterday", "_timestamp"),
            ("infinity", "no day"),
            ("Jan 8, 99 BC", "neither a month nor a time zone"),
            ("２026-11-25", "neither a date nor a time"),
            ("2026-03-29 03:30 Europe/Tallinn", "no clock showed"),
            ("9999-12-31 23:59:59 -01", "outside of the years"),
        ] {
            let refused = read(text, true).expect_err(text);
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }

    proptest! {
        /// What is ISO 8601 reads as it does there.
        #[test]
        fn as_iso(micros in timestamp::FIRST..=timestamp::LAST) {
            let text = checkpoint::Micros(micros).to_text();
            prop_assert_eq!(read(&text, false), Ok(micros));
            prop_assert_eq!(read(&format!("{text}+00:00"), true), Ok(micros));
        }

        /// No text panics.
        #[test]
        fn any_text(text in "[0-9a-zA-Z:./ ,+é-]{0,30}") {
            let _ = (read(&text, true), read(&text, false));
        }

        /// Nor does one that is nearly a time.
        #[test]
        fn nearly(text in "(Jan|11|2026|é)?[-/. ](2|Feb|25)?[-/. ,]?(99|2026)?[ T]?[0-9]{0,2}:?[0-9.]{0,4}(AM|Z|[+]02|é)?") {
            let _ = (read(&text, true), read(&text, false));
        }
    }
}
