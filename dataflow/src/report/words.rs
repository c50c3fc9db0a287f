//! Numbers, times and lags as people say them.

use std::time::Duration;

use checkpoint::Micros;

use super::facts::{HeldUp, TopicLag};

/// `, 2 things`, or nothing where there are none.
pub(super) fn counted(number: u64, thing: &str) -> String {
    match number {
        0 => String::new(),
        1 => format!(", 1 {thing}"),
        _ => format!(", {number} {thing}s"),
    }
}

/// How far one topic is ahead.
pub(super) fn lag(lag: &TopicLag) -> String {
    let topic = &lag.topic;
    let behind = lag.behind_ms.map_or(String::new(), |ms| format!(", {} behind", spoken(Duration::from_millis(ms))));
    match lag.unloaded {
        None => format!("topic {topic}: Kafka has not said how far it goes"),
        Some(0) => format!("topic {topic}: all loaded"),
        Some(1) => format!("topic {topic}: 1 offset not loaded{behind}"),
        Some(unloaded) => format!("topic {topic}: {unloaded} offsets not loaded{behind}"),
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
