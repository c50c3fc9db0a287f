//! What a part of `check` says.

use super::{super::output, shown::shown};
use crate::error::CodedError;

/// One thing.
pub(super) enum Said {
    /// Something is wrong, at a key of the job file.
    Found(String, CodedError),
    /// Something is as it should be.
    Good(String),
    /// Something that a person may want to know.
    Note(String),
    /// Something was not looked at, and why.
    NotChecked(&'static str, String),
}

/// Something that the records of a topic say, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Advice {
    /// The key of the job file that it comes from.
    pub key: String,
    /// What was found.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// So many of something, in words.
pub(super) fn counted(count: usize, what: &str) -> String {
    output::counted(count as u64, what)
}

/// A reason, which may have a long value in it.
pub(super) fn shown_reason(reason: &str) -> String {
    match reason.split_once(": ") {
        Some((kind, found)) => format!("{kind}: {}", shown(found)),
        None => shown(reason),
    }
}
