//! What operators tell whoever watches: few, cheap, and never needed for the work itself.

use std::{sync::Arc, time::Duration};

use checkpoint::Epoch;
use connectors::LoadStep;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A batch entered an epoch.
    Fetched {
        /// Its records.
        records: u64,
        /// How far its partitions moved, control records and aborted ones included.
        offsets: u64,
    },
    /// Values that did not fit were changed as the job file says.
    Changed {
        /// The stream, if they did not fit the declared type; the target, if its column.
        place: String,
        /// The column.
        column: String,
        /// How many.
        values: u64,
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
        /// From BEGIN to the read-back.
        took: Duration,
        /// How often it was tried.
        attempts: u32,
    },
    /// Something failed and is tried again.
    Retrying {
        /// What was being done.
        doing: String,
        /// Why it failed.
        why: String,
    },
}

/// Called for each event, from any thread; must not block.
pub type Watch = Arc<dyn Fn(Event) + Send + Sync>;
