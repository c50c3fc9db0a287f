//! The live view of `tidegate run` on a terminal: a few lines that are drawn anew, below whatever else is said.

use std::{
    io::{IsTerminal, Write},
    sync::{OnceLock, mpsc},
    time::Duration,
};

use console::{Style, truncate_str};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    facts::Snapshot,
    rates::Rates,
    words::{counted, held_up, lag, spoken},
};
use checkpoint::Micros;
use operators::threads::named;

/// How much of what is tried again is shown.
const RETRIES: usize = 3;
/// Topics that have a line of their own; of more only the first are shown.
const TOPICS: usize = 8;
/// How long the view may take to go away when the process ends: whoever draws it may be what fails.
const CLEAR_WITHIN: Duration = Duration::from_millis(200);

static VIEW: OnceLock<ProgressBar> = OnceLock::new();

/// Whether a person watches.
pub fn is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// Starts the live view; with a bar if the end is known.
pub fn start(total: Option<u64>) {
    let view = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(10));
    let template = match total {
        Some(_) => "{msg}\n{bar:40} {percent:>3}% of {len} offsets read, {eta} left",
        None => "{msg}",
    };
    // The templates are well formed: a test draws with both.
    view.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner()));
    let _ = VIEW.set(view); // a second view would draw over the first
}

/// Draws the job as it is now.
pub fn draw(snapshot: &Snapshot, rates: &Rates) {
    let Some(view) = VIEW.get() else { return };
    let width = console::Term::stderr().size().1 as usize;
    let lines = lines(snapshot, rates, console::colors_enabled_stderr());
    let lines: Vec<_> = lines.iter().map(|line| truncate_str(line, width.saturating_sub(1), "...")).collect();
    view.set_message(lines.join("\n"));
    view.set_position(snapshot.offsets);
}

/// Writes above the live view, or just writes. Whoever reads our standard error may be gone; the work goes on.
pub fn above(text: &[u8]) {
    let write = || drop(std::io::stderr().write_all(text));
    match VIEW.get() {
        Some(view) if !view.is_finished() => view.suspend(write),
        _ => write(),
    }
}

/// Takes the live view away.
pub fn clear() {
    let Some(view) = VIEW.get() else { return };
    let (done, waiting) = mpsc::channel();
    let cleared = named("screen", move || {
        view.finish_and_clear();
        let _ = done.send(()); // nobody waits any more
    });
    if cleared.is_ok() {
        let _ = waiting.recv_timeout(CLEAR_WITHIN);
    }
}

/// The lines of the view.
fn lines(snapshot: &Snapshot, rates: &Rates, colour: bool) -> Vec<String> {
    let style = if snapshot.state.is_good() { Style::new().green() } else { Style::new().yellow() };
    let state = style.bold().force_styling(colour).apply_to(snapshot.state.name());
    let mut lines = vec![format!(
        "{state}  {:.0} records/s read, {:.0} rows/s loaded{}",
        rates.records_per_s,
        rates.rows_per_s,
        counted(snapshot.dead_letters, "dead letter")
    )];
    for (doing, retrying) in snapshot.retrying.iter().take(RETRIES) {
        lines.push(format!("  trying again {doing}: {}", retrying.why));
    }
    if snapshot.retrying.len() > RETRIES {
        lines.push(format!("  and {} more", snapshot.retrying.len() - RETRIES));
    }
    for topic in snapshot.topics.iter().take(TOPICS) {
        lines.push(format!("  {}", lag(topic)));
    }
    if snapshot.topics.len() > TOPICS {
        lines.push(format!("  and {} more topics", snapshot.topics.len() - TOPICS));
    }
    if let Some(last) = &snapshot.last {
        lines.push(format!(
            "  last load: epoch {}, {} ago, {} rows in {:.2} s",
            last.epoch,
            spoken(Duration::from_millis(last.ago_ms)),
            last.rows,
            last.took_ms as f64 / 1000.0,
        ));
    }
    if let Some(at) = snapshot.complete_up_to_us {
        lines.push(format!("  complete up to {:.0}", Micros(at)));
    }
    if let Some(held) = &snapshot.held_up {
        lines.push(format!("  {}", held_up(held)));
    }
    if let Some((stage, share)) = rates.slowest {
        lines.push(format!("  slowest stage: {}, {:.0} % of the time", stage.name(), share * 100.0));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        report::facts::{Retrying, TopicLag, snapshot_of},
        state::State,
    };
    use operators::events::Stage;

    #[test]
    fn a_view_says_state_lag_and_slowest_stage() {
        let topic = |n: u64| TopicLag { topic: format!("t{n}"), unloaded: Some(n), behind_ms: None };
        let retrying = Retrying { why: "no answer".into(), since_ago_ms: 0, next_in_ms: 0, left_ms: 0 };
        let snapshot = Snapshot {
            retrying: BTreeMap::from([("loading epochs 1 to 1".into(), retrying)]),
            dead_letters: 1,
            topics: (0..10).map(topic).collect(),
            ..snapshot_of(State::Retrying)
        };
        let rates =
            Rates { records_per_s: 10.4, rows_per_s: 9.0, slowest: Some((Stage::Encode, 0.5)), ..Rates::default() };
        let plain = lines(&snapshot, &rates, false);
        assert_eq!(plain[0], "retrying  10 records/s read, 9 rows/s loaded, 1 dead letter");
        assert_eq!(plain[1], "  trying again loading epochs 1 to 1: no answer");
        assert_eq!(plain[2..4], ["  topic t0: all loaded", "  topic t1: 1 offset not loaded"]);
        assert_eq!(plain[10..], ["  and 2 more topics", "  slowest stage: encode, 50 % of the time"]);
        assert!(lines(&snapshot, &rates, true)[0].starts_with('\u{1b}'));
    }

    #[test]
    fn both_views_can_be_drawn() {
        for template in ["{msg}\n{bar:40} {percent:>3}% of {len} offsets read, {eta} left", "{msg}"] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
