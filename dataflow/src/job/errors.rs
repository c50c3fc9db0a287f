//! `[errors]`: what is done about records that cannot be loaded.

use operators::dead_letters::RejectOptions;

use super::{findings::Findings, reader::Section};

/// Its section.
pub fn read(mut errors: Section<'_>, findings: &mut Findings) -> Option<RejectOptions> {
    let halt = errors.one_of(findings, "reject", &[("dead-letter", false), ("halt", true)]);
    let halt_above = errors.share(findings, "halt_above");
    errors.finish(findings);
    Some(RejectOptions { halt: halt?, halt_above: halt_above? })
}
