//! The timestamp of the dataflow.

/// The timely timestamp: the number of the epoch. Totally ordered; order inside an epoch is in the data (partition, offset).
pub type Time = u64;
