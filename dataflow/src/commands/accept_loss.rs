//! `tidegate accept-loss`: a person says that a range of offsets is passed over.

use super::output::print;
use crate::{
    accept::{self, Accept, Person},
    error::{Code, CodedError, Result},
    job,
    report::log,
};

/// Decide that a range of offsets is passed over, after a halt that says so. Exit code 4 without --yes.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The job file.
    job: String,
    /// The partition.
    #[arg(long, value_name = "TOPIC/NUMBER")]
    partition: String,
    /// The first offset that is passed over: where the partition stands.
    #[arg(long, value_name = "OFFSET")]
    from: i64,
    /// The offset to go on at.
    #[arg(long, value_name = "OFFSET")]
    to: i64,
    /// Why, for whoever asks later.
    #[arg(long, default_value = "")]
    why: String,
    /// Do it. Otherwise it is only said.
    #[arg(long)]
    yes: bool,
    /// No process of the job runs: where Redshift does not show sessions nobody can see that.
    #[arg(long)]
    nobody_runs: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { partition, from, to, .. } = arguments;
    let person = Person::new(&arguments.why, arguments.yes, arguments.nobody_runs)?;
    let named = partition.rsplit_once('/').and_then(|(topic, number)| Some((topic, number.parse().ok()?)));
    let Some((topic, number)) = named else {
        return Err(CodedError::new(Code::Usage, format!("--partition {partition}: it is written as TOPIC/NUMBER")));
    };
    let loss = Accept::Loss { partition: checkpoint::TopicPartition::new(topic, number), from: *from, to: *to };
    log::start(log::Format::Text, log::Detail::Normal);
    accept::accept(&job::load(&arguments.job)?, &loss, &person, &mut print)
}
