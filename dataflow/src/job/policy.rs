//! `on`: what is done with values that do not fit.

use connectors::ColumnKind;
use operators::values::{Action, Policy};

use super::{findings::Findings, reader::Section};

/// What is done with values that do not fit. What it does not say stays as in `base`. `idle` are the keys that can never act, and why.
pub fn read(mut on: Section<'_>, base: Policy, idle: &[(&'static str, &str)], findings: &mut Findings) -> Policy {
    for (key, why) in idle {
        on.refuse(findings, key, why, "remove it");
    }
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

/// The keys that can never act on a column of this type, where records are read.
pub fn idle_for(kind: &ColumnKind) -> impl Iterator<Item = &'static str> {
    let all = Policy::default().words().map(|(key, ..)| key);
    let acting = Policy::keys_of(kind);
    all.into_iter().filter(move |key| !acting.contains(key))
}
