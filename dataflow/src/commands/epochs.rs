//! `tidegate epochs`: the newest epochs of a job.

use connectors::inspect::EpochSummary;
use serde::Serialize;

use super::output::print;
use crate::{
    error::{Code, CodedError, Result},
    job::{self, Job},
    ports,
};

/// List the newest epochs.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The job file.
    job: String,
    /// How many epochs to list.
    #[arg(long, default_value_t = 20)]
    last: u64,
    /// Print JSON objects, one a line.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    print(&epochs(&job::load(&arguments.job)?, arguments.last, arguments.json)?);
    Ok(())
}

#[derive(Serialize)]
struct EpochLine<'a> {
    epoch: u64,
    kind: &'a str,
    generation: u64,
    closed_at: &'a str,
    loaded_at: &'a str,
    offsets: u64,
    rows: u64,
    filtered: u64,
    dead_letters: u64,
}

/// The newest epochs of a job, the newest first; a table, or one object a line.
fn epochs(job: &Job, most: u64, json: bool) -> Result<String> {
    let epochs = ports::inspect(job)?.epochs(most)?;
    if json {
        let lines = epochs.iter().map(|epoch| {
            let EpochSummary { epoch, kind, generation, closed_at, loaded_at, offsets, rows, filtered, dead_letters } =
                epoch;
            let line = EpochLine {
                epoch: *epoch,
                kind,
                generation: *generation,
                closed_at,
                loaded_at,
                offsets: *offsets,
                rows: *rows,
                filtered: *filtered,
                dead_letters: *dead_letters,
            };
            serde_json::to_string(&line).map(|line| line + "\n")
        });
        return lines.collect::<Result<_, _>>().map_err(|e| CodedError::new(Code::Bug, e.to_string()));
    }
    let heads =
        ["epoch", "kind", "generation", "closed at", "loaded at", "offsets", "rows", "filtered", "dead letters"];
    let mut table = vec![heads.map(String::from)];
    table.extend(epochs.into_iter().map(|e| {
        let numbers = [e.offsets, e.rows, e.filtered, e.dead_letters].map(|n| n.to_string());
        let [offsets, rows, filtered, letters] = numbers;
        [
            e.epoch.to_string(),
            e.kind,
            e.generation.to_string(),
            e.closed_at,
            e.loaded_at,
            offsets,
            rows,
            filtered,
            letters,
        ]
    }));
    let widths: Vec<usize> =
        (0..heads.len()).map(|i| table.iter().map(|row| row[i].len()).max().unwrap_or(0)).collect();
    let line = |row: &[String; 9]| {
        let cells = row.iter().zip(&widths).enumerate().map(|(i, (cell, width))| match i {
            // Words and times begin at the left, numbers end at the right.
            1 | 3 | 4 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string() + "\n"
    };
    Ok(table.iter().map(line).collect())
}
