//! How far partitions may be given, and what came of them beyond that.
//!
//! librdkafka knows no bound. When a partition is paused it throws away what waits in its queue and reads that again later; what was
//! taken out of the queue it does not give again. So records beyond a bound are held here, and their partition pauses meanwhile.

use std::collections::{BTreeMap, VecDeque};

use crate::{RawBatch, Result, Run};

/// The bounds of a reader, by place. A partition without one is not in it.
#[derive(Default)]
pub(super) struct Bounds(BTreeMap<usize, Bound>);

struct Bound {
    until: i64,
    /// Records of this partition that are not allowed yet, in order.
    held: VecDeque<RawBatch>,
    is_paused: bool,
}

impl Bound {
    fn first_held(&self) -> Option<i64> {
        self.held.front().and_then(|batch| batch.offsets.first()).copied()
    }
}

impl Bounds {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn allow(&mut self, place: usize, until: Option<i64>) {
        let new = || Bound { until: i64::MAX, held: VecDeque::new(), is_paused: false };
        self.0.entry(place).or_insert_with(new).until = until.unwrap_or(i64::MAX);
    }

    /// Where a partition stands for whoever reads it, if so much was taken.
    pub(super) fn position(&self, place: usize, taken: i64) -> i64 {
        let Some(bound) = self.0.get(&place) else { return taken };
        taken.min(bound.until).min(bound.first_held().unwrap_or(i64::MAX))
    }

    /// Holds what is not allowed of a batch. The places that are to pause now.
    pub(super) fn hold_back(&mut self, batch: &mut RawBatch) -> Result<Vec<usize>> {
        let is_beyond = |place: i32, offset: i64| {
            self.0.get(&(place as usize)).is_some_and(|bound| offset >= bound.until || !bound.held.is_empty())
        };
        let beyond: Vec<bool> =
            batch.partitions.iter().zip(&batch.offsets).map(|(place, offset)| is_beyond(*place, *offset)).collect();
        if !beyond.contains(&true) {
            return Ok(Vec::new());
        }
        let mut pause = Vec::new();
        for Run { place, leader_epoch, .. } in &batch.runs {
            let rows = (0..batch.len()).filter(|row| beyond[*row] && batch.partitions[*row] == *place);
            let mut held = batch.only(rows)?;
            if let (Some(bound), false) = (self.0.get_mut(&(*place as usize)), held.is_empty()) {
                held.runs = vec![Run { place: *place, leader_epoch: *leader_epoch, ..Run::default() }];
                bound.held.push_back(held);
                if !std::mem::replace(&mut bound.is_paused, true) {
                    pause.push(*place as usize);
                }
            }
        }
        let mut kept = batch.only((0..batch.len()).filter(|row| !beyond[*row]))?;
        kept.runs = batch.runs.drain(..).filter_map(|run| with_rows(run, &kept)).collect();
        *batch = kept;
        Ok(pause)
    }

    /// What is allowed by now of what was held, as batches of one partition each, and the places that are to go on.
    pub(super) fn release(&mut self) -> Result<(Vec<RawBatch>, Vec<usize>)> {
        let (mut released, mut resume) = (Vec::new(), Vec::new());
        for (place, bound) in &mut self.0 {
            while let Some(batch) = bound.held.pop_front() {
                let allowed = batch.offsets.iter().filter(|offset| **offset < bound.until).count();
                let (mut first, mut rest) = (batch.only(0..allowed)?, batch.only(allowed..batch.len())?);
                if !first.is_empty() {
                    first.runs = batch.runs.iter().cloned().filter_map(|run| with_rows(run, &first)).collect();
                    released.push(first);
                }
                if !rest.is_empty() {
                    rest.runs = batch.runs;
                    bound.held.push_front(rest);
                    break;
                }
            }
            if bound.held.is_empty() && std::mem::take(&mut bound.is_paused) {
                resume.push(*place);
            }
        }
        self.0.retain(|_, bound| bound.until < i64::MAX || !bound.held.is_empty());
        Ok((released, resume))
    }
}

/// The run with the rows that a batch has of it; `None` if it has none.
fn with_rows(run: Run, batch: &RawBatch) -> Option<Run> {
    let mut rows = (0..batch.len()).filter(|row| batch.partitions[*row] == run.place);
    let first = rows.next()?;
    Some(Run { first_offset: Some(batch.offsets[first]), last_row: Some(rows.next_back().unwrap_or(first)), ..run })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records (place, offset), in runs.
    fn batch(records: &[(i32, i64)]) -> RawBatch {
        let mut batch = RawBatch::default();
        for (place, offset) in records {
            batch.partitions.push(*place);
            batch.offsets.push(*offset);
            batch.timestamps_ms.push(0);
            batch.keys.push(None).unwrap();
            batch.values.push(Some(offset.to_string().as_bytes())).unwrap();
        }
        let places: std::collections::BTreeSet<i32> = records.iter().map(|(place, _)| *place).collect();
        batch.runs = places
            .into_iter()
            .filter_map(|place| with_rows(Run { place, leader_epoch: Some(4), ..Run::default() }, &batch))
            .collect();
        batch
    }

    fn records(batches: &[RawBatch]) -> Vec<(i32, i64)> {
        batches.iter().flat_map(|b| b.partitions.iter().copied().zip(b.offsets.iter().copied())).collect()
    }

    #[test]
    fn what_is_beyond_a_bound_is_held_until_it_is_allowed() {
        let mut bounds = Bounds::default();
        bounds.allow(0, Some(7));
        let mut came = batch(&[(0, 5), (1, 1), (0, 6), (0, 9), (1, 2), (0, 12)]);
        assert_eq!(bounds.hold_back(&mut came).unwrap(), [0]);
        assert_eq!(records(&[came.clone()]), [(0, 5), (1, 1), (0, 6), (1, 2)]);
        let runs: Vec<_> = came.runs.iter().map(|r| (r.place, r.first_offset, r.last_row)).collect();
        assert_eq!(runs, [(0, Some(5), Some(2)), (1, Some(1), Some(3))]);
        assert_eq!((bounds.position(0, 13), bounds.position(1, 3)), (7, 3));
        assert_eq!(came.values.get(2), Some(&b"6"[..]));

        // What comes all the same before the pause takes hold stands after what is held.
        let mut came = batch(&[(0, 13)]);
        assert_eq!(bounds.hold_back(&mut came).unwrap(), [0; 0], "it pauses already");
        assert!(came.is_empty() && came.runs.is_empty());
        assert_eq!(records(&bounds.release().unwrap().0), []);
        bounds.allow(0, Some(10));
        let (released, resume) = bounds.release().unwrap();
        assert_eq!((records(&released), resume), (vec![(0, 9)], vec![]));
        assert_eq!((released[0].runs[0].leader_epoch, released[0].runs[0].first_offset), (Some(4), Some(9)));
        assert_eq!(bounds.position(0, 14), 10, "between records a position goes as far as it may");
        bounds.allow(0, Some(11));
        assert_eq!(bounds.position(0, 14), 11);
        bounds.allow(0, None);
        assert_eq!(bounds.position(0, 14), 12, "not past what is held");
        let (released, resume) = bounds.release().unwrap();
        assert_eq!((records(&released), resume), (vec![(0, 12), (0, 13)], vec![0]));
        assert!(bounds.is_empty());
        assert_eq!(bounds.position(0, 14), 14);
    }
}
