//! Numbers and times as people say them.

use std::time::Duration;

use checkpoint::Micros;

use super::facts::HeldUp;

/// `, 2 things`, or nothing where there are none.
pub(super) fn counted(number: u64, thing: &str) -> String {
    match number {
        0 => String::new(),
        1 => format!(", 1 {thing}"),
        _ => format!(", {number} {thing}s"),
    }
}

/// Which partition a transaction holds up, where, and since when.
pub(super) fn held_up(held: &HeldUp) -> String {
    let HeldUp { topic, partition, offset, since_us, others } = held;
    let since = Micros(*since_us);
    let others = match others {
        0 => String::new(),
        1 => ", and so is 1 other partition".into(),
        _ => format!(", and so are {others} other partitions"),
    };
    format!("{topic}[{partition}] is held up at offset {offset} by a transaction that is open since {since:.0}{others}")
}

/// A duration as a person would say it.
pub(super) fn spoken(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A moment as RFC 3339 has it, in UTC, to the second: `2026-11-24T10:54:54Z`.
pub(super) fn moment(at: Micros) -> String {
    format!("{at:.0}")
}

/// The time of day of a moment, in UTC: `10:54:54Z`.
pub(super) fn clock(at: Micros) -> String {
    moment(at).get(11..).unwrap_or_default().into()
}

/// A large number in few columns: `1204`, `12 k`, `3.4 M`.
pub(super) fn short(number: u64) -> String {
    const UNITS: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
    if number < 10_000 {
        return number.to_string();
    }
    let mut thousands = number as f64;
    let mut unit = "";
    for name in UNITS {
        if thousands < 1000.0 {
            break;
        }
        (thousands, unit) = (thousands / 1000.0, name);
    }
    let digits = usize::from(thousands < 10.0);
    format!("{thousands:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        let at = Micros(1_795_517_694_999_999);
        assert_eq!((moment(at), clock(at)), ("2026-11-24T10:54:54Z".into(), "10:54:54Z".into()));
    }

    #[test]
    fn a_large_number_takes_few_columns() {
        let numbers = [0, 9999, 10_000, 123_456, 3_400_000, u64::MAX];
        assert_eq!(numbers.map(short), ["0", "9999", "10 k", "123 k", "3.4 M", "18 E"]);
    }
}
