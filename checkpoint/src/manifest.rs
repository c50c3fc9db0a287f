//! The row that says "this epoch is in", and the digest that chains it to all before it.
//!
//! Two manifests with the same digest at an epoch tell the same history up to it: the same records were read, cut
//! at the same places, under the same plans, at the same recorded times. So a digest decides whether an epoch that
//! somebody loaded is the one we meant. No generation, file name or clock of the load is in it: those may differ
//! between two attempts at the same epoch.

use std::{collections::BTreeMap, fmt};

use sha2::{Digest as _, Sha256};

use crate::{Epoch, Micros, Span};

/// A SHA-256 in hex.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub String);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Digest {
    /// The beginning of the chain: nothing but the fence's own id.
    pub fn first(fence_id: &str) -> Digest {
        Hasher::new("tidegate fence 1").text(fence_id).done()
    }
}

/// What happened to the records of one target in one epoch. They must add up:
/// `records_read = row_count + filtered + skipped + undecoded + dead_letters`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Records of the target's stream, without aborted and control records.
    pub records_read: u64,
    /// Rows that were loaded.
    pub row_count: u64,
    /// Left out by WHERE.
    pub filtered: u64,
    /// Tombstones of a stream.
    pub skipped: u64,
    /// Records that did not decode.
    pub undecoded: u64,
    /// Records on which the query or the fit to the target's columns failed.
    pub dead_letters: u64,
}

impl Counts {
    /// Whether every record that was read is accounted for.
    pub fn add_up(&self) -> bool {
        self.records_read == self.row_count + self.filtered + self.skipped + self.undecoded + self.dead_letters
    }

    /// Adds another worker's share.
    pub fn add(&mut self, other: &Counts) {
        self.records_read += other.records_read;
        self.row_count += other.row_count;
        self.filtered += other.filtered;
        self.skipped += other.skipped;
        self.undecoded += other.undecoded;
        self.dead_letters += other.dead_letters;
    }
}

/// Everything the control tables say about one epoch, apart from who loaded it and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochRecord {
    /// Its number.
    pub epoch: Epoch,
    /// When it was closed; the epoch's only notion of "now".
    pub closed_at: Micros,
    /// Event time up to which it is complete; `None` without event time.
    pub watermark: Option<Micros>,
    /// Hash of what the job file meant when it ran.
    pub plan: String,
    /// The partitions that moved, in order.
    pub spans: Vec<Span>,
    /// Counts by target, zeros too.
    pub counts: BTreeMap<String, Counts>,
}

impl EpochRecord {
    /// The digest of the history that ends with this epoch, given that of the one before it.
    pub fn digest(&self, previous: &Digest) -> Digest {
        let mut hasher = Hasher::new("tidegate epoch 1")
            .text(&previous.0)
            .number(self.epoch.0 as i64)
            .number(self.closed_at.0)
            .optional(self.watermark.map(|w| w.0))
            .text(&self.plan)
            .number(self.spans.len() as i64);
        for span in &self.spans {
            hasher = hasher
                .text(&span.partition.topic)
                .number(i64::from(span.partition.partition))
                .text(&span.topic_id)
                .number(span.start)
                .number(span.end)
                .optional(span.last.as_ref().map(|l| l.offset))
                .text(span.last.as_ref().map_or("", |l| &l.fingerprint));
        }
        hasher.done()
    }
}

/// The fingerprint of a record: a hash of key and value, where absent differs from empty.
pub fn fingerprint(key: Option<&[u8]>, value: Option<&[u8]>) -> String {
    Hasher::new("tidegate record 1").bytes(key).bytes(value).done().0
}

/// Writes fields so that no two lists of fields give the same bytes: each has its length before it.
struct Hasher(Sha256);

impl Hasher {
    fn new(domain: &str) -> Hasher {
        Hasher(Sha256::new()).text(domain)
    }

    fn text(self, text: &str) -> Hasher {
        self.bytes(Some(text.as_bytes()))
    }

    fn bytes(mut self, bytes: Option<&[u8]>) -> Hasher {
        self.0.update(bytes.map_or(-1, |b| b.len() as i64).to_be_bytes());
        self.0.update(bytes.unwrap_or_default());
        self
    }

    fn number(mut self, number: i64) -> Hasher {
        self.0.update(number.to_be_bytes());
        self
    }

    fn optional(self, number: Option<i64>) -> Hasher {
        match number {
            Some(number) => self.number(1).number(number),
            None => self.number(0),
        }
    }

    fn done(self) -> Digest {
        Digest(self.0.finalize().iter().map(|b| format!("{b:02x}")).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LastRecord, TopicPartition};

    fn record() -> EpochRecord {
        let last = LastRecord { offset: 8, timestamp_ms: 5, fingerprint: "f".into() };
        EpochRecord {
            epoch: Epoch(3),
            closed_at: Micros(17),
            watermark: None,
            plan: "p".into(),
            spans: vec![Span {
                partition: TopicPartition::new("t", 1),
                topic_id: "id".into(),
                start: 4,
                end: 9,
                leader_epoch: Some(2),
                last: Some(last),
            }],
            counts: BTreeMap::new(),
        }
    }

    /// The digest is a format: rows written by any release must be checkable by any later one.
    #[test]
    fn the_digest_never_changes() {
        let first = Digest::first("fence");
        assert_eq!(first.0, "e724ec48e86dc9fd20eb5493c739769dc37daf9260e1d1bce0eba24f45bb0a26");
        assert_eq!(record().digest(&first).0, "408f1f38bcbbea4e9ab6d4dcdcad3a712e90500da24f5290d525f7d556839179");
        assert_eq!(fingerprint(None, Some(b"x")), "1222f21b27ee7c43cc81fe09e2d962820b3d7bedc50979dbe9382e0247ae21fe");
    }

    #[test]
    fn every_field_of_the_history_is_in_the_digest_and_nothing_else() {
        let first = Digest::first("fence");
        let whole = record().digest(&first);
        type Change = fn(&mut EpochRecord);
        let changes: [Change; 11] = [
            |r| r.epoch = Epoch(4),
            |r| r.closed_at = Micros(18),
            |r| r.watermark = Some(Micros(0)),
            |r| r.plan = "q".into(),
            |r| r.spans.clear(),
            |r| r.spans[0].partition.partition = 2,
            |r| r.spans[0].topic_id = "other".into(),
            |r| r.spans[0].start = 5,
            |r| r.spans[0].end = 10,
            |r| r.spans[0].last.as_mut().unwrap().offset = 7,
            |r| r.spans[0].last.as_mut().unwrap().fingerprint = "g".into(),
        ];
        for (i, change) in changes.iter().enumerate() {
            let mut other = record();
            change(&mut other);
            assert_ne!(other.digest(&first), whole, "change {i}");
        }
        assert_ne!(record().digest(&Digest::first("other")), whole);
        let mut same = record();
        same.counts.insert("t".into(), Counts::default());
        same.spans[0].leader_epoch = None;
        assert_eq!(same.digest(&first), whole);
    }

    #[test]
    fn absent_differs_from_empty() {
        let all = [
            (None, None),
            (None, Some(&b""[..])),
            (Some(&b""[..]), None),
            (Some(b"a"), Some(b"b")),
            (Some(b"ab"), Some(b"")),
        ];
        let prints: std::collections::BTreeSet<_> = all.iter().map(|(k, v)| fingerprint(*k, *v)).collect();
        assert_eq!(prints.len(), all.len());
    }

    #[test]
    fn counts_add_up() {
        let mut counts =
            Counts { records_read: 6, row_count: 2, filtered: 1, skipped: 1, undecoded: 1, dead_letters: 1 };
        assert!(counts.add_up());
        counts.add(&counts.clone());
        assert!(counts.add_up() && counts.records_read == 12);
        counts.row_count -= 1;
        assert!(!counts.add_up());
    }
}
