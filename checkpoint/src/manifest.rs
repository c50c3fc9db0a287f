//! The row that says "this epoch is in", and the digest that chains it to all before it.
//!
//! Two manifests with the same digest at an epoch tell the same history up to it: the same records were read, cut
//! at the same places, under the same plans, at the same recorded times. So a digest decides whether an epoch that
//! somebody loaded is the one we meant. No generation, file name or clock of the load is in it: those may differ
//! between two attempts at the same epoch.

use std::{collections::BTreeMap, fmt};

use sha2::{Digest as _, Sha256};

use crate::{Counts, Cut, Epoch, LastRecord, Micros, Span, TopicPartition, hex};

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

/// Why an epoch is in the manifest. The table's column has the word; `fill` and `reset-state` are kept for what fills a table that was
/// added later, and drops state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Topics that no epoch has read yet, at their start.
    Announcement,
    /// Records that were read.
    Data,
    /// Offsets that are passed over, because a person said so.
    Loss,
    /// A topic that is another one than before, because a person said so.
    NewSource,
    /// The tables belong to this database from here on, because a person said so.
    Adopt,
    /// All up to here became this one row: its whole cut, its digests, and the sums of their counts ([`crate::fold`]). Nothing is linked
    /// as one: it was data or an announcement.
    Base,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 6] = [Kind::Announcement, Kind::Data, Kind::Loss, Kind::NewSource, Kind::Adopt, Kind::Base];

    /// Whether a person decided it. Such rows are kept for ever: they are few, and say why the history is as it is.
    pub fn is_decision(self) -> bool {
        match self {
            Kind::Loss | Kind::NewSource | Kind::Adopt => true,
            Kind::Announcement | Kind::Data | Kind::Base => false,
        }
    }

    /// As the manifest spells it.
    pub fn text(self) -> &'static str {
        match self {
            Kind::Announcement => "announcement",
            Kind::Data => "data",
            Kind::Loss => "loss",
            Kind::NewSource => "new-source",
            Kind::Adopt => "adopt",
            Kind::Base => "base",
        }
    }

    /// Reads what the manifest says; `None` for a word that this program does not know.
    pub fn parse(text: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.text() == text)
    }
}

/// What a person decided, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Who: user and host.
    pub by: String,
    /// Why, in their words.
    pub why: String,
    /// The fence ids that this one took the place of, that of these tables first.
    pub adopted: Vec<String>,
}

/// Everything the control tables say about one epoch, apart from who loaded it and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochRecord {
    /// Its number.
    pub epoch: Epoch,
    /// Why it is there.
    pub kind: Kind,
    /// When it was closed; the epoch's only notion of "now".
    pub closed_at: Micros,
    /// Event time up to which it is complete; `None` without event time.
    pub watermark: Option<Micros>,
    /// Hash of what the job file meant when it ran.
    pub plan: String,
    /// The partitions that moved, in order.
    pub spans: Vec<Span>,
    /// What a person decided, if one did.
    pub decision: Option<Decision>,
    /// Counts by target, zeros too.
    pub counts: BTreeMap<String, Counts>,
}

impl EpochRecord {
    /// The digest of the history that ends with this epoch, given that of the one before it and that of the whole cut after it.
    ///
    /// `tidegate epoch 2`: the digest before; number; kind; closed_at and watermark in UTC microseconds; plan; how many partitions
    /// moved, and of each topic, number, topic id, start, end, leader epoch, last offset and fingerprint; of a decision who, why and
    /// what was adopted; the number of streams with event time (0 so far: their watermarks, largest times and flags will follow it);
    /// whether there is state (0 so far: its sums will follow it); the digest of the cut.
    pub fn digest(&self, previous: &Digest, cut: &Digest) -> Digest {
        let mut hasher = Hasher::new("tidegate epoch 2")
            .text(&previous.0)
            .number(self.epoch.0 as i64)
            .text(self.kind.text())
            .number(self.closed_at.0)
            .optional(self.watermark.map(|w| w.0))
            .text(&self.plan)
            .number(self.spans.len() as i64);
        for span in &self.spans {
            hasher = hasher.partition(&span.partition).text(&span.topic_id).number(span.start).number(span.end);
            hasher = hasher.end(span.leader_epoch, span.last.as_ref());
        }
        hasher = match &self.decision {
            None => hasher.number(0),
            Some(Decision { by, why, adopted }) => {
                let decided = hasher.number(1).text(by).text(why).number(adopted.len() as i64);
                adopted.iter().fold(decided, |hasher, id| hasher.text(id))
            }
        };
        hasher.number(NO_STREAMS).number(NO_STATE).text(&cut.0).done()
    }
}

/// Room in both digests, for what is not there yet.
const NO_STREAMS: i64 = 0;
/// See [`NO_STREAMS`].
const NO_STATE: i64 = 0;

impl Cut {
    /// The digest of the whole cut, `tidegate cut 1`: how many partitions it has; of each, in order, topic, number, topic id, end,
    /// leader epoch, last offset and fingerprint; then the same room as in the digest of an epoch. A row that is changed or gone
    /// shows here, even one of a partition that has stood still for years.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new("tidegate cut 1").number(self.iter().count() as i64);
        for (partition, position) in self.iter() {
            hasher = hasher.partition(partition).text(&position.topic_id).number(position.end);
            hasher = hasher.end(position.leader_epoch, position.last.as_ref());
        }
        hasher.number(NO_STREAMS).number(NO_STATE).done()
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

    fn partition(self, partition: &TopicPartition) -> Hasher {
        self.text(&partition.topic).number(i64::from(partition.partition))
    }

    /// What is known of the newest record.
    fn end(self, leader_epoch: Option<i32>, last: Option<&LastRecord>) -> Hasher {
        self.optional(leader_epoch.map(i64::from))
            .optional(last.map(|l| l.offset))
            .bytes(last.map(|l| l.fingerprint.as_bytes()))
    }

    fn done(self) -> Digest {
        Digest(hex(&self.0.finalize()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Position;

    fn record() -> EpochRecord {
        let last = LastRecord { offset: 8, timestamp_ms: 5, fingerprint: "f".into() };
        EpochRecord {
            epoch: Epoch(3),
            kind: Kind::Data,
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
            decision: None,
            counts: BTreeMap::new(),
        }
    }

    fn cut() -> Cut {
        let last = LastRecord { offset: 8, timestamp_ms: 5, fingerprint: "f".into() };
        let position = Position { topic_id: "id".into(), end: 9, leader_epoch: Some(2), last: Some(last) };
        Cut::new([(TopicPartition::new("t", 1), position)])
    }

    /// The digests are formats: rows written by any release must be checkable by any later one.
    #[test]
    fn the_digests_never_change() {
        let first = Digest::first("fence");
        assert_eq!(first.0, "e724ec48e86dc9fd20eb5493c739769dc37daf9260e1d1bce0eba24f45bb0a26");
        assert_eq!(cut().digest().0, "59227637846c2dc35ec813a1a7791ee722c2ae80e8960ce9b0e6735bdeb8c564");
        assert_eq!(Cut::default().digest().0, "5657d0c8a568ebb62bdd98f2311c4b404283029154c17aef3c0862dc3c46d2a7");
        assert_eq!(
            record().digest(&first, &cut().digest()).0,
            "b48e39bf6b436a8276570ac37403f3b802733d51c8b92902be6a350eb3280297"
        );
        let decision = Decision { by: "a@b".into(), why: "because".into(), adopted: vec!["old".into()] };
        let decided = EpochRecord { kind: Kind::Adopt, decision: Some(decision), ..record() };
        assert_eq!(
            decided.digest(&first, &cut().digest()).0,
            "3735bc57ba8597157956670e47513c8ba229a8ec4601f959fd4218ba78270eee"
        );
        assert_eq!(fingerprint(None, Some(b"x")), "1222f21b27ee7c43cc81fe09e2d962820b3d7bedc50979dbe9382e0247ae21fe");
    }

    #[test]
    fn every_field_of_the_history_is_in_the_digest_and_nothing_else() {
        let (first, after) = (Digest::first("fence"), cut().digest());
        let whole = record().digest(&first, &after);
        type Change = fn(&mut EpochRecord);
        let decision = || Decision { by: String::new(), why: String::new(), adopted: Vec::new() };
        let changes: [Change; 15] = [
            |r| r.epoch = Epoch(4),
            |r| r.kind = Kind::Loss,
            |r| r.closed_at = Micros(18),
            |r| r.watermark = Some(Micros(0)),
            |r| r.plan = "q".into(),
            |r| r.spans.clear(),
            |r| r.spans[0].partition.partition = 2,
            |r| r.spans[0].topic_id = "other".into(),
            |r| r.spans[0].start = 5,
            |r| r.spans[0].end = 10,
            |r| r.spans[0].leader_epoch = None,
            |r| r.spans[0].last.as_mut().unwrap().offset = 7,
            |r| r.spans[0].last.as_mut().unwrap().fingerprint = "g".into(),
            |r| r.spans[0].last = None,
            |r| r.decision = Some(Decision { by: String::new(), why: String::new(), adopted: Vec::new() }),
        ];
        for (i, change) in changes.iter().enumerate() {
            let mut other = record();
            change(&mut other);
            assert_ne!(other.digest(&first, &after), whole, "change {i}");
        }
        let decided = |change: fn(&mut Decision)| {
            let mut decision = decision();
            change(&mut decision);
            EpochRecord { decision: Some(decision), ..record() }.digest(&first, &after)
        };
        let decisions: [fn(&mut Decision); 4] =
            [|_| {}, |d| d.by = "a".into(), |d| d.why = "a".into(), |d| d.adopted = vec![String::new()]];
        let digests: std::collections::BTreeSet<_> = decisions.into_iter().map(decided).collect();
        assert_eq!(digests.len(), decisions.len());
        assert_ne!(record().digest(&Digest::first("other"), &after), whole);
        assert_ne!(record().digest(&first, &Cut::default().digest()), whole);
        let mut same = record();
        same.counts.insert("t".into(), Counts::default());
        same.spans[0].last.as_mut().unwrap().timestamp_ms = 6;
        assert_eq!(same.digest(&first, &after), whole);
    }

    #[test]
    fn every_column_of_a_cut_is_in_its_digest() {
        type Change = fn(&mut Position);
        let of = |partition: TopicPartition, change: Change| {
            let (_, position) = cut().iter().next().map(|(p, position)| (p.clone(), position.clone())).unwrap();
            let mut position = position;
            change(&mut position);
            Cut::new([(partition, position)]).digest()
        };
        let here = || TopicPartition::new("t", 1);
        assert_eq!(of(here(), |_| {}), cut().digest());
        let changes: [Change; 7] = [
            |p| p.topic_id = "other".into(),
            |p| p.end = 10,
            |p| p.leader_epoch = None,
            |p| p.leader_epoch = Some(3),
            |p| p.last = None,
            |p| p.last.as_mut().unwrap().offset = 7,
            |p| p.last.as_mut().unwrap().fingerprint = "g".into(),
        ];
        changes.into_iter().for_each(|change| assert_ne!(of(here(), change), cut().digest()));
        for other in [TopicPartition::new("u", 1), TopicPartition::new("t", 2)] {
            assert_ne!(of(other, |_| {}), cut().digest());
        }
        assert_ne!(Cut::default().digest(), cut().digest());
    }

    #[test]
    fn a_kind_is_read_as_it_is_written() {
        assert!(Kind::ALL.into_iter().all(|kind| Kind::parse(kind.text()) == Some(kind)));
        assert_eq!(Kind::parse("fill"), None);
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
}
