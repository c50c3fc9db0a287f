//! A step: what a target does with rows between decode and fit.
//!
//! The plan lists the steps of each target in their order, and the graph folds them: the rows that come out of one go into the
//! next, and what each sets aside goes the way of all dead letters. So an operator is a file that implements [`Step`], and a
//! line in `dataflow/src/plan.rs` that says after which others it comes.
//!
//! A whole one, which lets one record of two through. Its core is pure; each record that goes no further has a fate.
//!
//! ```
//! use std::sync::Arc;
//!
//! use arrow_array::{ArrayRef, Int64Array, cast::AsArray, types::Int64Type};
//! use checkpoint::{Fate, Fates, Tally};
//! use connectors::RawBatch;
//! use operators::{
//!     Rows, Time,
//!     rows::{Index, Origin, only},
//!     signals::Of,
//!     stage::{Outputs, Split, split},
//!     step::{Step, Tools},
//! };
//! use timely::dataflow::Stream;
//!
//! #[derive(Debug)]
//! struct Half;
//!
//! impl Step for Half {
//!     fn name(&self) -> &'static str {
//!         "half"
//!     }
//!
//!     fn build<'s>(&self, rows: Stream<'s, Time, Rows>, tools: &Tools) -> Outputs<'s, Rows> {
//!         split("Half", Of::Target(tools.target.number), rows, |_epoch, rows| half(rows))
//!     }
//! }
//!
//! fn half(rows: Rows) -> Split<Rows> {
//!     let (kept, left): (Vec<usize>, Vec<usize>) = (0..rows.len()).partition(|row| row % 2 == 0);
//!     let mut fates = Fates::default();
//!     fates.add(Fate::Filtered, rows.tally_of(left));
//!     let (columns, index) = (only(&rows.columns, rows.len(), &kept), rows.index.only(&kept));
//!     Split { rows: Rows { columns, index, ..rows }, letters: None, fates }
//! }
//!
//! // Three records of partition 0, from offset 7 on, with one column.
//! let mut raw = RawBatch::default();
//! for offset in 7..10 {
//!     raw.partitions.push(0);
//!     raw.offsets.push(offset);
//!     raw.timestamps_ms.push(0);
//!     raw.keys.push(None).unwrap();
//!     raw.values.push(Some(b"{}")).unwrap();
//! }
//! let origin = Arc::new(Origin::new(raw, &[0]));
//! let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
//! let Split { rows, fates, .. } = half(Rows { columns: vec![column], origin, index: Index::all(3), lease: None });
//! assert_eq!(rows.columns[0].as_primitive::<Int64Type>().values(), &[1, 3]);
//! assert_eq!(fates.get(Fate::Filtered), Tally::of([(0, 8)]));
//! ```

use std::{fmt::Debug, sync::Arc};

use timely::dataflow::Stream;

use crate::{Rows, Time, dead_letters::Rejects, events::Watch, places::Place, schema::Target, stage::Outputs};

/// An operator from rows to rows, of one target, with what the job file says about it.
pub trait Step: Debug + Send + Sync {
    /// Its name, in lower case: the stage of its dead letters, and the edge after it in tests that lose batches.
    fn name(&self) -> &'static str;

    /// Builds it. All workers build the same.
    fn build<'s>(&self, rows: Stream<'s, Time, Rows>, tools: &Tools) -> Outputs<'s, Rows>;
}

/// What every step may use.
#[derive(Clone)]
pub struct Tools {
    /// Whose step it is.
    pub target: Arc<Target>,
    /// All partitions of the job.
    pub places: Arc<[Place]>,
    /// Where dead letters are made.
    pub rejects: Rejects,
    /// Who watches.
    pub watch: Watch,
}
