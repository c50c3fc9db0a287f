//! `on`: what is done with values that do not fit.

use operators::values::{Action, Policy};

use super::{findings::Findings, reader::Section};

/// What is done with values that do not fit. What it does not say stays as in `base`.
pub fn read(mut on: Section<'_>, base: Policy, findings: &mut Findings) -> Policy {
    let (reject, null) = (("reject", Action::Reject), ("null", Action::Null));
    let (truncate, round) = (("truncate", Action::Truncate), ("round", Action::Round));
    let strip = ("strip", Action::Truncate);
    let policy = Policy {
        long: on.one_of(findings, "long", &[reject, truncate, null]).unwrap_or(base.long),
        range: on.one_of(findings, "range", &[reject, null]).unwrap_or(base.range),
        scale: on.one_of(findings, "scale", &[reject, round, truncate, null]).unwrap_or(base.scale),
        nul: on.one_of(findings, "nul", &[reject, strip, null]).unwrap_or(base.nul),
        empty: on.one_of(findings, "empty", &[reject, null]).unwrap_or(base.empty),
    };
    on.finish(findings);
    policy
}
