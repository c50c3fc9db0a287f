//! The state of a job in one word.

use serde::{Deserialize, Serialize};

/// The states of a process that runs a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Not all processes of the cluster are there yet.
    WaitingForPeers,
    /// Not reading yet: it takes the fence, or Kafka has not said yet how far its topics go.
    Starting,
    /// Records are loaded.
    Running,
    /// There are records, and those that wait are older than three epochs and a little, or nothing was loaded for so long.
    Behind,
    /// Everything is loaded that Kafka has.
    Idle,
    /// Another system fails; what failed is tried again, and needs nobody.
    Retrying,
    /// It was told to stop, and loads what it has read.
    Draining,
    /// It ended, and may be started again.
    Stopped,
    /// It ended, and a person is needed before it is started again.
    Halted,
    /// It ended because a newer start of the job holds the fence.
    Fenced,
}

impl State {
    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            State::WaitingForPeers => "waiting-for-peers",
            State::Starting => "starting",
            State::Running => "running",
            State::Behind => "behind",
            State::Idle => "idle",
            State::Retrying => "retrying",
            State::Draining => "draining",
            State::Stopped => "stopped",
            State::Halted => "halted",
            State::Fenced => "fenced",
        }
    }

    /// Whether somebody should look.
    pub fn is_good(self) -> bool {
        !matches!(self, State::Behind | State::Retrying | State::Halted | State::Fenced)
    }
}
