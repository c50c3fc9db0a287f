//! What a running job shows: a bar on a terminal, lines elsewhere. Everything goes to standard error.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use operators::events::{Event, Watch};

/// Counts what happens and shows it.
pub struct Report {
    offsets: AtomicU64,
    records: AtomicU64,
    rows: AtomicU64,
    dead_letters: AtomicU64,
    /// Values that a policy changed, by stream or table, and column.
    changed: Mutex<BTreeMap<(String, String), u64>>,
    /// With `--until-caught-up`, how many offsets there are to read.
    total: Option<u64>,
    bar: Option<ProgressBar>,
    since: Instant,
}

impl Report {
    /// A bar if standard error is a terminal and the end is known.
    pub fn new(total: Option<u64>) -> Arc<Report> {
        let bar = total.filter(|_| std::io::stderr().is_terminal()).map(|total| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
            let style = ProgressStyle::with_template(
                "{bar:40} {percent:>3}% of {len} offsets read, {per_sec}, {msg}, {eta} left",
            );
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        let zero = AtomicU64::default;
        Arc::new(Report {
            offsets: zero(),
            records: zero(),
            rows: zero(),
            dead_letters: zero(),
            changed: Mutex::default(),
            total,
            bar,
            since: Instant::now(),
        })
    }

    /// For the operators.
    pub fn watch(self: &Arc<Report>) -> Watch {
        let report = self.clone();
        Arc::new(move |event| report.happened(event))
    }

    fn happened(&self, event: Event) {
        match event {
            Event::Fetched { records, offsets } => {
                self.records.fetch_add(records, Ordering::Relaxed);
                let read = self.offsets.fetch_add(offsets, Ordering::Relaxed) + offsets;
                if let Some(bar) = &self.bar {
                    bar.set_position(read);
                }
            }
            Event::Step { .. } => {}
            Event::Changed { place, column, values } => {
                if let Ok(mut changed) = self.changed.lock() {
                    *changed.entry((place, column)).or_default() += values;
                }
            }
            Event::Loaded { first, last, rows, dead_letters, records, bytes, took, attempts } => {
                let loaded = self.rows.fetch_add(rows, Ordering::Relaxed) + rows;
                self.dead_letters.fetch_add(dead_letters, Ordering::Relaxed);
                if let Some(bar) = &self.bar {
                    bar.set_message(format!("{loaded} rows loaded"));
                    return;
                }
                let epochs = if first == last { format!("epoch {first}") } else { format!("epochs {first} to {last}") };
                let tries = if attempts > 1 { format!(", {attempts} tries") } else { String::new() };
                let letters = counted(dead_letters, "dead letter");
                self.line(&format!(
                    "loaded {epochs}: {records} records, {rows} rows{letters}, {bytes} bytes, {:.2} s{tries}",
                    took.as_secs_f64()
                ));
            }
            Event::Retrying { doing, why } => self.line(&format!("trying again: {doing}: {why}")),
        }
    }

    /// A line, above the bar if there is one.
    pub fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => {
                // Whoever reads our standard error may be gone; the work goes on.
                let _ = writeln!(std::io::stderr(), "{text}");
            }
        }
    }

    /// Off a terminal, a line now and then says how far it is. Runs on a thread of its own.
    pub fn every(self: &Arc<Report>, interval: Duration) {
        let Some(total) = self.total.filter(|_| self.bar.is_none()) else { return };
        let report = Arc::downgrade(self);
        // If the thread cannot be started there are fewer lines.
        let _ = std::thread::Builder::new().name("report".into()).spawn(move || {
            loop {
                std::thread::sleep(interval);
                let Some(report) = report.upgrade() else { return };
                let (read, rows) = (report.offsets.load(Ordering::Relaxed), report.rows.load(Ordering::Relaxed));
                report.line(&format!("{read} of {total} offsets read, {rows} rows loaded"));
            }
        });
    }

    /// The last line.
    pub fn done(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if let Ok(changed) = self.changed.lock() {
            for ((place, column), values) in changed.iter() {
                let (values, were) = match values {
                    1 => ("1 value".to_string(), "was"),
                    values => (format!("{values} values"), "were"),
                };
                self.line(&format!("{place}: {values} of column {column} did not fit and {were} changed"));
            }
        }
        let (records, rows) = (self.records.load(Ordering::Relaxed), self.rows.load(Ordering::Relaxed));
        let letters = counted(self.dead_letters.load(Ordering::Relaxed), "dead letter");
        self.line(&format!(
            "done: {records} records read, {rows} rows loaded{letters}, {:.1} s",
            self.since.elapsed().as_secs_f64()
        ));
    }
}

/// `, 2 things`, or nothing where there are none.
fn counted(number: u64, thing: &str) -> String {
    match number {
        0 => String::new(),
        1 => format!(", 1 {thing}"),
        _ => format!(", {number} {thing}s"),
    }
}
