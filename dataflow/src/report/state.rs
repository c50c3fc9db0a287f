//! Decides the state of a process that has not ended. It comes from what was achieved, never from a thread that exists: "running" means that
//! records are loaded, "idle" that Kafka said a moment ago that there are none.

use std::time::Duration;

use crate::state::State;

/// How long what Kafka said of its topics holds. It is asked every five seconds, so one answer may be late.
pub const ANSWER_HOLDS: Duration = Duration::from_secs(10);

/// What a state is decided on.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Whether the job was told to stop.
    pub stopping: bool,
    /// Whether this process only reads, and another one loads. What it reads is all that can be asked of it.
    pub only_reads: bool,
    /// Whether something failed and is tried again, or Kafka has not answered for so long that nobody knows what it has.
    pub retrying: bool,
    /// Offsets that are not loaded; unknown until Kafka has answered.
    pub unloaded: Option<u64>,
    /// How old the records are that wait, at most.
    pub behind: Option<Duration>,
    /// Since the last load of the partition that stands still longest of those in which something waits, or since nothing waited there.
    pub progress_ago: Duration,
    /// Three epochs, and a little.
    pub patience: Duration,
}

/// Decides the state of a process that has not ended.
pub fn state(seen: &Seen) -> State {
    let late = seen.progress_ago > seen.patience || seen.behind.is_some_and(|behind| behind > seen.patience);
    match seen.unloaded {
        _ if seen.stopping => State::Draining,
        _ if seen.retrying => State::Retrying,
        _ if seen.only_reads => State::Running,
        None => State::Starting,
        Some(0) => State::Idle,
        Some(_) if late => State::Behind,
        Some(_) => State::Running,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_from_what_was_achieved() {
        let seconds = Duration::from_secs;
        let good = Seen {
            stopping: false,
            only_reads: false,
            retrying: false,
            unloaded: Some(5),
            behind: Some(seconds(3)),
            progress_ago: seconds(3),
            patience: seconds(105),
        };
        for (what, seen, expected) in [
            ("it loads", good.clone(), State::Running),
            ("Kafka has not answered", Seen { unloaded: None, ..good.clone() }, State::Starting),
            (
                "nothing to load, for hours",
                Seen { unloaded: Some(0), behind: None, progress_ago: seconds(9000), ..good.clone() },
                State::Idle,
            ),
            ("no load for long", Seen { progress_ago: seconds(106), ..good.clone() }, State::Behind),
            ("it loads, but old records", Seen { behind: Some(seconds(106)), ..good.clone() }, State::Behind),
            (
                "it reads for another, which loads",
                Seen { only_reads: true, unloaded: None, ..good.clone() },
                State::Running,
            ),
            ("it fails", Seen { retrying: true, unloaded: Some(0), ..good.clone() }, State::Retrying),
            ("told to stop while it fails", Seen { stopping: true, retrying: true, ..good.clone() }, State::Draining),
        ] {
            assert_eq!(state(&seen), expected, "{what}");
        }
    }
}
