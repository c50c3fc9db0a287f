//! A stream of clicks for demonstrations: a shop's events as JSON, some of them broken.

use std::time::{Duration, Instant};

use crate::{
    error::{Result, StackError},
    kafka::topics::{Record, Sender, Taken, Topic},
};

/// What is sent.
#[derive(Clone, Debug)]
pub struct Clicks {
    /// The brokers.
    pub brokers: String,
    /// The topic; it is made if it is not there.
    pub topic: Topic,
    /// How long it goes on.
    pub seconds: u64,
    /// Records a second.
    pub rate: u64,
}

/// How many were sent: all, and the broken ones among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// All.
    pub records: u64,
    /// Those that no table could take.
    pub broken: u64,
}

/// One click; of every hundred one is broken, each in another way.
pub fn click(n: u64) -> (String, bool) {
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let country = ["ee", "de", "fr", "us", "jp"][(mixed >> 8) as usize % 5];
    let kind = if mixed.is_multiple_of(10) { "purchase" } else { "view" };
    let seconds = n / 50;
    let ts = format!(
        "2026-11-24T{:02}:{:02}:{:02}.{:03}Z",
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
        mixed % 1000
    );
    let (quantity, price) = (1 + mixed % 4, format!("{}.{:02}", 1 + mixed % 300, mixed % 100));
    let whole = |price: &str, ts: &str| {
        format!(
            r#"{{"event_id":"{mixed:016x}","user_id":{},"kind":"{kind}","country":"{country}","price":{price},"quantity":{quantity},"ts":"{ts}","device":{{"os":"linux"}},"url":"/item/{}"}}"#,
            mixed % 100_000,
            mixed % 5000
        )
    };
    match (n % 100, n / 100 % 4) {
        (99, 0) => (whole(&price, &ts)[..60].to_string(), true),
        (99, 1) => (whole("\"a lot\"", &ts), true),
        (99, 2) => (whole(&price, "2026-02-30T00:00:00Z"), true),
        (99, _) => (whole("12345678901234.5", &ts), true),
        _ => (whole(&price, &ts), false),
    }
}

impl Clicks {
    /// Sends them, evenly, and waits until all are acknowledged.
    pub fn send(&self) -> Result<Sent> {
        let mut sender = Sender::new(&self.brokers, &self.topic)?;
        let since = Instant::now();
        let mut sent = Sent::default();
        while sent.records < self.seconds * self.rate {
            // What is due by now, so that a pause is made up for.
            let due = (since.elapsed().as_millis() as u64 * self.rate / 1000).min(self.seconds * self.rate);
            while sent.records < due {
                let (text, broken) = click(sent.records);
                let record = Record { value: Some(text.into_bytes()), ..Record::default() };
                match sender.send(&record).map_err(StackError::kafka("take a click"))? {
                    Taken::Yes => {}
                    Taken::NotNow => break,
                }
                sent.records += 1;
                sent.broken += u64::from(broken);
            }
            sender.rest(Duration::from_millis(20));
        }
        let refused = |(number, error)| StackError::kafka(format!("take click {number}"))(error);
        sender.finish().map_err(refused)?;
        Ok(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_hundred_is_broken() {
        let broken: Vec<u64> = (0..400).filter(|n| click(*n).1).collect();
        assert_eq!(broken, [99, 199, 299, 399]);
        let parsed = |n| serde_json::from_str::<serde_json::Value>(&click(n).0);
        assert!(parsed(99).is_err() && parsed(0).is_ok() && parsed(199).is_ok());
        assert_eq!(parsed(199).unwrap()["price"], "a lot");
    }
}
