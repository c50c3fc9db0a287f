//! What numbers count, where they are times. Pure.

use operators::values::reading::Epoch;

use super::seen::Seen;

/// The beginnings of 1980 and 2100, in seconds: nearly all times that are sent lie between them.
const NEAR: std::ops::RangeInclusive<f64> = 315_532_800.0..=4_102_444_800.0;

/// What most of the numbers count, if that makes them times between 1980 and 2100; else nothing is guessed. A zero says
/// nothing.
pub fn epoch(values: &[Seen]) -> Option<Epoch> {
    let numbers: Vec<f64> = numbers(values).filter(|number| *number != 0.0).collect();
    let count = |unit: &Epoch| numbers.iter().filter(|number| is_near(**number, *unit)).count();
    Epoch::ALL.iter().find(|unit| count(unit) * 2 > numbers.len()).copied()
}

/// How many of the numbers would not be times between 1980 and 2100, in words; `None` if all are.
pub fn far(values: &[Seen], unit: Epoch) -> Option<String> {
    let all = numbers(values).count();
    let is_past = |number: &f64| *number / per_second(unit) < *NEAR.start();
    let past = numbers(values).filter(is_past).count();
    let future = numbers(values).filter(|number| !is_near(*number, unit)).count() - past;
    let when = match (past, future) {
        (0, 0) => return None,
        (_, 0) => "before 1980",
        (0, _) => "after 2100",
        _ => "before 1980 or after 2100",
    };
    Some(format!(
        "{} of {all} {} would be times {when}, as if they counted something else",
        past + future,
        if all == 1 { "number" } else { "numbers" },
    ))
}

/// Whether some of the numbers count another unit: not times between 1980 and 2100 in this one, and such times in that
/// one.
pub fn is_mixed(values: &[Seen], unit: Epoch) -> bool {
    let other = |number: f64| Epoch::ALL.iter().any(|other| is_near(number, *other));
    numbers(values).any(|number| !is_near(number, unit) && other(number))
}

/// Whether some of the numbers are times between 1980 and 2100 in one unit, and others in another.
pub fn is_several(values: &[Seen]) -> bool {
    Epoch::ALL.iter().filter(|unit| numbers(values).any(|number| is_near(number, **unit))).count() > 1
}

// Only to guess: nothing of it becomes a value.
fn numbers(values: &[Seen]) -> impl Iterator<Item = f64> {
    values.iter().filter_map(Seen::number).filter_map(|text| text.parse().ok())
}

fn is_near(number: f64, unit: Epoch) -> bool {
    NEAR.contains(&(number / per_second(unit)))
}

fn per_second(unit: Epoch) -> f64 {
    match unit {
        Epoch::Seconds => 1.0,
        Epoch::Millis => 1e3,
        Epoch::Micros => 1e6,
        Epoch::Nanos => 1e9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(values: &[&str]) -> Vec<Seen> {
        values.iter().map(|value| Seen::of_json(value).unwrap()).collect()
    }

    #[test]
    fn what_numbers_count() {
        for (values, unit) in [
            (&["1732575600"][..], Some(Epoch::Seconds)),
            (&["1732575600.5", "\"1732575600\"", "0", "0"], Some(Epoch::Seconds)),
            (&["1732575600123", "1732575600123", "1732575600"], Some(Epoch::Millis)),
            (&["1732575600123", "1732575600"], None),
            (&["1732575600123456"], Some(Epoch::Micros)),
            (&["1732575600123456789"], Some(Epoch::Nanos)),
            (&["5"], None),
            (&["0"], None),
            (&["\"soon\""], None),
        ] {
            assert_eq!(epoch(&seen(values)), unit, "{values:?}");
        }
    }

    #[test]
    fn numbers_that_count_something_else() {
        let mixed = seen(&["1732575600123", "1732575600", "\"2026-11-24T10:00:00Z\""]);
        let said = "1 of 2 numbers would be times before 1980, as if they counted something else";
        assert_eq!(far(&mixed, Epoch::Millis).as_deref(), Some(said));
        assert!(is_mixed(&mixed, Epoch::Millis));
        let born = seen(&["157766400000", "1732575600123", "0", "-86400000"]);
        assert!(far(&born, Epoch::Millis).is_some() && !is_mixed(&born, Epoch::Millis), "times may be old");
        let both = far(&seen(&["5", "9732575600"]), Epoch::Seconds).unwrap();
        assert!(both.starts_with("2 of 2 numbers would be times before 1980 or after 2100"), "{both}");
        assert_eq!(far(&seen(&["1732575600"]), Epoch::Seconds), None);
    }
}
