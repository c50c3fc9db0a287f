//! `tidegate init`: makes the control tables, or makes those that are there this database's.

use super::output::{json_line, print, print_escaped};
use crate::{
    accept::{self, Adopted, Person},
    error::{CodedError, Result},
    job::{self, System},
    ports::warehouse,
    report::log,
};

/// Create the control tables of a job: all of them or none. Never alters or empties one that exists.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The job file.
    job: String,
    /// Adopt control tables that were restored, or copied with their database: from here on they belong to this database.
    #[arg(long)]
    adopt: bool,
    /// The reason for adopting them; the manifest keeps it.
    #[arg(long, default_value = "", requires = "adopt")]
    why: String,
    /// Confirm that no process of the job runs; needed where Redshift does not show sessions.
    #[arg(long, requires = "adopt")]
    nobody_runs: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    // To adopt tables is to look at what was staged as well.
    let systems: &[_] = if arguments.adopt { &[System::S3, System::Redshift] } else { &[System::Redshift] };
    let job = job::load_for(&arguments.job, systems)?;
    if arguments.adopt {
        log::start(log::Format::Text, log::Detail::Normal);
        let adopted = accept::adopt(&job, &Person::new(&arguments.why, true, arguments.nobody_runs)?)?;
        let Adopted { epoch, fence_id, instead_of } = &adopted;
        match arguments.json {
            true => print_escaped(&json_line(&serde_json::json!({ "job": job.name, "adopted": adopted }))?),
            false => print(&format!(
                "the control tables belong to this database from epoch {epoch} on, under fence id {fence_id} instead of \
                 {instead_of}\n"
            )),
        };
        return Ok(());
    }
    let made = warehouse(&job)?.init(&uuid::Uuid::new_v4().to_string()).map_err(CodedError::from)?;
    if arguments.json {
        print_escaped(&json_line(&serde_json::json!({ "job": job.name, "made": made }))?);
    } else {
        print(&made.iter().map(|table| format!("{table}\n")).collect::<String>());
    }
    match made.len() {
        0 => eprintln!("job {}: all control tables are there already; nothing was made", job.name),
        made => eprintln!("job {}: {made} control tables made", job.name),
    }
    Ok(())
}
