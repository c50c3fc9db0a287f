//! Deletes staged files that nobody can need any more, which [`checkpoint::garbage`] decides, now and then while a job runs.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use checkpoint::{
    garbage::{Live, is_garbage},
    names::{self, Staging},
};
use connectors::Objects;
use operators::threads::named;
use tracing::{info, warn};

use crate::report::Report;

/// How long files of loaded epochs are kept, for whoever wants to look at what was loaded.
pub const KEEP_MINUTES: u32 = 10;

/// What a collection came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// The files that are gone, or with `--dry-run` would be.
    pub garbage: Vec<String>,
    /// Files that are needed, or not ours.
    pub kept: u64,
}

/// Looks at everything that the job has staged, and deletes what is garbage unless it is only to be said.
pub fn collect(
    objects: &dyn Objects,
    job: &str,
    fence_id: &str,
    live: Live,
    dry_run: bool,
) -> connectors::Result<Collected> {
    let mut collected = Collected::default();
    let mut garbage: Vec<String> = Vec::new();
    objects.list(&names::all_of(job, fence_id), &mut |key| {
        match names::read(job, fence_id, key) {
            Some(named) if is_garbage(named, live) => garbage.push(key.into()),
            _ => collected.kept += 1,
        }
        Ok(())
    })?;
    if !dry_run {
        objects.delete(&garbage.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    collected.garbage = garbage.iter().map(|key| objects.url(key)).collect();
    Ok(collected)
}

/// Collects at the start what older generations left, and then now and then what is loaded. On a thread of its own, which asks
/// nothing of the warehouse: what is loaded it knows from the loads themselves.
pub fn start(staging: Arc<Staging>, objects: Arc<dyn Objects>, report: &Arc<Report>) {
    let report = Arc::downgrade(report);
    // If the thread cannot be started files wait for `tidegate gc`.
    let _ = named("gc", move || {
        // What was loaded when it looked last, and so is loaded for as long as it waited.
        let mut loaded = None;
        loop {
            let live = Live { generation: staging.generation, loaded };
            let since = Instant::now();
            match collect(&*objects, &staging.job, &staging.fence_id, live, false) {
                Ok(Collected { garbage, .. }) if garbage.is_empty() => {}
                Ok(Collected { garbage, kept }) => {
                    let (files, seconds) = (garbage.len(), since.elapsed().as_secs_f64());
                    info!(event = "collected", files, kept, seconds, "deleted {files} staged files that nobody needs");
                }
                // It is not a part of the promise: the job goes on.
                Err(error) => {
                    let why = error.told();
                    warn!(event = "not-collected", why, "staged files were not collected: {why}");
                }
            }
            let Some(report) = report.upgrade() else { return };
            loaded = report.facts.last_loaded();
            drop(report);
            thread::sleep(Duration::from_secs(60 * u64::from(KEEP_MINUTES)));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use checkpoint::{Epoch, Generation, Nonce};
    use connectors::memory::MemoryObjects;

    #[test]
    fn what_is_needed_stays() {
        let objects = MemoryObjects::default();
        let start = |generation, nonce| Staging {
            job: "j".into(),
            fence_id: "f".into(),
            generation: Generation(generation),
            nonce: Nonce::new([nonce; 16]),
        };
        let (old, mine, newer) = (start(1, 1), start(2, 2), start(3, 3));
        let garbage = [
            old.data(Epoch(3), 0, 0, "a"),
            old.copy_manifest(Epoch(3), Epoch(3), 0, 1),
            mine.data(Epoch(4), 0, 0, "b"),
            mine.copy_manifest(Epoch(2), Epoch(3), 0, 1),
        ];
        let needed = [
            mine.data(Epoch(5), 0, 0, "c"),
            mine.copy_manifest(Epoch(4), Epoch(4), 0, 1),
            mine.copy_manifest(Epoch(4), Epoch(5), 0, 1),
            newer.data(Epoch(4), 0, 0, "d"),
            "j/f/notes.txt".to_string(),
            names::witness("j", "f", Generation(1)),
            "j/g/g=1-0/e=1/t=0/w=0-e.parquet".to_string(),
        ];
        garbage.iter().chain(&needed).for_each(|key| objects.put(key, "x".into()).unwrap());
        let live = Live { generation: Generation(2), loaded: Some(Epoch(4)) };
        let said = collect(&objects, "j", "f", live, true).unwrap();
        assert_eq!((said.garbage.len(), said.kept, objects.keys().len()), (4, 6, 11), "only said");
        assert_eq!(collect(&objects, "j", "f", live, false).unwrap(), said);
        let mut left = needed.to_vec();
        left.sort();
        assert_eq!(objects.keys(), left);
        assert_eq!(collect(&objects, "j", "f", live, false).unwrap().garbage, [""; 0]);
    }
}
