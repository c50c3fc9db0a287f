//! Whatever somebody does to the control tables, a start halts or is right: rows taken away, doubled or changed in any column, in
//! any table, in histories of any length.

use proptest::prelude::*;

use super::*;
use crate::{Decision, Link};

/// The tables as they are in the warehouse: all rows, of all epochs.
#[derive(Clone)]
struct Tables {
    fence: Fence,
    manifest: Vec<ManifestRow>,
    offsets: Vec<(Epoch, Span)>,
    cuts: Vec<(Epoch, TopicPartition, Position)>,
}

impl Tables {
    fn new() -> (Tables, History) {
        let history = History::new("f");
        let fence = Fence {
            fence_id: "f".into(),
            namespace: "here".into(),
            generation: Generation(3),
            nonce: Nonce::new([3; 16]),
            next_epoch: history.next_epoch,
            digest: history.digest.clone(),
            cut_digest: history.cut.digest(),
            cut_epoch: None,
        };
        (Tables { fence, manifest: Vec::new(), offsets: Vec::new(), cuts: Vec::new() }, history)
    }

    /// As a load writes it.
    fn load(&mut self, link: Link) {
        let Link { record, digest, cut_digest, full_cut } = link;
        let epoch = record.epoch;
        self.offsets.extend(record.spans.iter().map(|span| (epoch, span.clone())));
        if let Some(cut) = full_cut {
            self.cuts.extend(cut.iter().map(|(partition, position)| (epoch, partition.clone(), position.clone())));
            self.fence.cut_epoch = Some(epoch);
        }
        self.fence.next_epoch = epoch.next();
        (self.fence.digest, self.fence.cut_digest) = (digest.clone(), cut_digest.clone());
        let record = EpochRecord { spans: Vec::new(), ..record };
        self.manifest.push(ManifestRow { record, digest, cut_digest });
    }

    /// As a start reads them.
    fn facts(&self) -> TableFacts {
        let from = self.fence.cut_epoch;
        let recent = |epoch: Epoch| from.is_none_or(|from| epoch >= from);
        let newer = |epoch: Epoch| from.is_none_or(|from| epoch > from);
        let mut manifest: Vec<ManifestRow> =
            self.manifest.iter().filter(|row| recent(row.record.epoch)).cloned().collect();
        manifest.sort_by_key(|row| row.record.epoch);
        let cut = self.cuts.iter().filter(|(epoch, ..)| from.is_none_or(|from| *epoch == from));
        TableFacts {
            fence: self.fence.clone(),
            namespace: "here".into(),
            manifest,
            cut: cut.map(|(_, partition, position)| (partition.clone(), position.clone())).collect(),
            spans: self.offsets.iter().filter(|(epoch, _)| newer(*epoch)).cloned().collect(),
        }
    }
}

/// A history in which partitions move, stand still, are added, and a person decides now and then.
fn grown(steps: &[(u8, u8, u8)]) -> (Tables, History) {
    let (mut tables, mut history) = Tables::new();
    for (number, (kind, place, length)) in steps.iter().enumerate() {
        let epoch = history.next_epoch;
        let partition = TopicPartition::new(if place % 5 == 0 { "b" } else { "a" }, i32::from(place % 3));
        let position = history.cut.get(&partition).cloned();
        let span = |topic_id: &str, start: i64, end: i64| Span {
            partition: partition.clone(),
            topic_id: topic_id.into(),
            start,
            end,
            leader_epoch: (length % 3 != 0).then_some(i32::from(length % 7)),
            last: (end > start && length % 4 != 0).then(|| LastRecord {
                offset: end - 1,
                timestamp_ms: -1,
                fingerprint: format!("f{length}"),
            }),
        };
        let is_known = history.cut.knows_topic(&partition.topic);
        let at = position.as_ref().map_or(0, |p| p.end);
        let id = position.as_ref().map_or_else(|| "id".to_string(), |p| p.topic_id.clone());
        let decided = Some(Decision { by: "a@b".into(), why: "because".into(), adopted: Vec::new() });
        let (kind, spans, decision) = match kind {
            _ if !is_known => {
                (Kind::Announcement, vec![Span { last: None, leader_epoch: None, ..span("id", 4, 4) }], None)
            }
            0 => (Kind::Loss, vec![Span { last: None, ..span(&id, at, at + 5) }], decided),
            1 => {
                let renewed = span(&format!("id{number}"), 2, 2);
                (Kind::NewSource, vec![Span { last: None, leader_epoch: None, ..renewed }], decided)
            }
            2 => (Kind::Adopt, Vec::new(), decided.map(|d| Decision { adopted: vec!["old".into()], ..d })),
            _ => (Kind::Data, vec![span(&id, at, at + i64::from(*length) + 1)], None),
        };
        let record = EpochRecord {
            epoch,
            kind,
            closed_at: Micros(1_000 + number as i64),
            watermark: None,
            plan: "p".into(),
            spans,
            decision,
            counts: BTreeMap::new(),
        };
        tables.load(history.link(record).unwrap());
    }
    (tables, history)
}

/// What somebody does to the tables.
fn vandalise(tables: &mut Tables, what: usize, which: prop::sample::Index) {
    let row = |len: usize| which.index(len.max(1));
    let other = |digest: &mut Digest| *digest = Digest("x".into());
    type OnSpan = fn(&mut (Epoch, Span));
    type OnCut = fn(&mut (Epoch, TopicPartition, Position));
    type OnRow = fn(&mut ManifestRow);
    const SPANS: [OnSpan; 9] = [
        |(epoch, _)| epoch.0 += 1,
        |(_, span)| span.partition.topic = "c".into(),
        |(_, span)| span.partition.partition += 1,
        |(_, span)| span.topic_id = "x".into(),
        |(_, span)| span.start -= 1,
        |(_, span)| span.end += 1,
        |(_, span)| span.leader_epoch = Some(span.leader_epoch.map_or(0, |e| e + 1)),
        |(_, span)| span.last = None,
        |(_, span)| span.last = Some(LastRecord { offset: 1, timestamp_ms: -1, fingerprint: "x".into() }),
    ];
    const CUTS: [OnCut; 8] = [
        |(epoch, ..)| epoch.0 += 1,
        |(_, partition, _)| partition.topic = "c".into(),
        |(_, partition, _)| partition.partition += 1,
        |(.., position)| position.topic_id = "x".into(),
        |(.., position)| position.end -= 1,
        |(.., position)| position.leader_epoch = Some(position.leader_epoch.map_or(0, |e| e + 1)),
        |(.., position)| position.last = None,
        |(.., position)| position.last = Some(LastRecord { offset: 1, timestamp_ms: -1, fingerprint: "x".into() }),
    ];
    const ROWS: [OnRow; 8] = [
        |row| row.record.epoch.0 += 1,
        |row| row.record.kind = if row.record.kind == Kind::Data { Kind::Loss } else { Kind::Data },
        |row| row.record.closed_at.0 += 1,
        |row| row.record.watermark = Some(Micros(1)),
        |row| row.record.plan = "q".into(),
        |row| row.record.decision = Some(Decision { by: "x".into(), why: String::new(), adopted: Vec::new() }),
        |row| row.digest = Digest("x".into()),
        |row| row.cut_digest = Digest("x".into()),
    ];
    if tables.manifest.is_empty() && what < 38 {
        return;
    }
    match what {
        0..9 if !tables.offsets.is_empty() => {
            let row = row(tables.offsets.len());
            SPANS[what](&mut tables.offsets[row]);
        }
        0..9 => {}
        9..17 => {
            let row = row(tables.cuts.len());
            CUTS[what - 9](&mut tables.cuts[row]);
        }
        17..25 => {
            let row = row(tables.manifest.len());
            ROWS[what - 17](&mut tables.manifest[row]);
        }
        25 if !tables.offsets.is_empty() => drop(tables.offsets.remove(row(tables.offsets.len()))),
        26 => drop(tables.cuts.remove(row(tables.cuts.len()))),
        27 => drop(tables.manifest.remove(row(tables.manifest.len()))),
        28 if !tables.offsets.is_empty() => tables.offsets.push(tables.offsets[row(tables.offsets.len())].clone()),
        29 => tables.cuts.push(tables.cuts[row(tables.cuts.len())].clone()),
        30 => tables.manifest.push(tables.manifest[row(tables.manifest.len())].clone()),
        // A whole table, or the old rows of it.
        31 => tables.offsets.clear(),
        32 => tables.cuts.clear(),
        33 => tables.manifest.clear(),
        34 => tables.offsets.retain(|(epoch, _)| epoch.0 >= which.index(300) as u64),
        35 => tables.manifest.retain(|row| row.record.epoch.0 >= which.index(300) as u64),
        36 => tables.cuts.retain(|(epoch, ..)| epoch.0 >= which.index(300) as u64),
        37 => tables.offsets.retain(|(_, span)| span.partition.partition != which.index(3) as i32),
        38 => tables.fence.next_epoch.0 = if which.index(2) == 0 { u64::MAX >> 1 } else { which.index(300) as u64 },
        39 => other(&mut tables.fence.digest),
        40 => other(&mut tables.fence.cut_digest),
        41 => tables.fence.cut_epoch = Some(Epoch(which.index(300) as u64)),
        42 => tables.fence.cut_epoch = None,
        43 => tables.fence.namespace = "there".into(),
        // These decide nothing here: the statement that takes the fence, and the witnesses on S3, look at them.
        44 => tables.fence.generation.0 += 1,
        45 => tables.fence.nonce = Nonce::new([9; 16]),
        _ => {}
    }
}

const WAYS: usize = 46;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn whatever_is_changed_a_start_halts_or_is_right(
        steps in prop::collection::vec((0..60u8, any::<u8>(), any::<u8>()), 0..220),
        which in any::<prop::sample::Index>(),
    ) {
        let (tables, history) = grown(&steps);
        prop_assert_eq!(admit(&tables.facts()).unwrap(), history.clone());
        for what in 0..WAYS {
            let mut changed = tables.clone();
            vandalise(&mut changed, what, which);
            match admit(&changed.facts()) {
                Ok(found) => prop_assert_eq!(&found, &history, "way {}", what),
                Err(Halt::Tables(_) | Halt::OtherDatabase { .. }) => {}
                Err(other) => prop_assert!(false, "way {}: {}", what, other),
            }
        }
    }
}

/// What was seen: old rows of a partition that has stood still since are gone, and it began at 0 again.
#[test]
fn old_offsets_that_are_gone_do_not_send_a_partition_back() {
    let steps: Vec<(u8, u8, u8)> =
        [(9, 1, 9), (9, 1, 50), (9, 2, 9), (9, 2, 30)].into_iter().chain((0..7).map(|n| (9, 2, n))).collect();
    let (mut tables, history) = grown(&steps);
    tables.offsets.retain(|(epoch, _)| epoch.0 >= 3);
    let halt = admit(&tables.facts()).expect_err("a halt");
    assert!(matches!(&halt, Halt::Tables(_)), "{halt}");
    // Below the newest whole cut nothing is read.
    let more: Vec<(u8, u8, u8)> = steps.iter().copied().chain((0..120).map(|n| (9, 2, n))).collect();
    let (mut tables, longer) = grown(&more);
    tables.offsets.retain(|(epoch, _)| epoch.0 >= 50);
    assert_eq!(admit(&tables.facts()).unwrap(), longer);
    assert_ne!(longer, history);
}

/// How much a start reads does not grow with the history.
#[test]
fn a_start_reads_what_is_recent() {
    let steps = |count: u64| -> Vec<(u8, u8, u8)> { (0..count).map(|n| (9, 1, (n % 250) as u8)).collect() };
    let rows = |count| {
        let facts = grown(&steps(count)).0.facts();
        facts.manifest.len() + facts.cut.len() + facts.spans.len()
    };
    assert!(rows(3000) <= 2 * crate::history::FULL_CUT_EVERY as usize + 6, "{} rows", rows(3000));
    assert_eq!(rows(300), rows(3000));
}
