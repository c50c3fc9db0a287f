//! The job: how the pieces are put together, and the program `tidegate`.
//!
//! * [`job`]: the job file as it is written, and the job that it means;
//! * [`plan`]: what the job means against the tables as they are: streams, columns, targets;
//! * [`mod@preflight`]: what a start finds out before the fence; [`recover`]: takes it, reads where the manifest ends, and makes
//!   sure that Kafka is still the same; [`takeover`]: who holds the fence, [`witness`]: what earlier starts left on S3;
//! * [`graph`]: every operator, in order, on one screen;
//! * [`start`]: how a process comes to its start, and [`cluster`]: how several meet;
//! * [`run`]: the workers; [`process`]: signals, panics, an orderly stop; [`ports`]: the three systems of a job;
//! * [`gc`]: deletes staged files that nobody can need any more;
//! * [`commands`]: a file a verb; [`report`]: what a run shows, [`mod@state`]: in one word;
//! * [`accept`]: what a person decides after a halt, [`halts`]: where `status` finds it;
//! * [`error`]: the catalogue of errors and the exit codes.

pub mod accept;
pub mod again;
pub mod cluster;
pub mod commands;
pub mod error;
pub mod gc;
pub mod graph;
pub mod halts;
pub mod job;
pub mod memory;
pub mod myself;
pub mod plan;
pub mod ports;
pub mod preflight;
pub mod process;
pub mod recover;
pub mod report;
pub mod run;
pub mod source;
pub mod start;
pub mod state;
pub mod takeover;
pub mod visible;
pub mod witness;
