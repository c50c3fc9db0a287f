//! The moment that `--since` says: a time that has passed, or a day, or a moment.

use checkpoint::Micros;
use operators::{time::now, values::timestamp};

use crate::error::{Code, Error, Result};

/// The moment of a `--since`.
pub(super) fn moment_of(text: &str) -> Result<Micros> {
    let since = ago(text).and_then(|ago| now().0.checked_sub(ago)).or_else(|| moment(text));
    since.filter(|at| (timestamp::FIRST..=timestamp::LAST).contains(at)).map(Micros).ok_or_else(|| {
        let what = format!("--since {text:?}: write it like 90m, 24h, 7d, 2026-11-24 or 2026-11-24T10:00:00Z");
        Error::new(Code::Usage, what)
    })
}

fn ago(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<i64>().ok().filter(|n| *n >= 0)?.checked_mul(seconds * 1_000_000)
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
        assert_eq!(
            (ago("90m"), ago("7d"), ago("x"), ago(""), ago("-1h"), ago("5ä")),
            (Some(5_400_000_000), Some(604_800_000_000), None, None, None, None)
        );
        assert_eq!(moment("1970-01-02"), Some(86_400_000_000));
        assert_eq!(moment("1970-01-01T00:00:01Z"), Some(1_000_000));
        assert!(moment_of("200000000d").is_err() && moment_of("99999999999999d").is_err());
        assert!(moment_of("yesterday").is_err());
    }
}
