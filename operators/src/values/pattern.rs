//! The patterns of `to_char`, `to_date` and `to_timestamp`, and of `layout` in the job file, compiled once.
//! <https://docs.aws.amazon.com/redshift/latest/dg/r_FORMAT_strings.html>

use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};

use super::shown;

/// A piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// Stands for itself.
    Text(String),
    /// A part of the time; `fill` says whether it is padded.
    Part { part: Part, fill: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Year4,
    Year2,
    IsoYear,
    Quarter,
    Month,
    MonthName(Case),
    MonthShort(Case),
    Day,
    DayOfYear,
    DayOfWeek,
    DayName(Case),
    DayShort(Case),
    IsoWeek,
    Hour24,
    Hour12,
    Minute,
    Second,
    Millis,
    Micros,
    Meridiem(Case),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Upper,
    Title,
    Lower,
}

const PARTS: &[(&str, Part)] = &[
    // Longer ones first: the first that fits is it.
    ("YYYY", Part::Year4),
    ("IYYY", Part::IsoYear),
    ("YY", Part::Year2),
    ("MONTH", Part::MonthName(Case::Upper)),
    ("Month", Part::MonthName(Case::Title)),
    ("month", Part::MonthName(Case::Lower)),
    ("MON", Part::MonthShort(Case::Upper)),
    ("Mon", Part::MonthShort(Case::Title)),
    ("mon", Part::MonthShort(Case::Lower)),
    ("MM", Part::Month),
    ("DDD", Part::DayOfYear),
    ("DD", Part::Day),
    ("DAY", Part::DayName(Case::Upper)),
    ("Day", Part::DayName(Case::Title)),
    ("day", Part::DayName(Case::Lower)),
    ("DY", Part::DayShort(Case::Upper)),
    ("Dy", Part::DayShort(Case::Title)),
    ("dy", Part::DayShort(Case::Lower)),
    ("D", Part::DayOfWeek),
    ("IW", Part::IsoWeek),
    ("HH24", Part::Hour24),
    ("HH12", Part::Hour12),
    ("HH", Part::Hour12),
    ("MI", Part::Minute),
    ("SS", Part::Second),
    ("MS", Part::Millis),
    ("US", Part::Micros),
    ("Q", Part::Quarter),
    ("AM", Part::Meridiem(Case::Upper)),
    ("PM", Part::Meridiem(Case::Upper)),
    ("am", Part::Meridiem(Case::Lower)),
    ("pm", Part::Meridiem(Case::Lower)),
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Piece>);

impl Pattern {
    /// Reads a pattern. A letter that is not a part of it must stand in double quotes.
    ///
    /// # Errors
    /// A letter or a quote that means nothing, in words.
    pub fn parse(text: &str) -> Result<Pattern, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        let mut literal = String::new();
        while let Some(c) = rest.chars().next() {
            if c == '"' {
                let Some((inside, after)) = rest[1..].split_once('"') else {
                    return Err(format!("{text:?}: a quote does not end"));
                };
                literal += inside;
                rest = after;
                continue;
            }
            let (fill, bare) = rest.strip_prefix("FM").map_or((true, rest), |bare| (false, bare));
            // What is written in another case means the same, where there are not several.
            let found = PARTS.iter().find(|(name, _)| bare.starts_with(name)).or_else(|| {
                PARTS.iter().find(|(name, part)| {
                    let one_form = !matches!(
                        part,
                        Part::MonthName(_)
                            | Part::MonthShort(_)
                            | Part::DayName(_)
                            | Part::DayShort(_)
                            | Part::Meridiem(_)
                    );
                    one_form && bare.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
                })
            });
            match found {
                Some((name, part)) => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut literal)));
                    }
                    pieces.push(Piece::Part { part: *part, fill });
                    rest = &bare[name.len()..];
                }
                None if c.is_alphabetic() => {
                    return Err(format!(
                        "{text:?}: what is {rest:?}? Letters that stand for themselves go in double quotes"
                    ));
                }
                None => {
                    literal.push(c);
                    rest = &rest[c.len_utf8()..];
                }
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Pattern(pieces))
    }

    /// The time in this form.
    pub fn show(&self, time: &NaiveDateTime) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out += text,
                Piece::Part { part, fill } => out += &show(*part, *fill, time),
            }
        }
        out
    }

    /// The time that a text in this form says: all of the text. Days that a month does not have, and hours, minutes and seconds
    /// beyond the last, run over into what comes next, unless it is to be `strict`.
    pub fn read(&self, text: &str, strict: bool) -> Result<NaiveDateTime, String> {
        let mut fields = Fields::default();
        let mut rest = text;
        for (place, piece) in self.0.iter().enumerate() {
            match piece {
                Piece::Text(literal) => {
                    rest = rest.strip_prefix(literal.as_str()).ok_or_else(|| format!("{literal:?} is missing"))?;
                }
                Piece::Part { part, .. } => {
                    let after = fields.read(*part, rest)?;
                    let width = part.digits().filter(|_| strict && self.touches_digits(place));
                    if width.is_some_and(|width| rest.len() - after.len() < width) {
                        return Err("digits are missing".into());
                    }
                    rest = after;
                }
            }
        }
        match rest.is_empty() {
            true => fields.time(strict),
            false => Err(format!("unexpected {} after the time", shown(rest))),
        }
    }

    /// Whether other digits stand beside a part's own, so that their number alone says where it ends.
    fn touches_digits(&self, place: usize) -> bool {
        let has_digits = |piece: &Piece| matches!(piece, Piece::Part { part, .. } if part.digits().is_some());
        let before = place.checked_sub(1).and_then(|before| self.0.get(before));
        before.is_some_and(has_digits) || self.0.get(place + 1).is_some_and(has_digits)
    }

    /// What is missing for a day to be read, or contradicts itself; in words.
    pub fn incomplete(&self) -> Option<&'static str> {
        let has =
            |is: fn(Part) -> bool| self.0.iter().any(|piece| matches!(piece, Piece::Part { part, .. } if is(*part)));
        let month = has(|part| matches!(part, Part::Month | Part::MonthName(_) | Part::MonthShort(_)));
        let (day, day_of_year) = (has(|part| part == Part::Day), has(|part| part == Part::DayOfYear));
        let (hour24, hour12) = (has(|part| part == Part::Hour24), has(|part| part == Part::Hour12));
        let half = has(|part| matches!(part, Part::Meridiem(_)));
        match () {
            () if !has(|part| matches!(part, Part::Year4 | Part::Year2)) => Some("has no year: YYYY or YY"),
            () if day_of_year && (month || day) => Some("has a day of the year beside a month or a day"),
            () if !(day_of_year || month && day) => Some("has no month and day: MM and DD, or DDD"),
            () if hour24 && (hour12 || half) => Some("has HH24 beside an hour of twelve"),
            () if hour12 != half => {
                Some("has an hour of twelve without AM, or AM without one: write HH24, or HH12 and AM")
            }
            () => None,
        }
    }

    /// Why a pattern can be shown and not read, in words.
    pub fn unreadable(&self) -> Option<String> {
        let unread = self.only_shown().map(|part| format!("{part} can be shown and not read"));
        unread.or_else(|| self.twice().map(|part| format!("{part} stands twice, so it is not clear which one counts")))
    }

    /// What stands in it twice, of which one can be meant.
    fn twice(&self) -> Option<&'static str> {
        let mut seen = Vec::new();
        let said = self.0.iter().filter_map(|piece| match piece {
            Piece::Part { part, .. } => part.says(),
            Piece::Text(_) => None,
        });
        said.into_iter().find(|says| {
            let is_new = !seen.contains(says);
            seen.push(says);
            !is_new
        })
    }

    /// The first piece that can be shown and not read, if there is one.
    fn only_shown(&self) -> Option<&'static str> {
        self.0.iter().find_map(|piece| match piece {
            Piece::Part { part: Part::IsoYear, .. } => Some("IYYY"),
            Piece::Part { part: Part::IsoWeek, .. } => Some("IW"),
            Piece::Part { part: Part::Quarter, .. } => Some("Q"),
            Piece::Part { part: Part::DayOfWeek, .. } => Some("D"),
            Piece::Part { part: Part::DayName(_), .. } => Some("DAY"),
            Piece::Part { part: Part::DayShort(_), .. } => Some("DY"),
            _ => None,
        })
    }
}

impl Part {
    /// What it says of a time that is read, as a person may know it.
    fn says(self) -> Option<&'static str> {
        use Part::*;
        Some(match self {
            Year4 | Year2 => "the year",
            Month | MonthName(_) | MonthShort(_) => "the month (MM; minutes are MI)",
            Day => "DD",
            DayOfYear => "DDD",
            Hour24 => "HH24",
            Hour12 => "HH12",
            Minute => "MI",
            Second => "SS",
            Millis | Micros => "the fraction of a second",
            Meridiem(_) => "AM",
            IsoYear | Quarter | DayOfWeek | DayName(_) | DayShort(_) | IsoWeek => return None,
        })
    }

    /// How many digits it has at most, where it has digits.
    fn digits(self) -> Option<usize> {
        use Part::*;
        match self {
            Micros => Some(6),
            Year4 => Some(4),
            DayOfYear | Millis => Some(3),
            Year2 | Month | Day | Hour24 | Hour12 | Minute | Second => Some(2),
            _ => None,
        }
    }
}

fn in_case(text: &str, case: Case) -> String {
    match case {
        Case::Upper => text.to_uppercase(),
        Case::Title => text.into(),
        Case::Lower => text.to_lowercase(),
    }
}

fn show(part: Part, fill: bool, time: &NaiveDateTime) -> String {
    let number = |value: u32, width: usize| if fill { format!("{value:0width$}") } else { value.to_string() };
    // Names are padded to the longest.
    let name = |text: &str, case| if fill { format!("{:<9}", in_case(text, case)) } else { in_case(text, case) };
    let (month, day) = (MONTHS[time.month0() as usize], DAYS[time.weekday().num_days_from_sunday() as usize]);
    let hour12 = (time.hour() + 11) % 12 + 1;
    match part {
        Part::Year4 => number(time.year() as u32, 4),
        Part::Year2 => number(time.year() as u32 % 100, 2),
        Part::IsoYear => number(time.iso_week().year() as u32, 4),
        Part::Quarter => (time.month0() / 3 + 1).to_string(),
        Part::Month => number(time.month(), 2),
        Part::MonthName(case) => name(month, case),
        Part::MonthShort(case) => in_case(&month[..3], case),
        Part::Day => number(time.day(), 2),
        Part::DayOfYear => number(time.ordinal(), 3),
        Part::DayOfWeek => (time.weekday().num_days_from_sunday() + 1).to_string(),
        Part::DayName(case) => name(day, case),
        Part::DayShort(case) => in_case(&day[..3], case),
        Part::IsoWeek => number(time.iso_week().week(), 2),
        Part::Hour24 => number(time.hour(), 2),
        Part::Hour12 => number(hour12, 2),
        Part::Minute => number(time.minute(), 2),
        Part::Second => number(time.second(), 2),
        Part::Millis => number(time.nanosecond() / 1_000_000, 3),
        Part::Micros => number(time.nanosecond() / 1_000, 6),
        Part::Meridiem(case) => in_case(if time.hour() < 12 { "AM" } else { "PM" }, case),
    }
}

#[derive(Default)]
struct Fields {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    hour24: Option<u32>,
    hour12: Option<u32>,
    afternoon: Option<bool>,
    minute: Option<u32>,
    second: Option<u32>,
    micros: Option<u32>,
}

impl Fields {
    fn read<'a>(&mut self, part: Part, text: &'a str) -> Result<&'a str, String> {
        let digits = |most: usize| -> Result<(u32, usize), String> {
            let count = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
            let number = text[..count].parse().map_err(|_| format!("a number is missing before {}", shown(text)))?;
            Ok((number, count))
        };
        // A fraction of a second: its first digit is a tenth.
        let fraction = |most: usize| digits(most).map(|(number, count)| (number * 10u32.pow(6 - count as u32), count));
        let named = |names: &[&str], short: bool| -> Result<(u32, usize), String> {
            let found = names.iter().enumerate().find_map(|(i, name)| {
                let name = if short { &name[..3] } else { name };
                text.get(..name.len())
                    .filter(|start| start.eq_ignore_ascii_case(name))
                    .map(|_| (i as u32 + 1, name.len()))
            });
            found.ok_or_else(|| format!("a name is missing before {}", shown(text)))
        };
        let used = match part {
            Part::Year4 => {
                let (year, used) = digits(4)?;
                self.year = Some(year as i32);
                used
            }
            Part::Year2 => {
                let (year, used) = digits(2)?;
                self.year = Some(year as i32 + if year < 70 { 2000 } else { 1900 });
                used
            }
            Part::Month => set(&mut self.month, digits(2)?),
            Part::MonthName(_) => set(&mut self.month, named(&MONTHS, false)?),
            Part::MonthShort(_) => set(&mut self.month, named(&MONTHS, true)?),
            Part::Day => set(&mut self.day, digits(2)?),
            Part::DayOfYear => set(&mut self.day_of_year, digits(3)?),
            Part::Hour24 => set(&mut self.hour24, digits(2)?),
            Part::Hour12 => set(&mut self.hour12, digits(2)?),
            Part::Minute => set(&mut self.minute, digits(2)?),
            Part::Second => set(&mut self.second, digits(2)?),
            Part::Millis => set(&mut self.micros, fraction(3)?),
            Part::Micros => set(&mut self.micros, fraction(6)?),
            Part::Meridiem(_) => {
                let word = text.get(..2).unwrap_or_default();
                self.afternoon = Some(match word.to_ascii_uppercase().as_str() {
                    "AM" => false,
                    "PM" => true,
                    _ => return Err(format!("AM or PM is missing before {}", shown(text))),
                });
                2
            }
            Part::IsoYear | Part::IsoWeek | Part::Quarter | Part::DayOfWeek | Part::DayName(_) | Part::DayShort(_) => {
                return Err("this part cannot be read".into());
            }
        };
        Ok(&text[used..])
    }

    fn time(&self, strict: bool) -> Result<NaiveDateTime, String> {
        let year = self.year.filter(|year| (1..=9999).contains(year)).ok_or("the year is missing or 0")?;
        let (first, day) = match self.day_of_year {
            Some(day) => (NaiveDate::from_yo_opt(year, 1), day),
            None => (NaiveDate::from_ymd_opt(year, self.month.unwrap_or(1), 1), self.day.unwrap_or(1)),
        };
        let no_day = "there is no such day";
        let first = first.ok_or(no_day)?;
        let before = day.checked_sub(1).ok_or(no_day)?;
        let date = first.checked_add_days(Days::new(before.into())).ok_or(no_day)?;
        let runs_over = match self.day_of_year {
            Some(_) => date.year() != year,
            None => date.month() != first.month(),
        };
        if strict && runs_over {
            return Err(no_day.into());
        }
        let no_time = "there is no such time";
        let hour = match (self.hour24, self.hour12, self.afternoon) {
            (Some(hour), _, _) => hour,
            (None, Some(hour), afternoon) if (1..=12).contains(&hour) => {
                hour % 12 + if afternoon == Some(true) { 12 } else { 0 }
            }
            (None, Some(_), _) => return Err(no_time.into()),
            (None, None, _) => 0,
        };
        let (minute, second) = (self.minute.unwrap_or(0), self.second.unwrap_or(0));
        if strict && (hour > 23 || minute > 59 || second > 59) {
            return Err(no_time.into());
        }
        let seconds = TimeDelta::seconds((i64::from(hour) * 60 + i64::from(minute)) * 60 + i64::from(second));
        let time = date.and_time(NaiveTime::MIN) + seconds + TimeDelta::microseconds(self.micros.unwrap_or(0).into());
        if time.year() > 9999 {
            return Err(no_day.into());
        }
        Ok(time)
    }
}

fn set(field: &mut Option<u32>, (value, used): (u32, usize)) -> usize {
    *field = Some(value);
    used
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> NaiveDateTime {
        text.parse().unwrap()
    }

    #[test]
    fn shown() {
        let time = at("2026-03-04T15:06:07.008009");
        for (pattern, shown) in [
            ("YYYY-MM-DD HH24:MI:SS.US", "2026-03-04 15:06:07.008009"),
            ("yyyy/mm/dd", "2026/03/04"),
            ("FMDD. FMMonth YYYY", "4. March 2026"),
            ("Month|DAY|mon|Dy", "March    |WEDNESDAY|mar|Wed"),
            ("HH12:MI am, Q, DDD, D, IW, IYYY, YY, MS", "03:06 pm, 1, 063, 4, 10, 2026, 26, 008"),
            ("\"at\" HH24\"h\"", "at 15h"),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().show(&time), shown, "{pattern}");
        }
        assert_eq!(Pattern::parse("HH:MI AM").unwrap().show(&at("2026-01-01T00:30:00")), "12:30 AM");
        for bad in ["YYYY x", "at", "\"open", "TZ"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn read() {
        let read = |pattern: &str, text: &str| Pattern::parse(pattern).unwrap().read(text, true);
        for (pattern, text, time) in [
            ("YYYY-MM-DD", "2026-03-04", "2026-03-04T00:00:00"),
            ("DD Mon YYYY HH12:MI PM", "4 mar 2026 12:06 am", "2026-03-04T00:06:00"),
            ("YYYYMMDDHH24MISS", "20260304150607", "2026-03-04T15:06:07"),
            ("YY DDD", "69 366", "INVALID"),
            ("YY DDD", "68 366", "2068-12-31T00:00:00"),
            ("YYYY-MM-DD HH24:MI:SS.MS", "2026-03-04 15:06:07.5", "2026-03-04T15:06:07.500"),
        ] {
            match time {
                "INVALID" => assert!(read(pattern, text).is_err(), "{text}"),
                time => assert_eq!(read(pattern, text), Ok(at(time)), "{text}"),
            }
        }
        for text in ["2026-02-30", "2026-13-01", "2026-3", "2026-03-04x", "x", "", "２026-03-04"] {
            assert!(read("YYYY-MM-DD", text).is_err(), "{text}");
        }
        assert!(Pattern::parse("IYYY").unwrap().unreadable().is_some());
    }

    /// The first two are the examples of
    /// <https://docs.aws.amazon.com/redshift/latest/dg/r_TO_DATE_function.html> and
    /// <https://docs.aws.amazon.com/redshift/latest/dg/r_TO_TIMESTAMP.html>.
    #[test]
    fn what_is_too_much_runs_over_unless_it_is_strict() {
        for (pattern, text, time) in [
            ("YYYYMMDD", "20010631", "2001-07-01T00:00:00"),
            ("YYYY-MM-DD HH24:MI:SS", "2011-12-18 24:38:15", "2011-12-19T00:38:15"),
            ("YYYY-MM-DD HH24:MI:SS", "2024-02-30 23:59:60", "2024-03-02T00:00:00"),
            ("YYYY DDD", "2025 366", "2026-01-01T00:00:00"),
        ] {
            let pattern = Pattern::parse(pattern).unwrap();
            assert_eq!(pattern.read(text, false), Ok(at(time)), "{text}");
            assert!(pattern.read(text, true).is_err(), "{text}");
        }
        for (pattern, text) in
            [("YYYY-MM-DD", "2026-13-01"), ("YYYY-MM-DD", "2026-01-00"), ("YYYY-MM-DD", "9999-12-32"), ("YYYY", "0000")]
        {
            assert!(Pattern::parse(pattern).unwrap().read(text, false).is_err(), "{text}");
        }
    }
}
