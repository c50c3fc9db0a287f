//! `tidegate explain`: a job file with every default, or what an error code means.

use super::output::{print, print_escaped};
use crate::{
    error::{Code, CodedError, Result},
    job,
};

/// Show what a job file means, with every default, or what an error code means; without either, list all codes.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A job file, or a code like TG-1001; without either, all codes.
    what: Option<String>,
    /// Print JSON: one object for a job file or a code, one a line for all codes.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let wrong = |e: serde_json::Error| CodedError::new(Code::Bug, e.to_string());
    let is_code = |what: &str| what.get(..3).is_some_and(|begin| begin.eq_ignore_ascii_case("TG-"));
    if let Some(path) = arguments.what.as_deref().filter(|what| !is_code(what)) {
        let text = job::explain::explain(path)?;
        let shown = if arguments.json { job::explain::json(&text)? } else { text };
        print_escaped(&shown);
        return Ok(());
    }
    let of_code = |code: &&Code| arguments.what.as_ref().is_none_or(|what| code.id().eq_ignore_ascii_case(what));
    let codes: Vec<&Code> = Code::ALL.iter().filter(of_code).collect();
    let line = |code: &&Code| match arguments.json {
        true => serde_json::to_string(&code.line()).map_err(wrong).map(|line| line + "\n"),
        false => Ok(format!("{}  exit {:3}  {}\n", code.id(), code.exit_code(), code.title())),
    };
    match (codes.as_slice(), &arguments.what) {
        ([], what) => {
            let what = what.as_deref().unwrap_or_default();
            Err(CodedError::new(Code::Usage, format!("there is no code {what}; `tidegate explain` lists all")))
        }
        ([code], Some(_)) if !arguments.json => {
            print(&code.explained());
            Ok(())
        }
        (codes, _) => {
            print(&codes.iter().map(line).collect::<Result<String>>()?);
            Ok(())
        }
    }
}
