//! What a part of `check` says.

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
