//! `[history]`: what is kept of old epochs.

use std::time::Duration;

use super::{findings::Findings, reader::Section};

/// The least time for which epochs are kept: somebody may want to see why a row of yesterday is there.
const KEEP_MIN: Duration = Duration::from_secs(24 * 3600);

/// How long old epochs are kept as they are; `None` for ever.
pub fn read(mut history: Section<'_>, findings: &mut Findings) -> Option<Duration> {
    let (span, keep) = (history.span(), history.duration(findings, "keep"));
    if let Some(short) = keep.filter(|keep| *keep < KEEP_MIN) {
        findings.add(span, format!("`keep` is too short: {} s", short.as_secs()), "write \"1d\" or more");
    }
    history.finish(findings);
    keep
}
