//! `tidegate completions`: what a shell needs to complete our commands.

use super::output::print;
use crate::error::Result;

/// Print the completions for a shell.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The shell.
    shell: clap_complete::Shell,
}

pub(super) fn run(arguments: &Arguments, mut program: clap::Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut program, "tidegate", &mut script);
    print(&String::from_utf8_lossy(&script));
    Ok(())
}
