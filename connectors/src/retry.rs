//! The one way to try something again: growing pauses with jitter, a deadline, and a bound on the attempts.
//!
//! Who tries again makes a [`Retry`] and asks it after each failure. It answers with the pause before the next try, or with nothing
//! when the next one is of no use. It does not sleep: who must not block can wait in another way.

use std::{
    error::Error as StdError,
    time::{Duration, Instant},
};

use crate::{Error, Fault};

/// How long, how often and how fast something is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The first pause; each further one is twice as long.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// No try begins later than this after the first one.
    pub within: Duration,
    /// The most tries, the first one included.
    pub attempts: u32,
}

impl Policy {
    /// Pauses from a fifth of a second to ten seconds, as often as it takes.
    pub const fn within(within: Duration) -> Policy {
        Policy { first: Duration::from_millis(200), longest: Duration::from_secs(10), within, attempts: u32::MAX }
    }
}

/// An answer that nobody knows is believed once it came so often, in the same words, ...
const STRANGE_TIMES: u32 = 10;
/// ... over so long.
const STRANGE_WITHIN: Duration = Duration::from_secs(10 * 60);

/// Something that is being tried.
#[derive(Debug)]
pub struct Retry {
    policy: Policy,
    since: Instant,
    failures: u32,
    strange: Option<Strange>,
}

/// An answer that nobody knows.
#[derive(Debug)]
struct Strange {
    words: String,
    since: Instant,
    times: u32,
}

impl Retry {
    /// The first try begins now.
    pub fn new(policy: Policy) -> Retry {
        Retry { policy, since: Instant::now(), failures: 0, strange: None }
    }

    /// How long it has been tried.
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// How long it is still tried.
    pub fn left(&self) -> Duration {
        self.policy.within.saturating_sub(self.since.elapsed())
    }

    /// The pause before the next try; `None` if the policy allows none.
    pub fn pause(&mut self) -> Option<Duration> {
        self.failures += 1;
        pause(&self.policy, self.failures, self.since.elapsed(), fastrand::f64())
    }

    /// The same after this error; `None` also where a later try is of no use: the error says so, or the same strange answer came ten
    /// times over ten minutes.
    pub fn after(&mut self, error: &Error) -> Option<Duration> {
        if !error.is_retriable() || self.is_settled(error, Instant::now()) {
            return None;
        }
        self.pause()
    }

    /// Whether a strange answer has come often enough to be believed.
    fn is_settled(&mut self, error: &Error, now: Instant) -> bool {
        if error.fault != Fault::Strange {
            self.strange = None;
            return false;
        }
        let words = words(error);
        let strange = match self.strange.take() {
            Some(same) if same.words == words => Strange { times: same.times + 1, ..same },
            _ => Strange { words, since: now, times: 1 },
        };
        let settled = strange.times >= STRANGE_TIMES && now.duration_since(strange.since) >= STRANGE_WITHIN;
        self.strange = Some(strange);
        settled
    }

    /// Sleeps for the pause. Whether there is a next try.
    pub fn rest(&mut self) -> bool {
        self.pause().map(std::thread::sleep).is_some()
    }
}

/// Pure: the pause after so many failures. `jitter`, from 0 to 1, takes up to half of it away, so that many who failed at one
/// moment do not come back at one moment.
fn pause(policy: &Policy, failures: u32, elapsed: Duration, jitter: f64) -> Option<Duration> {
    if failures >= policy.attempts {
        return None;
    }
    let doubled = policy.first.checked_mul(1 << (failures - 1).min(30)).unwrap_or(policy.longest);
    let pause = doubled.min(policy.longest).mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0);
    (elapsed + pause < policy.within).then_some(pause)
}

/// What was answered, without the numbers in it: each answer names another query.
fn words(error: &Error) -> String {
    let mut words = String::new();
    let mut cause = StdError::source(error);
    while let Some(error) = cause {
        words += &error.to_string();
        cause = error.source();
    }
    words.retain(|c| !c.is_ascii_digit());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        first: Duration::from_millis(100),
        longest: Duration::from_secs(1),
        within: Duration::from_secs(10),
        attempts: 20,
    };

    #[test]
    fn pauses_grow_up_to_the_longest_and_end_with_time_or_attempts() {
        let at = |failures, elapsed_ms, jitter| {
            pause(&POLICY, failures, Duration::from_millis(elapsed_ms), jitter).map(|pause| pause.as_millis())
        };
        let grown: Vec<_> = (1..=6).map(|failures| at(failures, 0, 0.0)).collect();
        assert_eq!(grown, [100, 200, 400, 800, 1000, 1000].map(Some));
        assert_eq!((at(1, 0, 1.0), at(5, 0, 0.5)), (Some(50), Some(750)), "half of it at most");
        assert_eq!((at(5, 8_999, 0.0), at(5, 9_000, 0.0)), (Some(1000), None), "no try begins after the deadline");
        assert_eq!((at(19, 0, 0.0), at(20, 0, 0.0)), (Some(1000), None), "the twentieth try was the last");
        assert_eq!(at(2_000_000_000, 0, 0.0), None);
        let endless = Policy { attempts: u32::MAX, ..POLICY };
        assert_eq!(pause(&endless, 2_000_000_000, Duration::ZERO, 0.0), Some(POLICY.longest));
    }

    #[test]
    fn an_error_that_no_retry_changes_ends_it_at_once() {
        for (fault, again) in [
            (Fault::Outage, true),
            (Fault::Strange, true),
            (Fault::Denied, false),
            (Fault::Missing, false),
            (Fault::Refused, false),
            (Fault::Machine, false),
            (Fault::Bug, false),
        ] {
            assert_eq!(Retry::new(POLICY).after(&Error::new(fault, "x")).is_some(), again, "{fault:?}");
        }
    }

    #[test]
    fn a_strange_answer_is_believed_after_ten_times_over_ten_minutes() {
        let strange = |words: &str| Error::new(Fault::Strange, "COPY").because(words.to_string());
        let minutes = |m: u64| Duration::from_secs(60 * m);
        // (what is answered, after how many minutes), and which answer settles it.
        let settles = |answers: &[(&str, u64)]| {
            let (mut retry, start) = (Retry::new(POLICY), Instant::now());
            let mut at = answers.iter().map(|(words, m)| retry.is_settled(&strange(words), start + minutes(*m)));
            at.position(|settled| settled)
        };
        let each_minute: Vec<(String, u64)> = (0..=12).map(|m| (format!("XX000: assert, query {m}"), m)).collect();
        let each_minute: Vec<(&str, u64)> = each_minute.iter().map(|(words, m)| (words.as_str(), *m)).collect();
        assert_eq!(settles(&each_minute), Some(10), "the numbers in it differ, its words do not");
        assert_eq!(settles(&[("a", 0); 50]), None, "fifty times at once are one accident");
        assert_eq!(settles(&[("a", 0), ("a", 11), ("a", 22)]), None, "three times are few");
        let mut broken = each_minute.clone();
        broken[5] = ("something else", 5);
        assert_eq!(settles(&broken), None, "another answer begins anew");
    }
}
