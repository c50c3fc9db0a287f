//! Accidents, and errors that say that nothing happened.

use crate::{Error, Fault, Happened};

/// An accident on the way to another system, of whatever kind brings it about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The connection breaks before the first thing arrives.
    Before,
    /// It breaks so that the last thing, which decides, does not arrive.
    AtTheEnd,
    /// The last thing arrives, and its answer is lost.
    AnswerLost,
    /// The first thing does not arrive, nothing is answered, and the connection stays.
    Silence,
}

/// The error is this fault, and what was asked did not happen.
pub(super) fn did_not(error: &Error, fault: Fault) {
    assert_eq!((error.fault, error.happened), (fault, Happened::No), "{error:?}");
}
