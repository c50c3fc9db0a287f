//! `[memory]`: what a process may hold.

use super::{findings::Findings, reader::Section};

/// The least budget with which a job moves: a few batches.
const BUDGET_BYTES_MIN: u64 = 32_000_000;

/// What all workers of a process may hold, in bytes.
pub fn read(mut memory: Section<'_>, findings: &mut Findings) -> Option<u64> {
    let budget = memory.size(findings, "budget");
    if let Some(budget) = &budget
        && budget.value < BUDGET_BYTES_MIN
    {
        findings.add(
            budget.span.clone(),
            format!("`budget` is too small: {} bytes", budget.value),
            "write \"32 MB\" or more",
        );
    }
    memory.finish(findings);
    budget.map(|budget| budget.value)
}
