//! `tidegate schema`: the JSON Schema of the job file.

use super::output::print;
use crate::{
    error::{Code, CodedError, Result},
    job::schema::schema,
};

/// Print the JSON Schema of the job file, for editors.
#[derive(clap::Args)]
pub(super) struct Arguments {}

pub(super) fn run(_: &Arguments) -> Result<()> {
    let text = serde_json::to_string_pretty(&schema()).map_err(|e| CodedError::new(Code::Bug, e.to_string()))?;
    print(&format!("{text}\n"));
    Ok(())
}
