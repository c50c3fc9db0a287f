//! Why a job ends by itself in good order: the source cannot be read on as it was read so far, or a target is not what it was; and
//! what was read is loaded first.
//!
//! One mechanism for all of it. Whoever finds the reason (a reader, who watches the topics, load) gives it to the clock. The clock
//! closes the open epoch as the last one, and its message has the reason, so that every process hears it: no further record
//! enters an epoch, what entered is loaded, and each process ends with that reason.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use checkpoint::{TopicPartition, protocol::Halt};
use serde::{Deserialize, Serialize};

/// Why a job ends by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Ending {
    /// A topic has more partitions than at the start.
    #[error("topic {topic} has {now} partitions instead of {before}")]
    Grew {
        /// Its name.
        topic: String,
        /// Partitions at the start.
        before: usize,
        /// Partitions now.
        now: usize,
    },
    /// Targets have other columns than at the start.
    #[error("{what}")]
    TablesChanged {
        /// Which, and how.
        what: String,
    },
    /// A topic is gone.
    #[error("topic {topic} is gone")]
    TopicGone {
        /// Its name.
        topic: String,
    },
    /// Retention has overtaken the reader.
    #[error("{partition}: offsets {from}..{to} were deleted (retention) before they were read")]
    RecordsLost {
        /// The partition.
        partition: TopicPartition,
        /// The first offset that was not read.
        from: i64,
        /// The first one that exists.
        to: i64,
    },
    /// A batch of the log is damaged.
    #[error("{partition}: the batch at offset {offset} is damaged ({why})")]
    Damaged {
        /// The partition.
        partition: TopicPartition,
        /// The first offset that was not read.
        from: i64,
        /// The first one after the damage that can be read.
        to: i64,
        /// Where the damaged batch begins.
        offset: i64,
        /// What is wrong with it.
        why: String,
    },
}

impl Ending {
    /// The halt that the next start would find as well; `None` where the next start simply goes on.
    pub fn halt(&self) -> Option<Halt> {
        Some(match self.clone() {
            Ending::Grew { .. } | Ending::TablesChanged { .. } => return None,
            Ending::TopicGone { topic } => Halt::TopicGone(topic.into()),
            Ending::RecordsLost { partition, from, to } => Halt::RecordsLost { partition, from, to },
            Ending::Damaged { partition, from, to, offset, why } => Halt::Damaged { partition, from, to, offset, why },
        })
    }
}

/// Where the reason is left. Clones are the same place; the first reason counts.
#[derive(Clone, Debug, Default)]
pub struct Reason(Arc<Mutex<Option<Ending>>>);

impl Reason {
    /// Leaves it. False if there is one already.
    pub fn leave(&self, ending: Ending) -> bool {
        let mut reason = self.lock();
        let is_first = reason.is_none();
        reason.get_or_insert(ending);
        is_first
    }

    /// The reason, if there is one.
    pub fn get(&self) -> Option<Ending> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Ending>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
