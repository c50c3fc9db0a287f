//! What a person writes: times, sizes, shares, and `${NAME}` for a variable of the environment.

use std::{ops::Range, time::Duration};

use super::findings::Findings;

/// Replaces `${NAME}` by the environment's value. Each that is not there is a finding.
pub fn expand(findings: &mut Findings, text: &str, span: Range<usize>) -> Option<String> {
    let (mut out, mut is_whole) = (String::new(), true);
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        out += &rest[..start];
        let Some(end) = rest[start..].find('}') else {
            findings.add(span.clone(), "`${` without `}`", "write it like ${NAME}");
            return None;
        };
        let name = &rest[start + 2..start + end];
        match std::env::var(name) {
            Ok(value) => out += &value,
            Err(_) => {
                let help = format!("set {name}, or write the value itself");
                findings.add(span.clone(), format!("the environment has no variable {name}"), help);
                is_whole = false;
            }
        }
        rest = &rest[start + end + 1..];
    }
    is_whole.then(|| out + rest)
}

/// A time such as `30s` or `90d`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let millis = match text[digits..].trim() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).filter(|ms| *ms > 0).map(Duration::from_millis)
}

/// A size such as `64 MB`, in bytes.
pub fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let bytes = match text[digits..].trim() {
        "B" => 1,
        "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes).filter(|b| *b > 0)
}

/// A share such as `5%`; `off` is none.
pub fn parse_share(text: &str) -> Option<Option<f64>> {
    if text == "off" {
        return Some(None);
    }
    let share = if text.ends_with('%') { parse_percent(text) } else { None };
    share.filter(|share| *share < 1.0).map(Some)
}

/// A percentage such as `5%`, or `5`, from 0 to 100, as a share from 0 to 1.
pub fn parse_percent(text: &str) -> Option<f64> {
    let number = text.trim().strip_suffix('%').unwrap_or(text).trim();
    number.parse().ok().filter(|percent| (0.0..=100.0).contains(percent)).map(|percent: f64| percent / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages() {
        for (text, share) in [("10%", 0.1), ("10", 0.1), (" 2.5 % ", 0.025), ("0", 0.0), ("0%", 0.0), ("100%", 1.0)] {
            assert_eq!(parse_percent(text), Some(share), "{text}");
        }
        for bad in ["", "%", "101", "100.1%", "-1", "ten", "NaN", "inf", "10%%", "10 percent"] {
            assert_eq!(parse_percent(bad), None, "{bad}");
        }
        assert_eq!((parse_share("5%"), parse_share("off")), (Some(Some(0.05)), Some(None)));
        assert_eq!((parse_share("5"), parse_share("100%")), (None, None));
    }

    #[test]
    fn times_and_sizes() {
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("10 m"), Some(Duration::from_secs(600)));
        assert_eq!(parse_size("256 MB"), Some(256_000_000));
        assert_eq!(parse_size("1GiB"), Some(1 << 30));
        for bad in ["", "s", "10", "-1s", "0s", "1 day", "1.5h", "99999999999999999999h"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
        for bad in ["", "MB", "10", "0 MB", "1 mb", "1.5 GB"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }
}
