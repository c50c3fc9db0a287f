//! `tidegate epochs`: the newest epochs of a job.

use connectors::inspect::EpochSummary;
use serde::Serialize;

use super::output::{json_line, print, print_escaped, table};
use crate::{
    error::{CodedError, Result},
    job, ports,
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
    let job = job::look(&arguments.job, &[job::System::Redshift])?;
    let epochs = ports::inspect(&job)?.epochs(arguments.last).map_err(CodedError::of_tables)?;
    match arguments.json {
        true => print_escaped(&epochs.iter().map(|epoch| json_line(&line(epoch))).collect::<Result<String>>()?),
        false => print(&text(&epochs)),
    };
    Ok(())
}

#[derive(Serialize)]
struct EpochLine<'a> {
    epoch: u64,
    kind: &'a str,
    generation: u64,
    closed_at: String,
    loaded_at: String,
    offsets: u64,
    rows: u64,
    filtered: u64,
    dead_letters: u64,
}

fn line(summary: &EpochSummary) -> EpochLine<'_> {
    let EpochSummary { epoch, kind, generation, closed_at, loaded_at, offsets, rows, filtered, dead_letters } = summary;
    EpochLine {
        epoch: *epoch,
        kind,
        generation: *generation,
        closed_at: closed_at.to_string(),
        loaded_at: loaded_at.to_string(),
        offsets: *offsets,
        rows: *rows,
        filtered: *filtered,
        dead_letters: *dead_letters,
    }
}

/// The epochs for a person, in the order in which they come.
fn text(epochs: &[EpochSummary]) -> String {
    if epochs.is_empty() {
        return "no epochs: nothing was loaded yet\n".into();
    }
    let heads =
        ["epoch", "kind", "generation", "closed at", "loaded at", "offsets", "rows", "filtered", "dead letters"];
    let row = |summary: &EpochSummary| {
        let EpochSummary { epoch, kind, generation, closed_at, loaded_at, offsets, rows, filtered, dead_letters } =
            summary;
        let times = [closed_at, loaded_at].map(|at| format!("{at:.0}"));
        let numbers = [offsets, rows, filtered, dead_letters].map(u64::to_string);
        let head = [epoch.to_string(), kind.clone(), generation.to_string()];
        head.into_iter().chain(times).chain(numbers).collect::<Vec<_>>()
    };
    table(&heads, &epochs.iter().map(row).collect::<Vec<_>>()) + &announced(epochs)
}

/// What the announcements in a list are, of which epoch 0 is the first one.
fn announced(epochs: &[EpochSummary]) -> String {
    let numbers = epochs.iter().filter(|epoch| epoch.kind == "announcement").map(|epoch| epoch.epoch.to_string());
    let numbers: Vec<String> = numbers.collect();
    match numbers.as_slice() {
        [] => String::new(),
        [one] => format!(
            "epoch {one} is an announcement: it has no rows, and notes where each partition of a new topic begins\n"
        ),
        several => format!(
            "epochs {} are announcements: they have no rows, and note where each partition of a new topic begins\n",
            several.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use checkpoint::Micros;

    use super::*;

    #[test]
    fn times_are_told_in_one_form() {
        let at = Micros(1_795_514_400_250_000);
        let epoch = EpochSummary {
            epoch: 10,
            kind: "data".into(),
            generation: 2,
            closed_at: at,
            loaded_at: Micros(at.0 + 1_000_000),
            offsets: 5,
            rows: 1234,
            filtered: 0,
            dead_letters: 1,
        };
        assert_eq!(
            text(std::slice::from_ref(&epoch)),
            "epoch  kind  generation  closed at             loaded at             offsets  rows  filtered  dead letters\n   \
             10  data           2  2026-11-24T10:00:00Z  2026-11-24T10:00:01Z        5  1234         0             1\n"
        );
        let json = json_line(&line(&epoch)).unwrap();
        assert!(
            json.contains(r#""closed_at":"2026-11-24T10:00:00.250000Z","loaded_at":"2026-11-24T10:00:01.250000Z""#),
            "{json}"
        );
        assert_eq!(text(&[]), "no epochs: nothing was loaded yet\n");
    }

    #[test]
    fn an_announcement_is_explained() {
        let epoch = |epoch, kind: &str| EpochSummary {
            epoch,
            kind: kind.into(),
            generation: 1,
            closed_at: Micros(0),
            loaded_at: Micros(0),
            offsets: 0,
            rows: 0,
            filtered: 0,
            dead_letters: 0,
        };
        let (data, first, later) = (epoch(1, "data"), epoch(0, "announcement"), epoch(2, "announcement"));
        assert_eq!(announced(std::slice::from_ref(&data)), "");
        assert!(announced(&[data.clone(), first.clone()]).starts_with("epoch 0 is an announcement: it has no rows"));
        assert!(announced(&[later, data, first]).starts_with("epochs 2, 0 are announcements: they have no rows"));
    }
}
