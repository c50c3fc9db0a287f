//! Seal: what makes an epoch whole, and what is seen when it is not.

use std::sync::Arc;

use checkpoint::{Epoch, Fate, Fates, History, Span, Tally, TopicPartition};
use connectors::TableName;
use operators::{
    schema::Target,
    signals::{Of, Piece, ReadReport, StagedFile},
    sink::seal::{SealOptions, SealedEpoch, seal},
};

use crate::harness::{Alone, Input, Output};

struct Sealing {
    alone: Alone,
    reports: Input<Vec<ReadReport>>,
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
            history: History { next_epoch: Epoch(3), ..History::new("fence") },
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
                assert_eq!(sealed.link.record.epoch.0, time);
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

fn report(offsets: std::ops::Range<i64>, last: bool) -> ReadReport {
    let span = |partition| Span {
        partition: TopicPartition::new("t", partition),
        topic_id: "id".into(),
        start: offsets.start,
        end: offsets.end,
        leader_epoch: None,
        last: None,
    };
    ReadReport { closed_at: 7, last, spans: vec![span(0), span(1)], read: Vec::new() }
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
    sealing.pieces.give(3, vec![Piece::Fates { of: Of::Target(0), fates: Fates::default() }]);
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
    one.spans.pop();
    other.spans.remove(0);
    sealing.reports.give(3, vec![one, other]);
    assert_eq!(sealing.dies(), "the job must not go on");
}

#[test]
fn a_message_without_an_epoch_ends_the_process() {
    let mut sealing = Sealing::new();
    sealing.reports.give_without_time(vec![report(0..1, false)]);
    assert!(sealing.dies().contains("without an epoch"));
    let mut sealing = Sealing::new();
    sealing.pieces.give_without_time(vec![Piece::Fates { of: Of::Target(0), fates: Fates::default() }]);
    assert!(sealing.dies().contains("without an epoch"));
}

/// Records of place 0.
fn records(offsets: std::ops::Range<i64>) -> Tally {
    Tally::of(offsets.map(|offset| (0, offset)))
}

fn file(target: usize, rows: u64, records: Tally) -> Piece {
    Piece::File(StagedFile { target, key: format!("{target}-{rows}-{}", records.sum), bytes: 1, rows, records })
}

fn fates(of: Of, fate: Fate, tally: Tally) -> Piece {
    let mut fates = Fates::default();
    fates.add(fate, tally);
    Piece::Fates { of, fates }
}

/// An epoch of two workers in which ten records left fetch: five are taken, two filtered, one skipped, two set aside.
fn epoch() -> (Vec<ReadReport>, Vec<Piece>) {
    let mut reports = [report(0..5, false), report(0..5, false)];
    reports[0].spans.pop();
    reports[1].spans.remove(0);
    reports[0].read = vec![(0, records(0..6))];
    reports[1].read = vec![(0, records(6..10))];
    let pieces = vec![
        file(0, 3, records(0..3)),
        file(0, 2, records(3..5)),
        fates(Of::Target(0), Fate::Filtered, records(5..7)),
        fates(Of::Stream(0), Fate::Skipped, records(7..8)),
        fates(Of::Stream(0), Fate::Undecoded, records(8..9)),
        fates(Of::Target(0), Fate::DeadLetter, records(9..10)),
        file(1, 2, records(8..10)),
    ];
    (reports.into(), pieces)
}

#[test]
fn each_record_that_left_fetch_has_met_one_fate() {
    let (reports, pieces) = epoch();
    let mut sealing = Sealing::new();
    sealing.reports.give(3, reports);
    sealing.pieces.give(3, pieces);
    sealing.reports.close();
    sealing.pieces.close();
    sealing.alone.settle();
    let (_, sealed) = sealing.sealed.take_each().pop().unwrap();
    let counts = &sealed.link.record.counts["s.t0"];
    assert_eq!((counts.records_read, counts.loaded, counts.of(Fate::Filtered)), (10, 5, 2));
    assert_eq!((counts.of(Fate::Undecoded), counts.of(Fate::DeadLetter)), (1, 1));
    let counts = &sealed.link.record.counts["s.t1"];
    assert_eq!((counts.records_read, counts.loaded), (0, 2));
    assert_eq!(sealed.files.len(), 3);

    // Any of it lost, given twice, or lost while another of its size comes twice.
    let all = epoch().1.len();
    let swap = |pieces: &mut Vec<Piece>, lost: usize, twice: Piece| {
        pieces.remove(lost);
        pieces.push(twice);
    };
    let mut changes: Vec<Vec<Piece>> = Vec::new();
    for at in 0..all {
        let (mut lost, mut twice) = (epoch().1, epoch().1);
        lost.remove(at);
        twice.push(twice[at].clone());
        changes.extend([lost, twice]);
    }
    let mut other_file = epoch().1;
    swap(&mut other_file, 1, file(0, 2, records(0..2)));
    let mut other_letters = epoch().1;
    swap(&mut other_letters, 6, file(1, 2, records(7..9)));
    let mut other_fates = epoch().1;
    swap(&mut other_fates, 2, fates(Of::Target(0), Fate::Filtered, records(4..6)));
    let mut other_rows = epoch().1;
    swap(&mut other_rows, 1, file(0, 3, records(3..5)));
    let mut unknown = epoch().1;
    unknown.push(fates(Of::Stream(1), Fate::Skipped, Tally::default()));
    changes.extend([other_file, other_letters, other_fates, other_rows, unknown]);
    for pieces in changes {
        let mut sealing = Sealing::new();
        sealing.reports.give(3, epoch().0);
        sealing.pieces.give(3, pieces);
        assert_eq!(sealing.dies(), "the job must not go on");
    }
}
