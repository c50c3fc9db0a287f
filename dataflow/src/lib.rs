//! The job: how the pieces are put together, and the program `tidegate`.
//!
//! * [`job`]: the job file as it is written, and the job that it means;
//! * [`plan`]: what the job means against the tables as they are: streams, columns, targets;
//! * [`mod@preflight`]: what a start finds out before the fence; [`recover`]: takes it, reads where the manifest ends, and makes
//!   sure that Kafka is still the same; [`takeover`]: who holds the fence, [`witness`]: what earlier starts left on S3;
//! * [`graph`]: every operator, in order, on one screen;
//! * [`start`]: how a process comes to its start, and [`cluster`]: how several meet;
//! * [`run`]: workers, signals, an orderly stop;
//! * [`mod@gc`]: deletes staged files that nobody can need any more;
//! * [`mod@check`]: everything that can be found out before a job runs;
//! * [`cli`]: the commands; [`report`]: what a run shows; [`mod@dead_letters`]: what was set aside;
//!   [`inspect`]: what the control tables say, and whether it is true;
//! * [`accept`]: what a person decides after a halt, [`halts`]: where `status` finds it;
//! * [`error`]: the catalogue of errors and the exit codes.

pub mod accept;
pub mod check;
pub mod cli;
pub mod cluster;
pub mod dead_letters;
pub mod error;
pub mod gc;
pub mod graph;
pub mod halts;
pub mod inspect;
pub mod job;
pub mod memory;
pub mod plan;
pub mod preflight;
pub mod prune;
pub mod recover;
pub mod report;
pub mod run;
pub mod source;
pub mod start;
pub mod takeover;
pub mod witness;
