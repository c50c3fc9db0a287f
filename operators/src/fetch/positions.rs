//! Where a worker's partitions stand: what a span is, is decided here. Pure.

use std::collections::BTreeMap;

use checkpoint::{LastRecord, Span, Tally, protocol::Halt};

use crate::{failure::Failure, places::Place};

/// Where a partition stands: the span of the open epoch so far.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Progress {
    start: i64,
    end: i64,
    /// Records come from here on: the end, but while a batch enters.
    next: i64,
    leader_epoch: Option<i32>,
    last: Option<LastRecord>,
    read_up: bool,
}

/// The positions of a worker's partitions. Pure: what a span is, is decided here.
#[derive(Default)]
pub(super) struct Positions(BTreeMap<usize, Progress>);

impl Positions {
    pub(super) fn new(places: impl Iterator<Item = (usize, i64)>) -> Positions {
        let new = |start| Progress { start, end: start, next: start, leader_epoch: None, last: None, read_up: false };
        Positions(places.map(|(place, start)| (place, new(start))).collect())
    }

    fn of(&mut self, place: usize) -> Result<&mut Progress, Failure> {
        self.0.get_mut(&place).ok_or_else(|| Failure::Bug("a batch of a partition of another worker".into()))
    }

    /// A batch entered the open epoch. How far it moved, and which records it has: each above the one before it in its
    /// partition, and none below where the partition stands.
    pub(super) fn enter(
        &mut self,
        places: &[Place],
        records: impl Iterator<Item = (i32, i64)>,
        moved: Vec<Arrival>,
    ) -> Result<(u64, Tally), Failure> {
        let mut tally = Tally::default();
        // Records of a partition come in runs.
        let mut run: Option<(i32, i64)> = None;
        for (place, offset) in records {
            let next = match run {
                Some((same, next)) if same == place => next,
                _ => {
                    self.leave(run)?;
                    self.of(place as usize)?.next
                }
            };
            if offset < next {
                let partition = places[place as usize].partition.clone();
                return Err(Failure::Halt(Halt::ReadTwice { partition, offset, position: next }));
            }
            run = Some((place, offset + 1));
            tally.record(place, offset);
        }
        self.leave(run)?;
        let mut offsets = 0;
        for arrival in moved {
            let progress = self.of(arrival.place)?;
            let step = u64::try_from(arrival.position - progress.end)
                .map_err(|_| Failure::Bug(format!("position {} after {}", arrival.position, progress.end)))?;
            offsets += step;
            if progress.next <= arrival.position {
                progress.next = arrival.position;
            }
            progress.end = arrival.position;
            progress.leader_epoch = arrival.leader_epoch.or(progress.leader_epoch);
            progress.last = arrival.last.or(progress.last.take());
            progress.read_up |= arrival.read_up;
        }
        match self.0.values().find(|progress| progress.next != progress.end) {
            None => Ok((offsets, tally)),
            Some(ahead) => Err(Failure::Bug(format!("a record at {} and the position {}", ahead.next - 1, ahead.end))),
        }
    }

    /// The end of a run of records of one partition.
    fn leave(&mut self, run: Option<(i32, i64)>) -> Result<(), Failure> {
        if let Some((place, next)) = run {
            self.of(place as usize)?.next = next;
        }
        Ok(())
    }

    /// The spans of the open epoch; the next one starts where they end.
    pub(super) fn close(&mut self, places: &[Place]) -> Vec<Span> {
        let spans = self.0.iter_mut().map(|(place, progress)| {
            let span = Span {
                partition: places[*place].partition.clone(),
                topic_id: places[*place].topic_id.clone(),
                start: progress.start,
                end: progress.end,
                leader_epoch: progress.leader_epoch.take(),
                last: progress.last.take(),
            };
            progress.start = progress.end;
            span
        });
        spans.collect()
    }

    pub(super) fn reached(&self, places: &[Place]) -> bool {
        self.0
            .iter()
            .all(|(place, progress)| progress.read_up || places[*place].until.is_none_or(|until| progress.end >= until))
    }
}

/// Where one partition stands after a batch.
pub(super) struct Arrival {
    pub(super) place: usize,
    pub(super) position: i64,
    pub(super) leader_epoch: Option<i32>,
    pub(super) last: Option<LastRecord>,
    /// Whether there is no record any more below where it is to be read.
    pub(super) read_up: bool,
}

#[cfg(test)]
mod tests {
    use checkpoint::TopicPartition;

    use super::*;

    fn place(until: Option<i64>) -> Place {
        Place {
            partition: TopicPartition::new("t", 0),
            topic_id: "id".into(),
            stream: 0,
            start: 5,
            leader_epoch: None,
            until,
        }
    }

    fn arrival(position: i64, last: Option<i64>) -> Arrival {
        let last = last.map(|offset| LastRecord { offset, timestamp_ms: 0, fingerprint: String::new() });
        Arrival { place: 0, position, leader_epoch: None, last, read_up: false }
    }

    /// Enters a batch of the only partition, with records at these offsets.
    fn enter(positions: &mut Positions, records: &[i64], arrival: Arrival) -> Result<(u64, Tally), Failure> {
        positions.enter(&[place(None)], records.iter().map(|offset| (0, *offset)), vec![arrival])
    }

    #[test]
    fn a_span_ends_at_the_position_and_not_after_the_last_record() {
        let places = [place(Some(12))];
        let mut positions = Positions::new([(0, 5)].into_iter());
        let (step, tally) = enter(&mut positions, &[5, 8], arrival(10, Some(8))).unwrap();
        assert_eq!((step, tally), (5, Tally::of([(0, 5), (0, 8)])));
        assert!(!positions.reached(&places));
        let (step, tally) = enter(&mut positions, &[], arrival(12, None)).unwrap();
        assert_eq!((step, tally), (2, Tally::default()), "control records alone");
        assert!(positions.reached(&places));
        let spans = positions.close(&places);
        assert_eq!((spans[0].start, spans[0].end, spans[0].last.as_ref().map(|l| l.offset)), (5, 12, Some(8)));
        let spans = positions.close(&places);
        assert_eq!(
            (spans[0].start, spans[0].end, spans[0].last.clone()),
            (12, 12, None),
            "an epoch in which it did not move"
        );
    }

    #[test]
    fn a_partition_in_which_nothing_is_left_is_reached_where_it_stands() {
        let places = [place(Some(12))];
        let mut positions = Positions::new([(0, 5)].into_iter());
        assert_eq!(enter(&mut positions, &[7], arrival(8, Some(7))).unwrap().0, 3);
        assert!(!positions.reached(&places));
        assert_eq!(enter(&mut positions, &[], Arrival { read_up: true, ..arrival(8, None) }).unwrap().0, 0);
        assert!(positions.reached(&places));
        let span = positions.close(&places).remove(0);
        assert_eq!(
            (span.start, span.end, span.last.map(|l| l.offset)),
            (5, 8, Some(7)),
            "the position is the reader's"
        );
        assert!(positions.reached(&places), "in the next epoch as well");
    }

    #[test]
    fn a_position_that_goes_back_is_a_bug() {
        let new = || Positions::new([(0, 5)].into_iter());
        let is_bug = |result| matches!(result, Err(Failure::Bug(_)));
        assert!(is_bug(enter(&mut new(), &[], arrival(4, None))));
        assert!(is_bug(enter(&mut new(), &[], Arrival { place: 1, ..arrival(9, None) })));
        assert!(is_bug(enter(&mut new(), &[5, 6], arrival(6, Some(6)))), "it stands before its own record");
        assert!(is_bug(new().enter(&[place(None)], [(0, 5)].into_iter(), vec![])), "a record, and it did not move");
    }

    #[test]
    fn a_record_that_comes_again_is_refused() {
        for (again, offset) in [(vec![7, 8], 7), (vec![10, 10], 10), (vec![11, 10], 10), (vec![0], 0)] {
            let mut positions = Positions::new([(0, 5)].into_iter());
            enter(&mut positions, &[5, 6, 9], arrival(10, Some(9))).unwrap();
            let result = enter(&mut positions, &again, arrival(12, None));
            let Err(Failure::Halt(Halt::ReadTwice { offset: found, .. })) = result else { panic!("{again:?}") };
            assert_eq!(found, offset, "{again:?}");
        }
        // In a batch that goes from one partition to another and back.
        let places = [place(None), place(None)];
        let all = |records: &[(i32, i64)]| {
            let moved = (0..2).map(|place| Arrival { place, ..arrival(20, None) }).collect();
            Positions::new([(0, 5), (1, 0)].into_iter()).enter(&places, records.iter().copied(), moved)
        };
        assert!(all(&[(0, 5), (1, 0), (0, 6), (1, 3)]).is_ok());
        let result = all(&[(0, 6), (1, 0), (0, 5)]);
        assert!(matches!(result, Err(Failure::Halt(Halt::ReadTwice { offset: 5, position: 7, .. }))));
    }
}
