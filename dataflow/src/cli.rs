//! The commands. Data goes to standard output, everything else to standard error.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::{
    error::{Error, Result},
    job,
    run::{self, warehouse},
};

/// Loads Apache Kafka topics into Amazon Redshift, exactly once, an epoch at a time.
///
/// Exit codes: 0 done or drained, 1 bug, 2 usage, 3 job file invalid or naming what does not exist, 5 cannot reach, 6 not
/// allowed; 12 outage outlasted its deadline, 13 the source grew (restart me); 20 fenced, 21 source lost data or changed
/// identity, 22 audit or protocol mismatch, 23 a record cannot be loaded (do not restart me); 130 second signal.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the control tables of a job, once. Adds what is missing, never alters or empties one.
    Init(Init),
    /// Run a job until it is stopped.
    Run(Run),
}

#[derive(Args)]
struct Init {
    /// The job file.
    job: String,
}

#[derive(Args)]
struct Run {
    /// The job file.
    job: String,
    /// Worker threads of this process.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// End once everything that is in the topics at the start is loaded.
    #[arg(long)]
    until_caught_up: bool,
}

/// Does what the arguments say.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Init(arguments) => init(&arguments.job),
        Command::Run(arguments) => job::load(&arguments.job).and_then(|job| {
            run::run(
                &job,
                &run::Options { workers: arguments.workers.into(), until_caught_up: arguments.until_caught_up },
            )
        }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("{}", error.render());
            ExitCode::from(error.code.exit_code())
        }
    }
}

fn init(path: &str) -> Result<()> {
    let job = job::load(path)?;
    let made = warehouse(&job)?.init(&uuid::Uuid::new_v4().to_string()).map_err(Error::from)?;
    for table in &made {
        println!("{table}");
    }
    eprintln!("job {}: {} control tables made", job.name, made.len());
    Ok(())
}
