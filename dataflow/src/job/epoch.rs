//! `[epoch]`: when epochs end.

use std::time::Duration;

use super::{findings::Findings, reader::Section};

/// When epochs end.
#[derive(Clone, Debug)]
pub struct EpochOptions {
    /// The longest an epoch stays open.
    pub interval: Duration,
    /// The most bytes of keys and values.
    pub max_bytes: u64,
    /// The most records.
    pub max_rows: u64,
    /// How long epochs without rows wait for a load.
    pub idle_interval: Duration,
}

/// Its section.
pub fn read(mut epoch: Section<'_>, findings: &mut Findings) -> Option<EpochOptions> {
    let interval = epoch.duration(findings, "interval");
    let max_bytes = epoch.size(findings, "max_bytes");
    let max_rows = epoch.number(findings, "max_rows");
    if let Some(none) = max_rows.as_ref().filter(|rows| rows.value == 0) {
        findings.add(none.span.clone(), "`max_rows` cannot be 0", "write 1 or more, or leave it out for no limit");
    }
    let max_rows = max_rows.map_or(u64::MAX, |rows| rows.value);
    let idle_interval = epoch.duration(findings, "idle_interval");
    epoch.finish(findings);
    Some(EpochOptions { interval: interval?, max_bytes: max_bytes?.value, max_rows, idle_interval: idle_interval? })
}
