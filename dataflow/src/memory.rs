//! How the memory budget of a job is shared out, and the least one with which it works.
//!
//! An eighth waits inside librdkafka, which counts the bytes of records and holds as much again beside them. Half of it is what workers
//! hold: batches on their way, open files, files that are not on S3 yet. The rest is for what nobody counts: batches before they enter,
//! buffers that grow by doubling, and the holes in the allocator's heaps.
//! The more columns all files together have, the sooner a page of one is compressed; the more targets a stream feeds, the smaller are
//! the batches that are read of it, because each becomes rows of all of them.

use operators::sink::encode::least_bytes;

use crate::{
    error::{Code, CodedError, Result},
    job::Job,
};

/// The smallest page, and the largest.
const PAGE_BYTES: (u64, u64) = (16 << 10, 1 << 20);
/// The smallest batch, and the largest.
const BATCH_BYTES: (u64, u64) = (64 << 10, 8 << 20);
/// What is in librdkafka's queue at least, and at most: KB, for each worker.
const QUEUE_KB: (u64, u64) = (1024, 65_536);

/// What of a job decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Worker threads of a process.
    pub workers: u64,
    /// Columns of all targets, dead letters included.
    pub columns: u64,
    /// The most targets that one stream feeds.
    pub fan_out: u64,
    /// What a column of an open file holds at least, in bytes.
    pub column: u64,
}

impl Shape {
    /// The budget of a job with so many workers a process.
    pub fn of(job: &Job, workers: usize) -> Shape {
        let columns: usize = job.targets.iter().map(|target| target.selection.columns.len()).sum();
        let letters = connectors::dead_letter_columns().len();
        let feeds = |name: &str| job.targets.iter().filter(|target| target.selection.stream == name).count();
        let fan_out = job.streams.iter().map(|stream| feeds(&stream.name)).max().unwrap_or(0);
        Shape {
            workers: workers as u64,
            columns: (columns + letters) as u64,
            fan_out: fan_out as u64,
            column: least_bytes(job.staging.compression),
        }
    }
}

/// What each gets. Bytes, unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// librdkafka's queue of one worker, in KB.
    pub queue_kb: u64,
    /// What one worker may hold.
    pub worker: u64,
    /// A batch.
    pub batch: u64,
    /// A page of a column.
    pub page: u64,
}

/// Pure: shares a budget out. Where there are so many columns that half of it has no room for all files, workers have up to three
/// quarters: what nobody counts does not grow with the columns.
pub fn share(budget: u64, shape: Shape) -> Shares {
    let worker = (budget / 2 / shape.workers).max(need(shape).min(budget * 3 / 4 / shape.workers));
    Shares {
        queue_kb: (budget / 8 / shape.workers / 1024).clamp(QUEUE_KB.0, QUEUE_KB.1),
        worker,
        batch: (worker / (16 * (1 + shape.fan_out))).clamp(BATCH_BYTES.0, BATCH_BYTES.1),
        page: (worker / 4 / shape.columns).clamp(PAGE_BYTES.0, PAGE_BYTES.1),
    }
}

/// Pure: what one worker needs to move: each file is open, and two batches are on their way.
fn need(shape: Shape) -> u64 {
    shape.columns * shape.column + 2 * operators::fetch::weight(BATCH_BYTES.0, shape.fan_out as usize)
}

/// Pure: the least budget with which a job of this shape moves.
pub fn least(shape: Shape) -> u64 {
    (need(shape) * shape.workers * 4).div_ceil(3)
}

/// Refuses a budget that is too small, and names the least one.
pub fn admit(job: &Job, workers: usize) -> Result<Shares> {
    let shape = Shape::of(job, workers);
    let least = least(shape);
    if job.budget_bytes < least {
        let Shape { workers, columns, .. } = shape;
        let mb = |bytes: u64| bytes.div_ceil(1_000_000);
        let what = format!(
            "[memory] budget is {} MB, and {} targets with {columns} columns on {workers} workers a process need at least {} MB",
            mb(job.budget_bytes),
            job.targets.len(),
            mb(least)
        );
        return Err(CodedError::new(Code::JobFile, what));
    }
    Ok(share(job.budget_bytes, shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_shared_out_and_never_more_than_it() {
        let one = Shape { workers: 1, columns: 15, fan_out: 1, column: 64 << 10 };
        let shares = share(1_000_000_000, one);
        assert_eq!(
            (shares.queue_kb, shares.worker, shares.batch, shares.page),
            (65_536, 500_000_000, 8 << 20, 1 << 20)
        );
        let many = Shape { workers: 2, columns: 2_256, fan_out: 250, column: 64 << 10 };
        let shares = share(1_000_000_000, many);
        assert_eq!((shares.worker, shares.page), (250_000_000, 27_703));
        assert!(shares.batch * (1 + many.fan_out) * 8 < shares.worker, "a batch of all targets is a small part of it");
        for shape in [one, many, Shape { workers: 16, columns: 40, fan_out: 4, column: 64 << 10 }] {
            let shares = share(least(shape), shape);
            assert!(
                shares.worker * shape.workers + shares.queue_kb.saturating_sub(1024) * 1024 * shape.workers
                    <= least(shape)
            );
            assert!(shares.worker >= shape.columns * shape.column);
        }
    }

    #[test]
    fn what_a_job_needs_grows_with_its_columns_and_workers() {
        let need = |workers, columns, fan_out| least(Shape { workers, columns, fan_out, column: 64 << 10 }) / 1_000_000;
        assert_eq!((need(1, 15, 1), need(1, 906, 100), need(4, 906, 100)), (1, 83, 335));
    }
}
