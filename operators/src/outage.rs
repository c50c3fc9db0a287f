//! What is done while another system is away: the same again, with growing pauses and a deadline, for everybody to see.

use std::time::{Duration, Instant};

use crate::events::{Event, Watch};

/// How long an outage of another system is waited for.
pub const OUTAGE_WITHIN: Duration = Duration::from_secs(30 * 60);

/// How long a topic must be gone until that is believed: a broker that has just started may not know it yet. Less than a job may
/// take to drain.
pub const GONE_AFTER: Duration = Duration::from_secs(15);

/// Asks for what is of a topic until there is an answer. `Ok(None)` and an outage are believed after [`GONE_AFTER`]; any other
/// error is given at once.
pub fn until_known<T>(ask: impl Fn() -> connectors::Result<Option<T>>) -> connectors::Result<Option<T>> {
    let since = Instant::now();
    loop {
        match ask() {
            Ok(None) if since.elapsed() < GONE_AFTER => {}
            Err(error) if error.is_retriable() && since.elapsed() < GONE_AFTER => {}
            answer => return answer,
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Does something that may be done twice, again and again while that can help.
pub fn try_again<T>(doing: &str, watch: &Watch, act: impl Fn() -> connectors::Result<T>) -> connectors::Result<T> {
    let since = Instant::now();
    let (mut pause, mut again) = (Duration::from_millis(200), false);
    loop {
        match act() {
            Err(error) if error.is_retriable() && since.elapsed() < OUTAGE_WITHIN => {
                watch(Event::Retrying { doing: doing.into(), why: chain(&error) });
                again = true;
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_secs(10));
            }
            result => {
                if again && result.is_ok() {
                    watch(Event::Recovered { doing: doing.into() });
                }
                return result;
            }
        }
    }
}

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
