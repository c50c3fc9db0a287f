//! What a worker holds, in bytes: batches on their way, open files, and files that are not on S3 yet. Fetch reads on while it is
//! below the worker's budget.
//!
//! It is counted where it is, and not where it came from: one record becomes a row of each target, and each target has its own file.
//! Whoever holds something has a [`Lease`] of it, which gives it back when it is dropped.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// All that a worker holds. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// Batches between fetch and encode. They go on by themselves, within a few steps.
    pub batches: Account,
    /// Open files, and files that are not on S3 yet. Open ones stay until their epoch ends.
    pub files: Account,
}

impl Held {
    /// How many bytes are held.
    pub fn bytes(&self) -> u64 {
        self.batches.bytes() + self.files.bytes()
    }
}

/// What is held of one kind. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Account(Arc<AtomicU64>);

impl Account {
    /// How many bytes are held.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Holds so many from here on.
    pub fn lease(&self, bytes: u64) -> Lease {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Lease { account: self.clone(), bytes }
    }
}

/// A part of what is held. It is given back when this is dropped.
#[derive(Debug)]
pub struct Lease {
    account: Account,
    bytes: u64,
}

impl Lease {
    /// It is so many now.
    pub fn set(&mut self, bytes: u64) {
        self.account.0.fetch_add(bytes, Ordering::Relaxed);
        self.account.0.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.account.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back() {
        let held = Held::default();
        let (one, mut two) = (Arc::new(held.batches.lease(100)), held.files.lease(10));
        let same = one.clone();
        assert_eq!(held.bytes(), 110);
        two.set(7);
        drop(one);
        assert_eq!(held.bytes(), 107, "somebody has it still");
        drop(same);
        assert_eq!(held.bytes(), 7);
        drop(two);
        assert_eq!(held.bytes(), 0);
    }
}
