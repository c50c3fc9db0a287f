//! What operators tell whoever watches: few, cheap, and never needed for the work itself.

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use checkpoint::{Epoch, Span};
use connectors::LoadStep;
use serde::{Deserialize, Serialize};

use crate::reasons::Reasons;

/// A step of the way of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // they are the modules of this crate
pub enum Stage {
    Fetch,
    Decode,
    Query,
    Fit,
    Encode,
    Upload,
    Seal,
    Load,
}

impl Stage {
    /// All, in the order data flows.
    pub const ALL: [Stage; 8] =
        [Stage::Fetch, Stage::Decode, Stage::Query, Stage::Fit, Stage::Encode, Stage::Upload, Stage::Seal, Stage::Load];

    /// Its name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Fetch => "fetch",
            Stage::Decode => "decode",
            Stage::Query => "query",
            Stage::Fit => "fit",
            Stage::Encode => "encode",
            Stage::Upload => "upload",
            Stage::Seal => "seal",
            Stage::Load => "load",
        }
    }

    /// The stage of a timely operator: its name begins with the stage's.
    pub fn of_operator(name: &str) -> Option<Stage> {
        let word = name.split(' ').next().unwrap_or_default();
        Stage::ALL.into_iter().find(|stage| stage.name().eq_ignore_ascii_case(word))
    }
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A batch entered an epoch.
    Fetched {
        /// Its records.
        records: u64,
        /// How far its partitions moved, control records and aborted ones included.
        offsets: u64,
        /// Where they stand now, by the number of their place.
        positions: Vec<(usize, i64)>,
    },
    /// The first records of an epoch are there.
    Opened {
        /// How long it stays open at most.
        within: Duration,
    },
    /// Values that did not fit were changed as the job file says. Given once for each column and worker, with the first of them: who
    /// watches looks at the count from then on.
    Changed {
        /// The stream, if they did not fit the declared type; the target, if its column.
        place: String,
        /// The column.
        column: String,
        /// How many so far.
        values: Arc<AtomicU64>,
    },
    /// A load reached a step.
    Step {
        /// Its first epoch.
        first: Epoch,
        /// Which step.
        step: LoadStep,
    },
    /// A load is in, and was read back.
    Loaded {
        /// Its first epoch.
        first: Epoch,
        /// Its last epoch.
        last: Epoch,
        /// Rows, over all targets.
        rows: u64,
        /// Records that were set aside.
        dead_letters: u64,
        /// Records read, over all streams.
        records: u64,
        /// Bytes of its files.
        bytes: u64,
        /// The time from BEGIN to the read-back.
        took: Duration,
        /// How often it was tried.
        attempts: u32,
        /// What was read, epoch after epoch.
        spans: Vec<Span>,
        /// What became of the records, by target, without that of the dead letters.
        targets: Vec<TargetCounts>,
    },
    /// Old epochs were folded into one row.
    Folded {
        /// Whose row that is.
        base: Epoch,
        /// How many they were.
        epochs: u64,
    },
    /// Old epochs could not be folded, or sessions not forgotten. It will be tried again.
    Unfolded {
        /// Why they could not.
        why: String,
    },
    /// It could not be seen whether the targets are still what they were. It will be looked at again.
    Unseen {
        /// Why it could not.
        why: String,
    },
    /// Something failed and is tried again.
    Retrying {
        /// The kind of work, and whom it is done with. The same for all that one outage keeps from it.
        doing: String,
        /// Which piece of that work.
        task: Task,
        /// Why it failed.
        why: String,
        /// What somebody may do about it.
        advice: Option<String>,
        /// The pause before the next try.
        pause: Duration,
        /// How long it is still tried.
        left: Duration,
    },
    /// What was tried again is done.
    Recovered {
        /// The kind of work.
        doing: String,
        /// Which piece of that work.
        task: Task,
        /// What came of it, for a person.
        done: String,
    },
    /// Another system was asked for something that can take long.
    Asked {
        /// The kind of work.
        doing: String,
        /// Which piece of that work.
        task: Task,
    },
    /// The answer is there, or its deadline is over.
    Answered {
        /// The kind of work.
        doing: String,
        /// Which piece of that work.
        task: Task,
    },
    /// The job ends by itself, and loads what it has read.
    Draining {
        /// Why it ends.
        why: String,
    },
    /// This thread, which is not a worker's, begins to work for a stage.
    Works(Stage),
    /// It has nothing to do.
    Rests,
}

/// One of several pieces of work of the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Task(u64);

impl Task {
    /// Another one than all before it.
    #[allow(clippy::new_without_default)] // no two are the same
    pub fn new() -> Task {
        static TASKS: AtomicU64 = AtomicU64::new(0);
        Task(TASKS.fetch_add(1, Ordering::Relaxed))
    }
}

/// What a load says of a target: of all workers, as the control tables have it.
#[derive(Clone, Debug, Default)]
pub struct TargetCounts {
    /// The table.
    pub target: String,
    /// Records that were read for it.
    pub read: u64,
    /// Records of these that became dead letters.
    pub rejected: u64,
    /// Why they did.
    pub reasons: Reasons,
}

/// Called for each event, from any thread; must not block.
pub type Watch = Arc<dyn Fn(Event) + Send + Sync>;

/// Counts the values that one operator changed, by column.
pub struct Changes {
    place: String,
    watch: Watch,
    counts: RefCell<HashMap<String, Arc<AtomicU64>>>,
}

impl Changes {
    /// The changes of a stream or a target.
    pub fn new(place: String, watch: Watch) -> Changes {
        Changes { place, watch, counts: RefCell::default() }
    }

    /// So many more.
    pub fn add(&self, column: &str, values: u64) {
        if let Some(count) = self.counts.borrow().get(column) {
            count.fetch_add(values, Ordering::Relaxed);
            return;
        }
        let values = Arc::new(AtomicU64::new(values));
        self.counts.borrow_mut().insert(column.into(), values.clone());
        (self.watch)(Event::Changed { place: self.place.clone(), column: column.into(), values });
    }
}

/// This thread works for a stage until the result is dropped.
pub(crate) fn working(watch: &Watch, stage: Stage) -> Working {
    watch(Event::Works(stage));
    Working(watch.clone())
}

/// See [`working`].
pub(crate) struct Working(Watch);

impl Drop for Working {
    fn drop(&mut self) {
        (self.0)(Event::Rests);
    }
}

/// Another system is asked, until the result is dropped.
pub(crate) fn asked(watch: &Watch, doing: &str) -> Asked {
    let asked = Asked { watch: watch.clone(), doing: doing.into(), task: Task::new() };
    watch(Event::Asked { doing: doing.into(), task: asked.task });
    asked
}

/// See [`asked`].
pub(crate) struct Asked {
    watch: Watch,
    doing: String,
    task: Task,
}

impl Drop for Asked {
    fn drop(&mut self) {
        (self.watch)(Event::Answered { doing: std::mem::take(&mut self.doing), task: self.task });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_names_its_stage() {
        assert_eq!(Stage::of_operator("Upload 3"), Some(Stage::Upload));
        assert_eq!(Stage::of_operator("Fetch"), Some(Stage::Fetch));
        assert_eq!(Stage::of_operator("Concatenate"), None);
    }
}
