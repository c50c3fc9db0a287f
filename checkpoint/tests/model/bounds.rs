//! How large a world is, what may happen in it, and which rule of the protocol is left out.

use crate::world::{Cut, PARTITIONS, PROCESSES};

/// The size of a run.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Incarnations of the job. They start in order, but nothing else of them is in order.
    pub processes: usize,
    /// Records of each partition.
    pub log: Cut,
    /// Records that an epoch may read of one partition.
    pub per_epoch: u8,
    /// Epochs that a process seals ahead, and loads in one transaction.
    pub sealed: usize,
    /// The incarnation whose job file is the first to have the second partition (of a topic of its own).
    pub second_from: usize,
    /// Kills.
    pub crashes: u8,
    /// Connections that break, whatever was on them.
    pub losses: u8,
    /// Sessions that a start ends because they hold the lock.
    pub ends: u8,
    /// A start that reads without a lock may be shown the tables as they were one commit ago, or two.
    pub stale: bool,
    /// A person deletes the offsets of old epochs, once.
    pub prune: bool,
    /// A person puts the control tables back to an earlier moment, once. The targets stay as they are: had they gone back
    /// as well, the tables would tell the truth.
    pub restore: Option<Restore>,
}

/// Which restores there are.
#[derive(Clone, Copy, Debug)]
pub struct Restore {
    /// Who lives on through it.
    pub survive: Survive,
    /// To any moment; else to one of an older generation than the newest witness.
    pub any_moment: bool,
    /// The person says that all is well (`init --adopt`), so the witnesses count no more.
    pub adopted: bool,
}

/// Who lives on through a restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survive {
    /// Nobody, and nothing of them is under way.
    Nobody,
    /// Starts that do not know yet that they have the fence.
    Starts,
    /// Everybody.
    All,
}

impl Bounds {
    /// The smallest run that has everything but the two persons.
    pub const SMALL: Bounds = Bounds {
        processes: 2,
        log: [3, 0],
        per_epoch: 2,
        sealed: 2,
        second_from: 0,
        crashes: 1,
        losses: 1,
        ends: 1,
        stale: true,
        prune: false,
        restore: None,
    };

    /// Whether a job file has a partition.
    pub fn reads(&self, process: usize, partition: usize) -> bool {
        self.log[partition] > 0 && (partition == 0 || process >= self.second_from)
    }

    /// Where everything is loaded.
    pub fn end(&self) -> Cut {
        std::array::from_fn(|p| if self.reads(PROCESSES, p) { self.log[p] } else { crate::world::UNKNOWN })
    }

    /// Where the next epoch of a process may end.
    pub fn ends(&self, process: usize, from: &Cut) -> Vec<Cut> {
        let most = |p: usize| match self.reads(process, p) {
            true => self.per_epoch.min(self.log[p] - from[p]),
            false => 0,
        };
        let mut ends = Vec::new();
        for first in 0..=most(0) {
            for second in 0..=most(1) {
                if first + second > 0 {
                    let moved = [first, second];
                    ends.push(std::array::from_fn::<u8, PARTITIONS, _>(|p| from[p].wrapping_add(moved[p])));
                }
            }
        }
        ends
    }
}

/// A rule that is left out. Each must be found out by a property, or the model shows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// None: the protocol.
    None,
    /// A start does not look at the nonce: a fence of the generation that it asked for is taken for its own.
    AcquireWithoutNonce,
    /// A start that is shown an older generation than before halts.
    HaltWhenShownOlder,
    /// T2 takes what it reads, also if the snapshot is older than T1.
    OlderSnapshot,
    /// T2 takes a fence of its generation or a newer one, and what stands in it.
    NewerFence,
    /// T1 reads the generation, then writes the next without a condition.
    TakeInTwoStatements,
    /// The cut is not held against the digest in the fence.
    CutUnchecked,
    /// Nobody looks at the witnesses.
    WitnessIgnored,
    /// The witness is put also where one of its generation is already.
    WitnessOverwritten,
    /// A fence below the witnesses is believed at once, though what was read may be old.
    WitnessWithoutBarrier,
    /// The first UPDATE of a load does not compare the nonce.
    LoadWithoutNonce,
    /// A load looks whether the manifest has its epoch, and inserts: no row is moved, no lock is taken.
    InsertOnly,
    /// After a lost COMMIT the tables are read without a barrier.
    LookWithoutBarrier,
    /// What is read after a refused load may be one commit old.
    StaleRefusal,
}
