//! What there is: the control tables and the rows, the server's open transactions, messages under way, processes.
//!
//! Everything is small numbers in fixed places, because a run keeps millions of worlds. What can never matter again
//! is put back to its default (`Protocol::forget`), so that worlds which differ in nothing else are one.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use crate::bounds::Flaw;

/// Partitions of the log.
pub const PARTITIONS: usize = 2;
/// Records of a partition at most.
pub const RECORDS: usize = 4;
/// Incarnations of the job at most.
pub const PROCESSES: usize = 3;
/// A partition that no epoch has read, in a cut; a partition without a row, in the offsets of an epoch.
pub const UNKNOWN: u8 = u8::MAX;

/// For each partition the next offset to read.
pub type Cut = [u8; PARTITIONS];

/// A list of few items that is copied as a whole. Unused places hold the default, so that lists compare as a whole.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Few<T, const N: usize> {
    len: u8,
    items: [T; N],
}

impl<T: Copy + Default, const N: usize> Default for Few<T, N> {
    fn default() -> Self {
        Few { len: 0, items: [T::default(); N] }
    }
}

impl<T: Copy + Default, const N: usize> Few<T, N> {
    /// Adds at the end. A model whose bounds do not fit ends here, loudly.
    pub fn push(&mut self, item: T) {
        self.items[usize::from(self.len)] = item;
        self.len += 1;
    }

    pub fn remove(&mut self, at: usize) -> T {
        let item = self[at];
        self.items[at..].rotate_left(1);
        self.items[N - 1] = T::default();
        self.len -= 1;
        item
    }

    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        *self = self.iter().copied().filter(keep).collect();
    }
}

impl<T: Copy + Default, const N: usize> FromIterator<T> for Few<T, N> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut few = Few::default();
        items.into_iter().for_each(|item| few.push(item));
        few
    }
}

impl<T, const N: usize> std::ops::Deref for Few<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items[..usize::from(self.len)]
    }
}

impl<T, const N: usize> std::ops::DerefMut for Few<T, N> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items[..usize::from(self.len)]
    }
}

impl<T: Hash, const N: usize> Hash for Few<T, N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self[..].hash(state);
    }
}

impl<T: fmt::Debug, const N: usize> fmt::Debug for Few<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The one row that only the current generation can move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fence {
    pub generation: u8,
    pub nonce: u8,
    pub next_epoch: u8,
    /// The chain's digest up to the last epoch.
    pub digest: u32,
    /// Stands for the digest of the whole cut: equal if and only if the cut is.
    pub cut: Cut,
    /// The epoch of the newest full cut.
    pub full: u8,
}

/// What the manifest and the offsets say of one epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Row {
    pub epoch: u8,
    pub generation: u8,
    pub digest: u32,
    /// Where all partitions end.
    pub end: Cut,
    /// The rows of the offsets table: only partitions that moved, or all in a full cut. A person may delete them.
    pub offsets: Cut,
}

/// All that is in the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tables {
    pub fence: Fence,
    pub manifest: Few<Row, 7>,
    /// The target: how often each record is in it.
    pub rows: [[u8; RECORDS]; PARTITIONS],
}

impl Tables {
    /// As `init` makes them.
    pub fn init() -> Tables {
        Tables { fence: Fence { cut: [UNKNOWN; PARTITIONS], ..Fence::default() }, ..Tables::default() }
    }

    pub fn row(&self, epoch: u8) -> Option<&Row> {
        self.manifest.iter().find(|row| row.epoch == epoch)
    }

    /// A COMMIT: the fence moves, the manifest grows, the records of all its epochs are in the target.
    pub fn commit(&mut self, load: &Load) {
        let mut from = load.from;
        for (i, epoch) in load.epochs.iter().enumerate() {
            let full = epoch.announces(&from);
            let number = load.first + i as u8;
            let moved = |p: usize| if full || epoch.end[p] != from[p] { epoch.end[p] } else { UNKNOWN };
            self.manifest.push(Row {
                epoch: number,
                generation: load.generation,
                digest: epoch.digest,
                end: epoch.end,
                offsets: std::array::from_fn(moved),
            });
            if full {
                self.fence.full = number;
            }
            for (rows, (from, end)) in self.rows.iter_mut().zip(from.iter().zip(epoch.end)) {
                for offset in known(*from)..known(end) {
                    rows[usize::from(offset)] += 1;
                }
            }
            from = epoch.end;
            self.fence.next_epoch = number + 1;
            self.fence.digest = epoch.digest;
            self.fence.cut = epoch.end;
        }
    }
}

/// A partition that was never read ends where it begins.
pub fn known(end: u8) -> u8 {
    if end == UNKNOWN { 0 } else { end }
}

/// An epoch that a process has sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sealed {
    pub end: Cut,
    pub digest: u32,
}

impl Sealed {
    /// The digest chains the epochs. When and by whom an epoch was closed is in it, so two processes that read the same
    /// records never give one digest.
    pub fn new(before: u32, epoch: u8, end: Cut, by: usize) -> Sealed {
        let fields = before.to_be_bytes().into_iter().chain([epoch, by as u8 + 1]).chain(end);
        let digest = fields.fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        Sealed { end, digest }
    }

    /// Whether it brings partitions into the cut. It has no rows then, and a full cut.
    pub fn announces(&self, from: &Cut) -> bool {
        (0..PARTITIONS).any(|p| from[p] == UNKNOWN && self.end[p] != UNKNOWN)
    }
}

/// A load's transaction, as the server has it: all that COPY and the INSERTs did in it, which nobody sees before COMMIT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Load {
    pub owner: u8,
    pub generation: u8,
    pub first: u8,
    /// The cut before its first epoch.
    pub from: Cut,
    pub epochs: Few<Sealed, 2>,
    /// COMMIT is under way to the server.
    pub sent: bool,
    /// Nobody waits for the answer.
    pub orphan: bool,
}

/// T1 under way: `UPDATE fence SET generation = s + 1, nonce = n WHERE generation = s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Take {
    pub owner: u8,
    pub from: u8,
    /// Nobody waits for the answer.
    pub ghost: bool,
}

/// Which moment a reader is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    Now,
    /// So many commits ago.
    Before(u8),
}

/// Where a process stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Not started.
    #[default]
    New,
    /// Started; the next thing is to read the fence, without holding it.
    Reading,
    /// T1 is sent.
    Taking,
    /// T1 is ours; the witness is to be put.
    Witnessing,
    /// T1 is ours; the snapshot is to be read.
    Looking,
    /// Holds the fence, as it believes.
    Ready,
    /// Its transaction is open: the fence moved in it, COPY and INSERTs done.
    Loading,
    /// COMMIT is sent.
    Committing,
    /// The connection broke after COMMIT was sent.
    Doubting,
    /// Crashed, or ended as fenced.
    Gone,
    /// Ended because the tables contradict it.
    Halted,
}

/// One incarnation of the job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Process {
    pub phase: Phase,
    /// The highest generation among the witnesses that it listed.
    pub listed: u8,
    /// The generation that its last T1 began from.
    pub asked: Option<u8>,
    /// What it holds, as it believes.
    pub generation: u8,
    pub nonce: u8,
    pub next_epoch: u8,
    pub digest: u32,
    pub cut: Cut,
    pub sealed: Few<Sealed, 2>,
    /// How many of these the load under way has.
    pub loading: u8,
}

impl Process {
    pub fn end(&mut self, phase: Phase) {
        *self = Process { phase, ..Process::default() };
    }

    /// Whether it may send a load one day.
    pub fn believes(&self) -> bool {
        matches!(self.phase, Phase::Ready | Phase::Loading | Phase::Committing | Phase::Doubting)
    }

    /// Forgets what is loaded.
    pub fn acknowledge(&mut self) {
        let loaded = usize::from(self.loading);
        let last = self.sealed[loaded - 1];
        self.sealed = self.sealed[loaded..].iter().copied().collect();
        self.next_epoch += self.loading;
        (self.digest, self.cut, self.loading, self.phase) = (last.digest, last.end, 0, Phase::Ready);
    }
}

/// Everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct World {
    pub tables: Tables,
    /// As they were one commit ago, and two, as long as somebody may yet be shown that.
    pub older: Few<Tables, 2>,
    pub loads: Few<Load, 4>,
    pub takes: Few<Take, 6>,
    pub processes: [Process; PROCESSES],
    /// How often each of these may still happen.
    pub crashes: u8,
    pub losses: u8,
    pub ends: u8,
    pub pruned: bool,
    /// The witnesses on S3, a bit for each generation.
    pub witness: u16,
    pub saved: Option<(Fence, Few<Row, 7>)>,
    pub restored: bool,
}

impl World {
    /// The tables change, and a reader may still be shown what they were.
    pub fn change(&mut self, change: impl FnOnce(&mut Tables)) {
        self.older = std::iter::once(self.tables).chain(self.older.first().copied()).collect();
        change(&mut self.tables);
    }

    /// The tables as a reader is shown them.
    pub fn shown(&self, shown: Shown) -> Tables {
        match shown {
            Shown::Now => self.tables,
            Shown::Before(commits) => self.older.get(usize::from(commits) - 1).copied().unwrap_or(self.tables),
        }
    }

    /// Whether an UPDATE of the fence waits. A load has its lock from its first statement to its end.
    pub fn locked(&self, flaw: Flaw) -> bool {
        !self.loads.is_empty() && flaw != Flaw::InsertOnly
    }

    pub fn highest_witness(&self) -> u8 {
        (u16::BITS - self.witness.leading_zeros()).saturating_sub(1) as u8
    }
}
