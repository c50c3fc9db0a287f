//! `tidegate man`: the manual pages.

use std::path::PathBuf;

use super::output::print;
use crate::error::{Code, CodedError, Result};

/// Print the manual page, or write one for each command into a folder.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// An existing folder; without it, the manual page goes to standard output.
    folder: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, program: clap::Command) -> Result<()> {
    let failed = |what: String| |e| CodedError { code: Code::Usage, what, source: Some(Box::new(e)) };
    match &arguments.folder {
        Some(folder) => clap_mangen::generate_to(program, folder)
            .map_err(failed(format!("cannot write manual pages into {}", folder.display()))),
        None => {
            let mut page = Vec::new();
            let made = clap_mangen::Man::new(program).render(&mut page);
            made.map_err(failed("cannot make the manual page".into()))?;
            print(&String::from_utf8_lossy(&page));
            Ok(())
        }
    }
}
