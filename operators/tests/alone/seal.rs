use std::sync::Arc;

use checkpoint::{Cut, Digest, Epoch, Span, TopicPartition};
use connectors::TableName;
use operators::{
    fetch::Report,
    sink::{
        Piece, Target,
        seal::{SealOptions, SealedEpoch, seal},
    },
};

use crate::harness::{Alone, Input, Output};

struct Sealing {
    alone: Alone,
    reports: Input<Vec<Report>>,
    pieces: Input<Vec<Piece>>,
    sealed: Output<Vec<SealedEpoch>>,
}

impl Sealing {
    /// Two partitions, one target and the dead letters, from epoch 3 on.
    fn new() -> Sealing {
        let target = |number, stream| {
            let table = TableName { schema: "s".into(), table: format!("t{number}") };
            Arc::new(Target { number, stream, table, ..Target::default() })
        };
        let options = SealOptions {
            first: Epoch(3),
            cut: Cut::default(),
            digest: Digest::first("fence"),
            plan: "plan".into(),
            partitions: 2,
            targets: [target(0, Some(0)), target(1, None)].into(),
        };
        let (alone, (reports, pieces, sealed)) = Alone::build(|scope| {
            let (reports, told) = Input::new(scope);
            let (pieces, made) = Input::new(scope);
            (reports, pieces, Output::of(seal(scope, told, made, options)))
        });
        Sealing { alone, reports, pieces, sealed }
    }

    /// A report of both partitions, which went from one offset to the other.
    fn report(&mut self, epoch: u64, offsets: std::ops::Range<i64>, last: bool) {
        self.reports.give(epoch, vec![report(offsets, last)]);
    }

    fn sealed(&mut self) -> Vec<u64> {
        self.alone.settle();
        self.sealed
            .take_each()
            .into_iter()
            .map(|(time, sealed)| {
                assert_eq!(sealed.record.epoch.0, time);
                time
            })
            .collect()
    }

    fn dies(mut self) -> String {
        self.reports.close();
        self.pieces.close();
        self.alone.dies()
    }
}

fn report(offsets: std::ops::Range<i64>, last: bool) -> Report {
    let span = |partition| Span {
        partition: TopicPartition::new("t", partition),
        topic_id: "id".into(),
        start: offsets.start,
        end: offsets.end,
        leader_epoch: None,
        last: None,
    };
    Report { closed_at: 7, last, spans: vec![span(0), span(1)] }
}

#[test]
fn an_epoch_is_sealed_when_both_frontiers_have_passed_it() {
    let mut sealing = Sealing::new();
    sealing.report(4, 5..6, false);
    sealing.report(3, 0..5, false);
    sealing.reports.close();
    assert!(sealing.sealed().is_empty());
    sealing.pieces.advance(4);
    assert_eq!(sealing.sealed(), [3]);
    assert_eq!(sealing.sealed.frontier(), Some(4));
    sealing.pieces.close();
    assert_eq!(sealing.sealed(), [4]);
    assert_eq!(sealing.sealed.frontier(), None);
}

#[test]
fn a_last_epoch_in_which_nothing_moved_is_none() {
    for (end, expected) in [(5, vec![3]), (6, vec![3, 4])] {
        let mut sealing = Sealing::new();
        sealing.report(3, 0..5, false);
        sealing.report(4, 5..end, true);
        sealing.reports.close();
        sealing.pieces.close();
        assert_eq!(sealing.sealed(), expected);
        assert_eq!(sealing.sealed.frontier(), None);
    }
    // Only the last one.
    let mut sealing = Sealing::new();
    sealing.report(3, 0..5, false);
    sealing.report(4, 5..5, false);
    sealing.report(5, 5..5, true);
    sealing.reports.close();
    sealing.pieces.close();
    assert_eq!(sealing.sealed(), [3, 4]);
}

#[test]
fn an_epoch_that_is_missing_or_too_many_ends_the_process() {
    // Of which nobody reported.
    let mut sealing = Sealing::new();
    sealing.pieces.give(3, vec![Piece::Counts { target: 0, counts: Default::default() }]);
    assert_eq!(sealing.dies(), "the job must not go on");
    // Left out, and nothing moved in it: the spans follow each other.
    let mut sealing = Sealing::new();
    sealing.report(4, 0..5, false);
    assert_eq!(sealing.dies(), "the job must not go on");
    // After the last.
    let mut sealing = Sealing::new();
    sealing.report(3, 0..0, true);
    sealing.report(4, 0..5, false);
    assert_eq!(sealing.dies(), "the job must not go on");
    // The last for one worker and not for another.
    let mut sealing = Sealing::new();
    let [mut one, mut other] = [report(0..5, true), report(0..5, false)];
    (one.spans.pop(), other.spans.remove(0));
    sealing.reports.give(3, vec![one, other]);
    assert_eq!(sealing.dies(), "the job must not go on");
}

#[test]
fn a_message_without_an_epoch_ends_the_process() {
    let mut sealing = Sealing::new();
    sealing.reports.give_without_time(vec![report(0..1, false)]);
    assert!(sealing.dies().contains("without an epoch"));
    let mut sealing = Sealing::new();
    sealing.pieces.give_without_time(vec![Piece::Counts { target: 0, counts: Default::default() }]);
    assert!(sealing.dies().contains("without an epoch"));
}
