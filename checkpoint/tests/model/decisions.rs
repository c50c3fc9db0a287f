//! What a process makes of what it read. The model decides nothing anywhere else.
//!
//! Whose the fence is, whether a snapshot may be believed and what became of a load is decided by the code that runs:
//! [`checkpoint::protocol`]. What `admit` decides from digests is decided here from what they stand for: the real one would cost
//! more than all the rest, and has its own tests. The witnesses have no code yet.

use checkpoint::{
    Digest, Epoch, Generation, Nonce,
    protocol::{self, Holder, Outcome, Range, Snapshot, Taken},
};

use crate::{
    bounds::Flaw,
    world::{self, Cut, PARTITIONS, Process, Tables, UNKNOWN},
};

/// What a start does after it read the fence without holding it.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// An earlier T1 of ours went through.
    Ours {
        generation: u8,
    },
    /// Nobody's or another's: T1 from this generation.
    Take {
        from: u8,
    },
    /// It was shown what was before: read again.
    Again,
    Halt,
}

/// Whether the witnesses that a start listed before it read the fence say that the fence went back.
pub fn went_back(process: &Process, fence: &world::Fence, flaw: Flaw) -> bool {
    fence.generation < process.listed && flaw != Flaw::WitnessIgnored
}

/// Decides on the fence, read before T1, or after one that changed no row or was not answered.
pub fn after_read(process: &Process, tables: &Tables, flaw: Flaw) -> Read {
    let fence = &tables.fence;
    if went_back(process, fence, flaw) || admit(tables, flaw).is_none() {
        return Read::Halt;
    }
    let from = process.asked.unwrap_or(0);
    if flaw == Flaw::AcquireWithoutNonce && process.asked.is_some() && fence.generation == from + 1 {
        return Read::Ours { generation: fence.generation };
    }
    if fence.generation < from && flaw != Flaw::HaltWhenShownOlder {
        return Read::Again;
    }
    match protocol::after_taking(generation(from), &nonce(process.nonce), &real(fence)) {
        Ok(Taken::Ours(holder)) => Read::Ours { generation: holder.generation.0 as u8 },
        Ok(Taken::NotYet) => Read::Take { from },
        Ok(Taken::Moved { by }) => Read::Take { from: by.0 as u8 },
        Err(_) => Read::Halt,
    }
}

/// Decides on the fence's row of T2. `None`: halt.
pub fn after_look(process: &Process, fence: &world::Fence, flaw: Flaw) -> Option<Snapshot> {
    match (protocol::check_snapshot(&holder(process), &real(fence)), flaw) {
        (Ok(Snapshot::Older), Flaw::OlderSnapshot) => Some(Snapshot::Valid),
        (Ok(Snapshot::Fenced { .. }), Flaw::NewerFence) => Some(Snapshot::Valid),
        (Err(_), Flaw::AcquireWithoutNonce) => Some(Snapshot::Valid),
        (decision, _) => decision.ok(),
    }
}

/// The cut of the tables, if they add up.
pub fn admit(tables: &Tables, flaw: Flaw) -> Option<Cut> {
    let fence = &tables.fence;
    let rows = &tables.manifest;
    let contiguous = rows.iter().enumerate().all(|(i, row)| usize::from(row.epoch) == i);
    let chained = rows.last().is_none_or(|row| row.digest == fence.digest);
    let cut = recover(tables);
    let whole = cut == fence.cut || flaw == Flaw::CutUnchecked;
    (rows.len() == usize::from(fence.next_epoch) && contiguous && chained && whole).then_some(cut)
}

/// The newest full cut, and the offsets after it.
fn recover(tables: &Tables) -> Cut {
    let mut cut = [UNKNOWN; PARTITIONS];
    for row in tables.manifest.iter().filter(|row| row.epoch >= tables.fence.full) {
        for (end, moved) in cut.iter_mut().zip(row.offsets) {
            if moved != UNKNOWN {
                *end = moved;
            }
        }
    }
    cut
}

/// Decides on a load whose first UPDATE changed no row, by the code that runs.
pub fn after_refusal(process: &Process, tables: &Tables) -> Outcome {
    let range = range(process);
    protocol::after_refusal(&holder(process), &range, &real(&tables.fence), loaded(tables, &range).as_ref())
}

/// Decides on a load whose COMMIT was not answered, from what was read after the barrier, by the code that runs.
pub fn after_barrier(process: &Process, tables: &Tables) -> Outcome {
    let range = range(process);
    let rows = u64::from(tables.fence.generation == process.generation);
    protocol::after_barrier(&holder(process), &range, rows, &real(&tables.fence), loaded(tables, &range).as_ref())
}

fn holder(process: &Process) -> Holder {
    Holder { generation: generation(process.generation), nonce: nonce(process.nonce) }
}

fn range(process: &Process) -> Range {
    let (first, epochs) = (u64::from(process.next_epoch), u64::from(process.loading));
    let last = process.sealed[usize::from(process.loading) - 1];
    Range { first: Epoch(first), last: Epoch(first + epochs - 1), digest: digest(last.digest) }
}

fn real(fence: &world::Fence) -> protocol::Fence {
    protocol::Fence {
        fence_id: String::new(),
        namespace: String::new(),
        generation: generation(fence.generation),
        nonce: nonce(fence.nonce),
        next_epoch: Epoch(fence.next_epoch.into()),
        digest: digest(fence.digest),
        cut_digest: Digest(String::new()),
        cut_epoch: None,
    }
}

fn loaded(tables: &Tables, range: &Range) -> Option<Digest> {
    tables.row(range.last.0 as u8).map(|row| digest(row.digest))
}

fn generation(number: u8) -> Generation {
    Generation(number.into())
}

fn nonce(number: u8) -> Nonce {
    let digits = [b'0' + number; 32];
    std::str::from_utf8(&digits).ok().and_then(Nonce::parse).expect("32 hex digits")
}

fn digest(number: u32) -> Digest {
    Digest(number.to_string())
}
