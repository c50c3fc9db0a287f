//! Every decision of the protocol is reached from facts, and whole sets of facts are enumerated.

use super::*;
use crate::{Invariant, Position};

fn fence(generation: u64, next_epoch: u64) -> Fence {
    Fence {
        fence_id: "f".into(),
        namespace: "here".into(),
        generation: Generation(generation),
        nonce: Nonce::new([generation as u8; 16]),
        next_epoch: Epoch(next_epoch),
        digest: if next_epoch == 0 { Digest::first("f") } else { Digest(format!("d{}", next_epoch - 1)) },
    }
}

fn manifest(rows: u64) -> ManifestFacts {
    let highest = rows.checked_sub(1);
    ManifestFacts {
        rows,
        lowest: highest.map(|_| Epoch(0)),
        highest: highest.map(Epoch),
        digest: highest.map(|h| Digest(format!("d{h}"))),
    }
}

fn position(end: i64) -> Position {
    let last = LastRecord { offset: end - 1, timestamp_ms: 1, fingerprint: "same".into() };
    Position { topic_id: "id".into(), end, leader_epoch: None, last: Some(last) }
}

fn partition(topic: &str, number: i32) -> TopicPartition {
    TopicPartition::new(topic, number)
}

fn facts(next_epoch: u64) -> AcquireFacts {
    let cut = if next_epoch == 0 { Cut::default() } else { Cut::new([(partition("known", 0), position(40))]) };
    AcquireFacts { fence: fence(3, next_epoch), namespace: "here".into(), manifest: manifest(next_epoch), cut }
}

fn starts(topics: &[&str]) -> BTreeMap<TopicPartition, Start> {
    let start = Start { topic_id: "id".into(), offset: 9 };
    topics.iter().flat_map(|t| (0..2).map(|p| (partition(t, p), start.clone()))).collect()
}

#[test]
fn the_first_start_announces_every_partition() {
    let admitted = admit(&facts(0), &starts(&["a"]), &["t".into()], Micros(5), "plan").unwrap();
    let announce = admitted.announce.unwrap();
    assert_eq!((announce.epoch, admitted.next_epoch), (Epoch(0), Epoch(1)));
    assert_eq!(announce.counts, [("t".to_string(), Counts::default())].into());
    assert_eq!(announce.spans.iter().map(|s| (s.start, s.end)).collect::<Vec<_>>(), [(9, 9), (9, 9)]);
    assert_eq!(admitted.digest, announce.digest(&Digest::first("f")));
    assert_eq!(admitted.cut.get(&partition("a", 1)).unwrap().end, 9);
}

#[test]
fn a_restart_takes_the_manifest_and_throws_away_what_kafka_said() {
    let admitted = admit(&facts(4), &starts(&["known"]), &["t".into()], Micros(5), "plan").unwrap();
    assert_eq!((admitted.announce, admitted.next_epoch), (None, Epoch(4)));
    assert_eq!(admitted.cut.get(&partition("known", 0)).unwrap().end, 40);
    assert_eq!(
        admitted.cut.get(&partition("known", 1)),
        None,
        "a partition added later is not announced: it starts at 0"
    );
}

#[test]
fn a_topic_added_later_begins_at_its_own_start() {
    let admitted = admit(&facts(4), &starts(&["known", "new"]), &["t".into()], Micros(5), "plan").unwrap();
    assert_eq!(admitted.announce.unwrap().spans.len(), 2);
    assert_eq!(admitted.next_epoch, Epoch(5));
    assert_eq!(admitted.cut.get(&partition("new", 0)).unwrap().end, 9);
}

#[test]
fn control_tables_that_do_not_add_up_halt() {
    type Change = fn(&mut AcquireFacts);
    let changes: [(&str, Change); 6] = [
        ("a clone", |f| f.namespace = "there".into()),
        ("a row too few", |f| f.manifest.rows -= 1),
        ("not from 0", |f| f.manifest.lowest = Some(Epoch(1))),
        ("ends elsewhere", |f| f.manifest.highest = Some(Epoch(7))),
        ("another digest", |f| f.manifest.digest = Some(Digest("x".into()))),
        ("no digest", |f| f.manifest.digest = None),
    ];
    for (name, change) in changes {
        let mut facts = facts(4);
        change(&mut facts);
        let halt = admit(&facts, &starts(&["known"]), &["t".into()], Micros(5), "plan").expect_err(name);
        let is_clone = matches!(&halt, Halt::OtherDatabase { made_in, here } if made_in != here);
        let is_tables = matches!(&halt, Halt::Tables(broken) if broken.invariant == Invariant::I1);
        assert_eq!((is_clone, is_tables), (name == "a clone", name != "a clone"), "{name}: {halt}");
    }
    let mut first = facts(0);
    first.fence.digest = Digest("x".into());
    assert!(admit(&first, &starts(&["a"]), &["t".into()], Micros(5), "plan").is_err());
}

fn source(low: i64, high: i64, fingerprint: Option<&str>) -> SourceFacts {
    let last = fingerprint.map(|f| LastRecord { offset: 39, timestamp_ms: 1, fingerprint: f.into() });
    SourceFacts { topic_id: "id".into(), low, high, last }
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

#[test]
fn copy_is_believed_only_with_a_new_id_and_the_whole_count() {
    let counts = Counts { records_read: 10, row_count: 10, ..Counts::default() };
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
        end: 45,
        leader_epoch: None,
        last: None,
    }];
    let counts =
        Counts { records_read: 7, row_count: 4, skipped: 1, undecoded: 1, dead_letters: 1, ..Counts::default() };
    let letters = Counts { row_count: 2, ..Counts::default() };
    let record = EpochRecord {
        epoch: Epoch(5),
        closed_at: Micros(0),
        watermark: None,
        plan: "p".into(),
        spans: spans.clone(),
        counts: [("t".to_string(), counts), ("d".to_string(), letters)].into(),
    };
    let files = |pairs: &[(&str, u64)]| pairs.iter().map(|(t, n)| (t.to_string(), *n)).collect::<BTreeMap<_, _>>();
    let whole = |partitions, record: &EpochRecord, spans: &[Span], pairs: &[(&str, u64)], records| {
        check_whole(&cut, partitions, record, spans, &files(pairs), &DeadLetters { table: "d", records })
    };
    let good = [("t", 4), ("d", 2)];
    assert_eq!(whole(1, &record, &spans, &good, 2).unwrap().get(&partition("t", 0)).unwrap().end, 45);

    let mut uneven = record.clone();
    uneven.counts.get_mut("t").unwrap().skipped = 0;
    let mut read = record.clone();
    read.counts.get_mut("d").unwrap().records_read = 2;
    let mut late = spans.clone();
    late[0].start = 41;
    let cases = [
        ("a partition did not report", whole(2, &record, &spans, &good, 2)),
        ("a span with a gap", whole(1, &record, &late, &good, 2)),
        ("counts", whole(1, &uneven, &spans, &good, 2)),
        ("a dead letter too few", whole(1, &record, &spans, &good, 3)),
        ("a dead letter too many", whole(1, &record, &spans, &good, 1)),
        ("dead letters that were read", whole(1, &read, &spans, &good, 2)),
        ("a file too few", whole(1, &record, &spans, &[("d", 2)], 2)),
        ("a file of dead letters too few", whole(1, &record, &spans, &[("t", 4)], 2)),
        ("a file nobody knows", whole(1, &record, &spans, &[("t", 4), ("d", 2), ("u", 1)], 2)),
    ];
    for (name, result) in cases {
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
        Halt::TopicGone(_) => "topic gone",
        Halt::TopicReplaced { .. } => "topic replaced",
        Halt::PartitionGone(_) => "partition gone",
        Halt::RecordsLost { .. } => "records lost",
        Halt::Truncated { .. } => "truncated",
        Halt::Rewritten { .. } => "rewritten",
        Halt::CopyIdle { .. } => "copy idle",
        Halt::CopyCount { .. } => "copy count",
        Halt::NotWhole { .. } => "not whole",
    };
    const NAMES: usize = 11;
    let cut = Cut::new([(partition("t", 0), position(40))]);
    let start = |change: fn(&mut AcquireFacts)| {
        let mut facts = facts(4);
        change(&mut facts);
        admit(&facts, &starts(&["known"]), &["t".into()], Micros(5), "plan").map(drop)
    };
    let log = |number, facts| check_source(&cut, &[(partition("t", number), facts)].into()).map(drop);
    let record = EpochRecord {
        epoch: Epoch(5),
        closed_at: Micros(0),
        watermark: None,
        plan: "p".into(),
        spans: vec![],
        counts: BTreeMap::new(),
    };
    let letters = DeadLetters { table: "d", records: 0 };
    let counts = Counts { records_read: 10, row_count: 10, ..Counts::default() };
    let decisions = [
        start(|facts| facts.namespace = "there".into()),
        start(|facts| facts.manifest.rows -= 1),
        check_topics(&cut, &["t"], &[]).map(drop),
        log(0, SourceFacts { topic_id: "x".into(), ..source(0, 50, None) }),
        log(1, source(0, 5, None)),
        log(0, source(41, 50, None)),
        log(0, source(0, 39, None)),
        log(0, source(0, 50, Some("other"))),
        check_copy("t", 2, 2, 10, &counts),
        check_copy("t", 1, 2, 9, &counts),
        check_whole(&cut, 1, &record, &[], &BTreeMap::new(), &letters).map(drop),
    ];
    let reached: std::collections::BTreeSet<&str> =
        decisions.iter().map(|decision| name(decision.as_ref().expect_err("a halt"))).collect();
    assert_eq!(reached.len(), NAMES, "{reached:?}");
}
