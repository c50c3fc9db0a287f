//! The moment that `--since` says: a time that has passed, or a day, or a moment.

use std::time::Duration;

use checkpoint::Micros;
use operators::{
    time::now,
    values::{Problem, timestamp},
};

use crate::{
    error::{Code, CodedError, Result},
    job::parse_duration,
};

/// The moment of a `--since`.
pub(super) fn moment_of(text: &str) -> Result<Micros> {
    let ago = |age: Duration| now().0.checked_sub(i64::try_from(age.as_micros()).ok()?);
    let since = match parse_duration(text).map(ago) {
        Some(since) => since.ok_or_else(|| "so long ago there was no time".to_string()),
        None => moment(text),
    };
    let is_in_calendar = |at: &i64| (timestamp::FIRST..=timestamp::LAST).contains(at);
    let outside = || "it is outside of the years 1 to 9999".to_string();
    since.and_then(|at| Some(at).filter(is_in_calendar).ok_or_else(outside)).map(Micros).map_err(|why| {
        let what = format!(
            "--since {text:?}: {why}; write a moment as RFC 3339 has it, like 2026-11-24T10:00:00Z, or a day in UTC, like 2026-11-24, \
             or how long ago, like 90m, 24h or 7d"
        );
        CodedError::new(Code::Usage, what)
    })
}

/// A day or a moment in microseconds since 1970, or why it is neither.
fn moment(text: &str) -> Result<i64, String> {
    if let Ok(days) = timestamp::day(text) {
        return Ok(i64::from(days) * 86_400_000_000);
    }
    if !text.starts_with(|c: char| c.is_ascii_digit()) || !text.contains('-') {
        return Err("it is not a time".into());
    }
    timestamp::moment(text).map(|(micros, _)| micros).map_err(Problem::reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since() {
        let (before, since, after) = (now().0, moment_of("90m").unwrap().0, now().0);
        assert!((before..=after).contains(&(since + 5_400_000_000)), "{since}");
        for (text, micros) in [
            ("1970-01-02", 86_400_000_000),
            ("1970-01-01T00:00:01Z", 1_000_000),
            ("1970-01-01t00:00:01.5z", 1_500_000),
            ("1970-01-01 00:00:01.000001Z", 1_000_001),
            ("1970-01-01T02:00:01+02:00", 1_000_000),
        ] {
            assert_eq!(moment_of(text).unwrap(), Micros(micros), "{text}");
        }
        // What is told is taken.
        let told = now();
        assert_eq!(moment_of(&told.to_string()).unwrap(), told);
        for (bad, why) in [
            ("x", "it is not a time"),
            ("", "it is not a time"),
            ("-1h", "it is not a time"),
            ("5ä", "it is not a time"),
            ("0s", "it is not a time"),
            ("yesterday", "it is not a time"),
            ("1795517694", "it is not a time"),
            ("24.11.2026", "it is not a time"),
            ("2026-11-24T10:00:00", "it has no offset such as Z or +01:00"),
            ("2026-02-30", "there is no such day"),
            ("2026-11-24T25:00:00Z", "there is no such time"),
            ("900000d", "outside of the years"),
            ("200000000d", "so long ago there was no time"),
        ] {
            let error = moment_of(bad).unwrap_err();
            assert_eq!(error.code, Code::Usage);
            assert!(error.what.contains(why) && error.what.contains("2026-11-24T10:00:00Z"), "{bad}: {}", error.what);
        }
    }
}
