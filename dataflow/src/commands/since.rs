//! The moment that `--since` says: a time that has passed, or a day, or a moment.

use std::time::Duration;

use checkpoint::Micros;
use operators::{time::now, values::timestamp};

use crate::{
    error::{Code, CodedError, Result},
    job::parse_duration,
};

/// The moment of a `--since`.
pub(super) fn moment_of(text: &str) -> Result<Micros> {
    let ago = |age: Duration| now().0.checked_sub(i64::try_from(age.as_micros()).ok()?);
    let since = parse_duration(text).and_then(ago).or_else(|| moment(text));
    since.filter(|at| (timestamp::FIRST..=timestamp::LAST).contains(at)).map(Micros).ok_or_else(|| {
        let what = format!("--since {text:?}: write it like 90m, 24h, 7d, 2026-11-24 or 2026-11-24T10:00:00Z");
        CodedError::new(Code::Usage, what)
    })
}

fn moment(text: &str) -> Option<i64> {
    let day = timestamp::day(text).ok().map(|days| i64::from(days) * 86_400_000_000);
    day.or_else(|| timestamp::moment(text).ok().map(|(micros, _)| micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since() {
        let (before, since, after) = (now().0, moment_of("90m").unwrap().0, now().0);
        assert!((before..=after).contains(&(since + 5_400_000_000)), "{since}");
        for bad in ["x", "", "-1h", "5ä", "0s"] {
            assert!(moment_of(bad).is_err(), "{bad}");
        }
        assert_eq!(moment("1970-01-02"), Some(86_400_000_000));
        assert_eq!(moment("1970-01-01T00:00:01Z"), Some(1_000_000));
        assert!(moment_of("200000000d").is_err() && moment_of("99999999999999d").is_err());
        assert!(moment_of("yesterday").is_err());
    }
}
