//! A step: what a target does with rows between decode and fit.
//!
//! The plan lists the steps of each target in their order, and the graph folds them: the rows that come out of one go into the
//! next, and what each sets aside goes the way of all dead letters. So an operator is a file that implements [`Step`], and a
//! line in `dataflow/src/plan.rs` that says after which others it comes.

use std::{fmt::Debug, sync::Arc};

use timely::dataflow::Stream;

use crate::{Rows, Time, dead_letters::Rejects, events::Watch, places::Place, schema::Target, stage::Outputs};

/// An operator from rows to rows, of one target, with what the job file says about it.
pub trait Step: Debug + Send + Sync {
    /// Its name, in lower case: of its operator in the graph, and as the stage of its dead letters.
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
