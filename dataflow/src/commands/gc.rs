//! `tidegate gc`: deletes staged files that nobody can need any more, by hand.

use super::output::{counted, json_line, print, print_escaped};
use crate::{
    error::{CodedError, Result},
    gc::{Collected, KEEP_MINUTES, collect},
    job::{self, Job},
    ports,
};

/// Delete staged files that nobody can need any more. A running job does so itself, now and then.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The job file.
    job: String,
    /// List files without deleting them.
    #[arg(long)]
    dry_run: bool,
    /// Print each file as a JSON object, one a line.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let collected = gc(&job::load_for(&arguments.job, &[job::System::S3, job::System::Redshift])?, arguments.dry_run)?;
    match arguments.json {
        true => {
            let line = |file: &String| json_line(&serde_json::json!({ "file": file, "deleted": !arguments.dry_run }));
            print_escaped(&collected.garbage.iter().map(line).collect::<Result<String>>()?)
        }
        false => print(&collected.garbage.iter().map(|file| format!("{file}\n")).collect::<String>()),
    };
    let done = if arguments.dry_run { "would be deleted" } else { "deleted" };
    eprintln!("{} {done}, {} kept", counted(collected.garbage.len() as u64, "file"), collected.kept);
    Ok(())
}

fn gc(job: &Job, dry_run: bool) -> Result<Collected> {
    let (fence_id, live) = ports::inspect(job)?.live(KEEP_MINUTES).map_err(CodedError::of_tables)?;
    Ok(collect(&ports::staging(job)?, &job.name, &fence_id, live, dry_run)?)
}
