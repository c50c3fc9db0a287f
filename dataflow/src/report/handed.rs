//! What a child process hands to its supervisor: a snapshot of its facts each second, as a line of JSON on its standard output, where a
//! running job says nothing else.
//!
//! A snapshot that is not read is not missed: the next one has everything.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Write},
    os::fd::AsFd,
    process::ChildStdout,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{
    Report,
    facts::{Facts, Snapshot},
    now_ms,
};
use crate::{
    error::{CodedError, Result},
    process::spawn,
};

const EVERY: Duration = Duration::from_secs(1);

/// Hands the facts of this process over from here on, until nobody reads them.
///
/// # Errors
/// Standard output is closed, or the system has no thread left.
pub fn hand_over(report: &Arc<Report>) -> Result<()> {
    // Not through Rust's own handle: whoever ends the process takes its lock, and this thread may wait for a reader.
    let closed = |e| CodedError::machine("standard output is closed", e);
    let mut output = File::from(std::io::stdout().as_fd().try_clone_to_owned().map_err(closed)?);
    let report = report.clone();
    spawn("facts", move || {
        while line(&report.facts).is_ok_and(|line| output.write_all(line.as_bytes()).is_ok()) {
            thread::sleep(EVERY);
        }
    })
}

fn line(facts: &Facts) -> serde_json::Result<String> {
    let snapshot = facts.snapshot(Instant::now(), now_ms());
    serde_json::to_string(&snapshot).map(|line| line + "\n")
}

/// The newest snapshot of each process, as its supervisor has it.
#[derive(Clone, Default)]
pub struct Handed(Arc<Mutex<BTreeMap<usize, Snapshot>>>);

impl Handed {
    /// Listens to a process until it ends. What it said at an earlier start is forgotten.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn listen(&self, process: usize, output: ChildStdout) -> Result<()> {
        self.newest().remove(&process);
        let handed = self.clone();
        spawn(&format!("facts-{process}"), move || {
            // A line that is not a snapshot is not a reason to leave the child without a reader.
            for line in BufReader::new(output).lines().map_while(std::io::Result::ok) {
                if let Ok(snapshot) = serde_json::from_str(&line) {
                    handed.newest().insert(process, snapshot);
                }
            }
        })
    }

    /// What a process said last; `None` if nothing since it was started.
    pub fn of(&self, process: usize) -> Option<Snapshot> {
        self.newest().get(&process).cloned()
    }

    fn newest(&self) -> MutexGuard<'_, BTreeMap<usize, Snapshot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
