//! The fence: the one-row table that only the current generation can move.

use crate::{Digest, Epoch, Generation, Nonce};

/// The fence, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Minted with the row.
    pub fence_id: String,
    /// Identity of the database that the row was made in.
    pub namespace: String,
    /// Who holds it.
    pub generation: Generation,
    /// The holder's nonce.
    pub nonce: Nonce,
    /// The epoch to load next.
    pub next_epoch: Epoch,
    /// The digest of the epoch before it.
    pub digest: Digest,
    /// The digest of the whole cut after that epoch.
    pub cut_digest: Digest,
    /// The epoch with which the cut was written as a whole the last time; `None` before the first epoch.
    pub cut_epoch: Option<Epoch>,
}
