//! Every decision of the protocol is reached from facts, and whole sets of facts are enumerated. That of a start on the control
//! tables has a file of its own.

use super::*;
use crate::{Invariant, Position};

fn fence(generation: u64, next_epoch: u64) -> Fence {
    Fence {
        fence_id: "f".into(),
        namespace: "here".into(),
        generation: Generation(generation),
        nonce: Nonce::new([generation as u8; 16]),
        next_epoch: Epoch(next_epoch),
        digest: Digest(format!("d{}", next_epoch.wrapping_sub(1))),
        cut_digest: Digest(String::new()),
        cut_epoch: Some(Epoch(0)),
    }
}

fn position(end: i64) -> Position {
    let last = LastRecord { offset: end - 1, timestamp_ms: 1, fingerprint: "same".into() };
    Position { topic_id: "id".into(), end, leader_epoch: None, last: Some(last) }
}

fn partition(topic: &str, number: i32) -> TopicPartition {
    TopicPartition::new(topic, number)
}

fn starts(topics: &[&str]) -> BTreeMap<TopicPartition, Start> {
    let start = Start { topic_id: "id".into(), offset: 9 };
    topics.iter().flat_map(|t| (0..2).map(|p| (partition(t, p), start.clone()))).collect()
}

/// A history that ends in a known topic, of which one partition was read.
fn history() -> History {
    let cut = Cut::new([(partition("known", 0), position(40))]);
    History { next_epoch: Epoch(4), digest: Digest("d3".into()), cut, cut_epoch: Some(Epoch(0)) }
}

fn announced(history: &History, topics: &[&str]) -> Option<EpochRecord> {
    announcement(history, &starts(topics), &["t".into()], Micros(5), "plan")
}

#[test]
fn the_first_start_announces_every_partition() {
    let mut history = History::new("f");
    let announce = announced(&history, &["a"]).unwrap();
    assert_eq!((announce.epoch, announce.kind), (Epoch(0), Kind::Announcement));
    assert_eq!(announce.counts, [("t".to_string(), Counts::default())].into());
    assert_eq!(announce.spans.iter().map(|s| (s.start, s.end)).collect::<Vec<_>>(), [(9, 9), (9, 9)]);
    let link = history.link(announce).unwrap();
    assert_eq!(link.digest, link.record.digest(&Digest::first("f"), &link.cut_digest));
    assert_eq!((history.next_epoch, history.cut.get(&partition("a", 1)).unwrap().end), (Epoch(1), 9));
}

#[test]
fn a_topic_that_the_cut_knows_is_not_announced_whatever_kafka_says() {
    // Nor is a partition of it that was added later: it starts at 0.
    assert_eq!(announced(&history(), &["known"]), None);
}

#[test]
fn a_topic_added_later_begins_at_its_own_start() {
    let mut history = history();
    let announce = announced(&history, &["known", "new"]).unwrap();
    assert_eq!((announce.spans.len(), announce.epoch), (2, Epoch(4)));
    history.link(announce).unwrap();
    assert_eq!(history.cut.get(&partition("new", 0)).unwrap().end, 9);
    assert_eq!(history.cut.get(&partition("known", 0)).unwrap().end, 40);
}

#[test]
fn the_fence_is_whose_nonce_it_has() {
    let nonce = Nonce::new([7; 16]);
    let taking = |from, generation| after_taking(Generation(from), &nonce, &fence(generation, 4));
    let holder = Holder { generation: Generation(7), nonce: nonce.clone() };
    assert_eq!(taking(6, 7), Ok(Taken::Ours(holder.clone())), "the answer may have been lost");
    assert_eq!(taking(3, 7), Ok(Taken::Ours(holder)), "an earlier try of this start came late");
    assert_eq!(taking(3, 3), Ok(Taken::NotYet));
    assert_eq!(taking(3, 4), Ok(Taken::Moved { by: Generation(4) }));
    assert!(matches!(taking(3, 2), Err(Halt::Tables(Broken { invariant: Invariant::I6, .. }))));
}

#[test]
fn a_snapshot_is_valid_with_our_own_fence_and_no_other() {
    let me = Holder { generation: Generation(3), nonce: Nonce::new([3; 16]) };
    assert_eq!(check_snapshot(&me, &fence(3, 4)), Ok(Snapshot::Valid));
    assert_eq!(check_snapshot(&me, &fence(2, 4)), Ok(Snapshot::Older));
    assert_eq!(check_snapshot(&me, &fence(4, 4)), Ok(Snapshot::Fenced { by: Generation(4) }));
    let other = Holder { nonce: Nonce::new([9; 16]), ..me };
    assert!(matches!(check_snapshot(&other, &fence(3, 4)), Err(Halt::Tables(_))));
}

fn source(low: i64, last_stable: i64, fingerprint: Option<&str>) -> SourceFacts {
    let last = fingerprint.map(|f| LastRecord { offset: 39, timestamp_ms: 1, fingerprint: f.into() });
    SourceFacts { topic_id: "id".into(), low, last_stable, high_watermark: last_stable, last }
}

#[test]
fn the_log_is_the_one_of_the_manifest_or_the_job_halts() {
    let cut = Cut::new([(partition("t", 0), position(40)), (partition("removed", 0), position(7))]);
    let run = |facts: &[(i32, SourceFacts)]| {
        check_source(&cut, &facts.iter().map(|(p, f)| (partition("t", *p), f.clone())).collect())
    };
    let good = source(0, 50, Some("same"));
    let ends = |pairs: &[(i32, i64)]| pairs.iter().map(|(p, e)| (partition("t", *p), *e)).collect::<BTreeMap<_, _>>();

    assert_eq!(run(&[(0, good.clone())]).unwrap(), ends(&[(0, 40)]));
    assert_eq!(run(&[(0, source(40, 40, None))]).unwrap(), ends(&[(0, 40)]), "gone by retention, nothing lost");
    assert_eq!(
        run(&[(0, good.clone()), (1, source(0, 5, None))]).unwrap(),
        ends(&[(0, 40), (1, 0)]),
        "a partition added"
    );
    assert_eq!(
        run(&[(0, SourceFacts { topic_id: String::new(), ..good.clone() })]).unwrap(),
        ends(&[(0, 40)]),
        "no ids"
    );

    let halt = |facts: &[(i32, SourceFacts)]| run(facts).expect_err("a halt");
    assert!(matches!(halt(&[(0, SourceFacts { topic_id: "x".into(), ..good.clone() })]), Halt::TopicReplaced { .. }));
    assert!(matches!(halt(&[(0, source(41, 50, None))]), Halt::RecordsLost { from: 40, to: 41, .. }));
    assert!(matches!(halt(&[(0, source(0, 39, None))]), Halt::Truncated { high: 39, end: 40, .. }));
    assert!(matches!(halt(&[(0, source(0, 50, Some("other")))]), Halt::Rewritten { offset: 39, .. }));
    assert!(matches!(halt(&[(1, source(0, 5, None))]), Halt::PartitionGone(_)));
    assert!(matches!(halt(&[(0, good.clone()), (1, source(2, 5, None))]), Halt::RecordsLost { from: 0, to: 2, .. }));
    for facts in [&[(0, source(41, 50, None))][..], &[(1, source(0, 5, None))]] {
        assert!(halt(facts).is_source());
    }
}

/// All small fences and manifests against one range: the decision is the one that a reader of the tables would make.
#[test]
fn outcomes_enumerated() {
    let me = Holder { generation: Generation(3), nonce: Nonce::new([3; 16]) };
    let range = Range { first: Epoch(5), last: Epoch(6), digest: Digest("d6".into()) };
    let mut seen = [0; 4];
    for generation in 2..=4 {
        for next_epoch in 4..=9 {
            for loaded in [None, Some("d6"), Some("other")] {
                for rows in [0, 1] {
                    let fence = fence(generation, next_epoch);
                    let loaded = loaded.map(|d| Digest(d.into()));
                    let outcome = after_barrier(&me, &range, rows, &fence, loaded.as_ref());
                    let refusal = after_refusal(&me, &range, &fence, loaded.as_ref());
                    let ours = generation == 3;
                    let expected = if generation > 3 {
                        Outcome::Fenced { by: Generation(generation) }
                    } else if ours && rows == 1 && next_epoch == 7 && loaded == Some(Digest("d6".into())) {
                        Outcome::Committed
                    } else if ours && rows == 1 && next_epoch == 5 && loaded.is_none() {
                        Outcome::NotCommitted
                    } else {
                        assert!(matches!(outcome, Outcome::Halt(_)), "{generation} {next_epoch} {loaded:?} {rows}");
                        outcome.clone()
                    };
                    assert_eq!(outcome, expected, "{generation} {next_epoch} {loaded:?} {rows}");
                    assert_ne!(refusal, Outcome::NotCommitted, "a refusal is never a reason to try again");
                    if rows == 1 && outcome != Outcome::NotCommitted {
                        assert_eq!(refusal, outcome);
                    }
                    seen[match outcome {
                        Outcome::Committed => 0,
                        Outcome::NotCommitted => 1,
                        Outcome::Fenced { .. } => 2,
                        Outcome::Halt(_) => 3,
                    }] += 1;
                }
            }
        }
    }
    assert!(seen.iter().all(|n| *n > 0), "{seen:?}");
}

#[test]
fn a_stolen_nonce_of_the_same_generation_is_a_contradiction() {
    let me = Holder { generation: Generation(3), nonce: Nonce::new([9; 16]) };
    let range = Range { first: Epoch(5), last: Epoch(5), digest: Digest("d5".into()) };
    assert!(matches!(after_barrier(&me, &range, 1, &fence(3, 6), Some(&range.digest)), Outcome::Halt(_)));
}

/// So many rows, each of a record that was read and taken.
fn loaded(rows: u64) -> Counts {
    let mut fates = Fates::default();
    fates.add(Fate::Taken, Tally::of((0..rows as i64).map(|offset| (0, offset))));
    Counts::new(fates.total(), &fates, rows)
}

#[test]
fn copy_is_believed_only_with_a_new_id_and_the_whole_count() {
    let counts = loaded(10);
    assert_eq!(check_copy("t", 1, 2, 10, &counts), Ok(()));
    assert!(matches!(check_copy("t", 2, 2, 10, &counts), Err(Halt::CopyIdle { id: 2, .. })));
    assert!(matches!(check_copy("t", 1, 2, 9, &counts), Err(Halt::CopyCount { loaded: 9, .. })));
    assert!(matches!(check_copy("t", -1, 2, 11, &counts), Err(Halt::CopyCount { loaded: 11, .. })));
}

#[test]
fn an_epoch_is_whole_or_not_loaded() {
    let cut = Cut::new([(partition("t", 0), position(40))]);
    let spans = vec![Span {
        partition: partition("t", 0),
        topic_id: "id".into(),
        start: 40,
        end: 47,
        leader_epoch: None,
        last: None,
    }];
    // Seven records for two targets: a tombstone, one that does not decode, and for one of the targets one that does not fit.
    let of = |offsets: std::ops::Range<i64>| Tally::of(offsets.map(|offset| (0, offset)));
    let fates = |pairs: &[(Fate, Tally)]| {
        let mut fates = Fates::default();
        pairs.iter().for_each(|(fate, tally)| fates.add(*fate, *tally));
        fates
    };
    let (skipped, undecoded) = ((Fate::Skipped, of(45..46)), (Fate::Undecoded, of(46..47)));
    let target = |name: &str, stream, fates, rows| TargetHeard { name: name.into(), stream, fates, rows };
    let good = || {
        vec![
            target(
                "a",
                Some(0),
                fates(&[(Fate::Taken, of(40..44)), (Fate::DeadLetter, of(44..45)), skipped, undecoded]),
                4,
            ),
            target(
                "b",
                Some(0),
                fates(&[(Fate::Taken, of(40..43)), (Fate::Filtered, of(43..45)), skipped, undecoded]),
                3,
            ),
            target("c", Some(1), Fates::default(), 0),
            target("d", None, fates(&[(Fate::Taken, of(44..45)), (Fate::Taken, of(46..47))]), 2),
        ]
    };
    let read: BTreeMap<usize, Tally> = [(0, of(40..47))].into();
    let whole = |partitions, spans: &[Span], read: &BTreeMap<usize, Tally>, targets: &[TargetHeard]| {
        check_whole(&cut, partitions, Epoch(5), spans, read, targets)
    };
    let counts = whole(1, &spans, &read, &good()).unwrap();
    assert!(["a", "b", "c"].iter().all(|name| counts[*name].add_up()));
    assert_eq!((counts["a"].records_read, counts["a"].loaded, counts["a"].of(Fate::DeadLetter)), (7, 4, 1));
    assert_eq!((counts["d"].records_read, counts["d"].loaded), (0, 2));

    type Change = fn(&mut Vec<TargetHeard>);
    let changes: [(&str, Change); 7] = [
        ("a file too few", |t| t[0].rows = 3),
        ("a record too few, in fates and file", |t| {
            (t[0].fates, t[0].rows) = (t[1].fates, t[1].rows);
            t[0].fates.add(Fate::DeadLetter, Tally::default());
            t.remove(3);
            t[0].rows += 1;
        }),
        ("a batch dropped, and another of its size twice", |t| {
            let mut taken = Tally::of([(0, 40), (0, 40), (0, 41), (0, 42)]);
            taken.add(Tally::default());
            let mut fates = Fates::default();
            fates.add(Fate::Taken, taken);
            for fate in [Fate::Skipped, Fate::Undecoded, Fate::DeadLetter] {
                fates.add(fate, t[0].fates.get(fate));
            }
            t[0].fates = fates;
        }),
        ("a record of a stream that read none", |t| t[2].fates.add(Fate::Filtered, Tally::of([(1, 1)]))),
        ("a dead letter too few", |t| {
            t[3].fates = Fates::default();
            t[3].fates.add(Fate::Taken, Tally::of([(0, 44)]));
            t[3].rows = 1;
        }),
        ("another dead letter", |t| {
            t[3].fates = Fates::default();
            t[3].fates.add(Fate::Taken, Tally::of([(0, 44), (0, 45)]));
        }),
        ("a dead letter that is in no file", |t| t[3].rows = 1),
    ];
    for (name, change) in changes {
        let mut targets = good();
        change(&mut targets);
        let result = whole(1, &spans, &read, &targets);
        assert!(matches!(result, Err(Halt::NotWhole { .. })), "{name}: {result:?}");
    }
    let mut late = spans.clone();
    late[0].start = 41;
    for (name, result) in [
        ("a partition did not report", whole(2, &spans, &read, &good())),
        ("a span with a gap", whole(1, &late, &read, &good())),
        ("a record more was read", whole(1, &spans, &[(0, of(40..48))].into(), &good())),
    ] {
        assert!(matches!(result, Err(Halt::NotWhole { .. })), "{name}: {result:?}");
    }
}

#[test]
fn a_topic_is_gone_when_it_was_read_before() {
    let cut = Cut::new([(partition("known", 0), position(40))]);
    assert_eq!(check_topics(&cut, &["known", "new"], &["new", "known"]), Ok(vec![]));
    assert_eq!(check_topics(&cut, &["known", "new"], &["known"]), Ok(vec!["new"]), "a mistake in the job file");
    assert_eq!(check_topics(&cut, &["known", "new"], &["new"]), Err(Halt::TopicGone("known".into())));
}

/// Each way in which a job may have to halt is decided here from facts. A new one has no arm below, and this does not compile
/// until it has one and is reached.
#[test]
fn every_halt_is_reached() {
    let name = |halt: &Halt| match halt {
        Halt::OtherDatabase { .. } => "other database",
        Halt::Tables(_) => "tables",
        // Decided in witness.rs, which reaches each.
        Halt::Witness(_) => "witness",
        Halt::TopicGone(_) => "topic gone",
        Halt::TopicReplaced { .. } => "topic replaced",
        Halt::PartitionGone(_) => "partition gone",
        Halt::RecordsLost { .. } => "records lost",
        Halt::Truncated { .. } => "truncated",
        Halt::Rewritten { .. } => "rewritten",
        Halt::CopyIdle { .. } => "copy idle",
        Halt::CopyCount { .. } => "copy count",
        // Decided where records are read, in fetch.
        Halt::Damaged { .. } => "damaged",
        // Decided where positions are entered, in fetch.
        Halt::ReadTwice { .. } => "read twice",
        Halt::NotWhole { .. } => "not whole",
    };
    const NAMES: usize = 11;
    let cut = Cut::new([(partition("t", 0), position(40))]);
    let log = |number, facts| check_source(&cut, &[(partition("t", number), facts)].into()).map(drop);
    let here = |namespace: &str| {
        let fence = Fence { cut_epoch: None, ..fence(3, 4) };
        let (manifest, cut, spans) = (Vec::new(), Vec::new(), Vec::new());
        admit(&TableFacts { fence, namespace: namespace.into(), manifest, cut, spans }).map(drop)
    };
    let counts = loaded(10);
    let decisions = [
        here("there"),
        here("here"),
        check_topics(&cut, &["t"], &[]).map(drop),
        log(0, SourceFacts { topic_id: "x".into(), ..source(0, 50, None) }),
        log(1, source(0, 5, None)),
        log(0, source(41, 50, None)),
        log(0, source(0, 39, None)),
        log(0, source(0, 50, Some("other"))),
        check_copy("t", 2, 2, 10, &counts),
        check_copy("t", 1, 2, 9, &counts),
        check_whole(&cut, 1, Epoch(5), &[], &BTreeMap::new(), &[]).map(drop),
    ];
    let reached: std::collections::BTreeSet<&str> =
        decisions.iter().map(|decision| name(decision.as_ref().expect_err("a halt"))).collect();
    assert_eq!(reached.len(), NAMES, "{reached:?}");
}
