//! `tidegate accept-loss`: a person says that a range of offsets is passed over.

use super::output::print;
use crate::{
    accept::{self, Accept, Person},
    error::{Code, CodedError, Result},
    job,
    report::log,
};

/// Record the decision to pass over a range of offsets, after a halt that names it. Exit code 4 without --yes.
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
    /// The reason; the manifest keeps it.
    #[arg(long, default_value = "")]
    why: String,
    /// Do it; without it, only say what would be done.
    #[arg(long)]
    yes: bool,
    /// Confirm that no process of the job runs; needed where Redshift does not show sessions.
    #[arg(long)]
    nobody_runs: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { partition, from, to, .. } = arguments;
    let person = Person::new(&arguments.why, arguments.yes, arguments.nobody_runs)?;
    let named = partition.rsplit_once('/').and_then(|(topic, number)| Some((topic, number.parse().ok()?)));
    let Some((topic, number)) = named else {
        return Err(CodedError::new(
            Code::Usage,
            format!("--partition {partition}: write it as TOPIC/NUMBER, like orders/2"),
        ));
    };
    let loss = Accept::Loss { partition: checkpoint::TopicPartition::new(topic, number), from: *from, to: *to };
    log::start(log::Format::Text, log::Detail::Normal);
    accept::accept(&job::load(&arguments.job)?, &loss, &person, &mut |text| {
        print(text);
    })
}
