//! The partitions of a job, in an order that every process knows.

use checkpoint::TopicPartition;
use serde::{Deserialize, Serialize};

/// A partition of the job, and where this run reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The partition.
    pub partition: TopicPartition,
    /// Kafka's id of its topic.
    pub topic_id: String,
    /// The stream that it feeds, by number.
    pub stream: usize,
    /// Where the first epoch of this run begins.
    pub start: i64,
    /// The leader epoch of the last record before that, where one is known.
    pub leader_epoch: Option<i32>,
    /// How far it is to be read, with `--until-caught-up`.
    pub until: Option<i64>,
}
