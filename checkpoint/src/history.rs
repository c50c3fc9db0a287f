//! Where the epochs so far end, and how one more is put to them.
//!
//! A [`History`] is all that must be known to go on: the next epoch, the digest of everything before it, and the cut. A
//! [`Link`] is one epoch with what it makes of that: the rows of the control tables. Nothing else makes a link, so digest and cut
//! of an epoch always belong to each other, whoever writes it: seal, a start that announces topics, or a person's decision.

use std::sync::Arc;

use crate::{Cut, Digest, Epoch, EpochRecord, Kind, cut::CutError};

/// How many epochs may pass until the whole cut is written again. A start reads the newest whole one and the spans after it, so
/// this bounds what it reads; a thousand partitions are a thousand rows each time.
pub const FULL_CUT_EVERY: u64 = 100;

/// Where the epochs so far end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The epoch to load next.
    pub next_epoch: Epoch,
    /// The digest of the one before it.
    pub digest: Digest,
    /// Where that one ends.
    pub cut: Cut,
    /// The epoch with which the cut was written as a whole the last time; `None` before the first epoch.
    pub cut_epoch: Option<Epoch>,
}

/// An epoch, and what it makes of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The epoch.
    pub record: EpochRecord,
    /// The digest of the history that it ends.
    pub digest: Digest,
    /// The digest of the whole cut after it.
    pub cut_digest: Digest,
    /// The cut after it, where it is to be written as a whole.
    pub full_cut: Option<Arc<Cut>>,
}

impl History {
    /// The history before the first epoch.
    pub fn new(fence_id: &str) -> History {
        History { next_epoch: Epoch(0), digest: Digest::first(fence_id), cut: Cut::default(), cut_epoch: None }
    }

    /// Puts an epoch to it. Fails if its spans do not follow the cut.
    pub fn link(&mut self, record: EpochRecord) -> Result<Link, CutError> {
        self.cut = match record.kind {
            Kind::NewSource => self.cut.renew(&record.spans)?,
            _ => self.cut.advance(&record.spans)?,
        };
        let cut_digest = self.cut.digest();
        self.digest = record.digest(&self.digest, &cut_digest);
        self.next_epoch = record.epoch.next();
        let is_due = self.cut_epoch.is_none_or(|last| record.epoch.0 - last.0 >= FULL_CUT_EVERY);
        let is_full = is_due || record.kind != Kind::Data;
        if is_full {
            self.cut_epoch = Some(record.epoch);
        }
        let full_cut = is_full.then(|| Arc::new(self.cut.clone()));
        Ok(Link { record, digest: self.digest.clone(), cut_digest, full_cut })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{Micros, Span, TopicPartition};

    fn record(epoch: u64, kind: Kind, start: i64, end: i64) -> EpochRecord {
        let partition = TopicPartition::new("t", 0);
        let span = Span { partition, topic_id: "id".into(), start, end, leader_epoch: None, last: None };
        EpochRecord {
            epoch: Epoch(epoch),
            kind,
            closed_at: Micros(epoch as i64),
            watermark: None,
            plan: "p".into(),
            spans: vec![span],
            decision: None,
            counts: BTreeMap::new(),
        }
    }

    #[test]
    fn the_whole_cut_is_written_now_and_then_and_at_everything_but_data() {
        let mut history = History::new("f");
        let mut full = Vec::new();
        for epoch in 0..250 {
            let kind = if epoch == 0 { Kind::Announcement } else { Kind::Data };
            let at = epoch as i64;
            let (start, end) = if epoch == 0 { (1, 1) } else { (at, at + 1) };
            let link = history.link(record(epoch, kind, start, end)).unwrap();
            assert_eq!((link.cut_digest, link.digest), (history.cut.digest(), history.digest.clone()));
            full.extend(link.full_cut.map(|cut| (epoch, cut.iter().next().unwrap().1.end)));
        }
        assert_eq!(full, [(0, 1), (100, 101), (200, 201)]);
        let link = history.link(record(250, Kind::Loss, 250, 300)).unwrap();
        assert!(link.full_cut.is_some() && history.cut_epoch == Some(Epoch(250)));
        let link = history.link(record(251, Kind::NewSource, 7, 7)).unwrap();
        assert_eq!(link.full_cut.unwrap().iter().next().unwrap().1.end, 7);
        assert!(history.link(record(252, Kind::Data, 8, 9)).is_err());
    }
}
