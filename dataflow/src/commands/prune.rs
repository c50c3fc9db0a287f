//! `tidegate prune`: folds old epochs into one row, as a running job does by itself between its loads.
//!
//! It takes no fence away: a process that runs goes on, and waits for a slice at most.

use std::time::Duration;

use checkpoint::Nonce;
use connectors::{
    Fault, Fold, Folded,
    retry::{Policy, Retry},
};
use operators::{sink::history::SLICE, time::ago};

use super::output::{counted, print, print_escaped};
use crate::{
    error::{Code, CodedError, Result},
    job::{self, Job},
    myself::myself,
    ports::warehouse,
};

/// Fold old epochs of the control tables into one row, as a running job with `[history] keep` does.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The job file.
    job: String,
    /// Keep epochs that were closed since, like 90d; instead of `keep` in `[history]`.
    #[arg(long, value_name = "TIME")]
    keep: Option<String>,
    /// Print each slice as a JSON object, one a line.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let keep = arguments.keep.as_ref().map(|text| {
        job::parse_duration(text)
            .ok_or_else(|| CodedError::new(Code::Usage, format!("--keep {text:?}: write it like 12h or 90d")))
    });
    let job = job::load_for(&arguments.job, &[job::System::Redshift])?;
    let Some(keep) = keep.transpose()?.or(job.keep) else {
        let what = "nothing says how long epochs are kept: give --keep, or `keep` in [history]";
        return Err(CodedError::new(Code::Usage, what));
    };
    let mut all = 0;
    prune(&job, keep, &mut |Folded { base, epochs }| {
        all += epochs;
        match arguments.json {
            true => print_escaped(&(serde_json::json!({ "base": base.0, "epochs": epochs }).to_string() + "\n")),
            false => print(&format!("{} folded into the row of epoch {base}\n", counted(*epochs, "epoch"))),
        };
    })?;
    match all {
        0 => eprintln!("no epochs folded: none was closed before {:.0}", ago(keep)),
        all => eprintln!("{} folded into one row", counted(all, "epoch")),
    }
    Ok(())
}

/// How long a load that holds the fence is waited for, and an outage.
const WITHIN: Duration = Duration::from_secs(120);
/// Rows of sessions older than this are forgotten.
const SESSIONS_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// Folds all epochs that were closed so long ago, slice by slice; `say` is told of each.
///
/// # Errors
/// Redshift cannot be reached, the user may not delete rows of the control tables, or even the smallest slice would hold the fence for
/// too long. What was folded before that is folded.
fn prune(job: &Job, keep: Duration, say: &mut dyn FnMut(&Folded)) -> Result<()> {
    let mut warehouse = warehouse(job)?;
    warehouse.read().map_err(CodedError::of_tables)?;
    // Its sessions are recorded like all others, without a generation.
    warehouse.record(&myself(), &Nonce::new(*uuid::Uuid::new_v4().as_bytes())).map_err(CodedError::from)?;
    warehouse.forget_sessions(ago(SESSIONS_FOR)).map_err(CodedError::from)?;
    let (before, mut epochs) = (ago(keep), SLICE.1);
    let mut retry = Retry::new(Policy::within(WITHIN));
    loop {
        match warehouse.fold(&Fold { before, epochs }) {
            Ok(None) if epochs == SLICE.1 => return Ok(()),
            // Within a larger slice there may be one.
            Ok(None) => epochs = (epochs * 2).min(SLICE.1),
            Ok(Some(folded)) => {
                say(&folded);
                retry = Retry::new(Policy::within(WITHIN));
            }
            Err(error) if error.fault == Fault::TooLong && epochs > SLICE.0 => epochs = (epochs / 2).max(SLICE.0),
            Err(error) => match retry.after(&error) {
                Some(pause) => std::thread::sleep(pause),
                None => return Err(error.into()),
            },
        }
    }
}
