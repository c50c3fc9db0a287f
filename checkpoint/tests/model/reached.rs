//! What a run must have come across, or it has shown little.

use std::sync::atomic::{AtomicU64, Ordering};

/// Things that a run counts, by steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// The whole log is in the target.
    EverythingLoaded,
    /// A start found its own nonce in the fence, which nobody had told it.
    TakenUnanswered,
    /// A T1 that nobody waited for took the fence.
    Ghost,
    /// The same, and its process was dead.
    GhostOfTheDead,
    /// A start was shown tables that are older than what it knew.
    ShownOlder,
    /// T2 found a newer generation.
    FencedAtStart,
    /// The fence refused a load of an older generation.
    ZombieRefused,
    /// The fence refused a load that was in already.
    LoadedAlready,
    /// A doubtful COMMIT was found to be in.
    DoubtCommitted,
    /// It was found not to be in.
    DoubtNotCommitted,
    /// A newer generation was found instead.
    DoubtFenced,
    /// The COMMIT of a dead process was carried out.
    CommitOfTheDead,
    /// A process halted.
    Halted,
}

impl Reached {
    pub const ALL: [Reached; 13] = [
        Reached::EverythingLoaded,
        Reached::TakenUnanswered,
        Reached::Ghost,
        Reached::GhostOfTheDead,
        Reached::ShownOlder,
        Reached::FencedAtStart,
        Reached::ZombieRefused,
        Reached::LoadedAlready,
        Reached::DoubtCommitted,
        Reached::DoubtNotCommitted,
        Reached::DoubtFenced,
        Reached::CommitOfTheDead,
        Reached::Halted,
    ];
}

/// How often each was met.
#[derive(Debug, Default)]
pub struct Counters([AtomicU64; Reached::ALL.len()]);

impl Counters {
    pub fn add(&self, what: Reached) {
        self.0[what as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn get(&self, what: Reached) -> u64 {
        self.0[what as usize].load(Ordering::Relaxed)
    }
}
