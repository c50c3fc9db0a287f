//! Old epochs become one row: the *base*.
//!
//! A history grows by some rows an epoch, for ever. What an old epoch was read to be nobody needs once everything up to some epoch with
//! a whole cut is old: that cut says where all partitions stood, its digest chains all that came before it, and the sums of the counts
//! say what is in the targets. So the manifest row of that epoch becomes the base, and what is older goes; but decisions stay, with
//! their offsets. A start does not notice: it begins at the newest whole cut, which is never older than the base. `verify` begins
//! at the base.
//!
//! Whoever folds holds the fence by an UPDATE that changes nothing, so that a load and a fold never overlap; and folds so few epochs at
//! a time that nobody waits for long.

use crate::{Epoch, Kind, Micros};

/// An epoch with which the cut was written as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WholeCut {
    /// The epoch.
    pub epoch: Epoch,
    /// What it is.
    pub kind: Kind,
    /// When it was closed.
    pub closed_at: Micros,
}

/// Pure: which of these becomes the base: the newest that was closed before a moment. `newest` is the epoch of the fence's own cut, at
/// which a start begins; nothing after it is touched.
pub fn base(cuts: &[WholeCut], before: Micros, newest: Epoch) -> Option<Epoch> {
    let old = |cut: &&WholeCut| cut.closed_at < before && cut.epoch <= newest;
    // A decision keeps its own row.
    let may = |cut: &&WholeCut| matches!(cut.kind, Kind::Data | Kind::Announcement);
    cuts.iter().filter(old).filter(may).map(|cut| cut.epoch).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_old_and_no_decision_and_not_after_what_a_start_reads() {
        let cut = |epoch, kind| WholeCut { epoch: Epoch(epoch), kind, closed_at: Micros(epoch as i64) };
        let cuts = [cut(100, Kind::Data), cut(200, Kind::Data), cut(250, Kind::Loss), cut(300, Kind::Data)];
        let base = |before, newest| base(&cuts, Micros(before), Epoch(newest)).map(|epoch| epoch.0);
        assert_eq!(base(1000, 1000), Some(300));
        assert_eq!(base(300, 1000), Some(200), "closed at that moment is not before it; and a decision keeps its row");
        assert_eq!(base(1000, 250), Some(200));
        assert_eq!(base(1000, 200), Some(200));
        assert_eq!(base(100, 1000), None);
        assert_eq!(base(1000, 99), None);
    }
}
