//! `tidegate accept-new-source`: a person says that a topic is another one than the one that was read.

use super::output::print;
use crate::{
    accept::{self, Accept, Person},
    error::Result,
    job,
    report::log,
};

/// Record the decision that a topic was replaced by another one, after a halt that says so. Exit code 4 without --yes.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The job file.
    job: String,
    /// The topic.
    #[arg(long)]
    topic: String,
    /// It has the same records at the same offsets, as a mirror has: go on where the old one was left. Otherwise it begins where
    /// the job file says that a new topic begins.
    #[arg(long)]
    keep_offsets: bool,
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
    let Arguments { topic, keep_offsets, .. } = arguments;
    let person = Person::new(&arguments.why, arguments.yes, arguments.nobody_runs)?;
    let source = Accept::NewSource { topic: topic.clone(), keep_offsets: *keep_offsets };
    log::start(log::Format::Text, log::Detail::Normal);
    accept::accept(&job::load(&arguments.job)?, &source, &person, &mut |text| {
        print(text);
    })
}
