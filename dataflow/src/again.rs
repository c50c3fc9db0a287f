//! What may be done twice is done again while that can help.

use std::{thread, time::Duration};

use connectors::retry::{Policy, Retry};

use crate::error::{CodedError, Result};

/// How long a start tries to take the fence, and to read a snapshot that is valid with it.
pub const ACQUIRE: Policy = Policy {
    first: Duration::from_millis(50),
    longest: Duration::from_secs(2),
    within: Duration::from_secs(120),
    attempts: u32::MAX,
};

/// Does what may be done twice, again while that can help, for two minutes at most.
///
/// # Errors
/// That of the last try.
pub fn again<T>(mut act: impl FnMut() -> connectors::Result<T>) -> Result<T> {
    let mut retry = Retry::new(ACQUIRE);
    loop {
        let result = act();
        match result.as_ref().err().and_then(|error| retry.after(error)) {
            Some(pause) => thread::sleep(pause),
            None => return result.map_err(CodedError::of_tables),
        }
    }
}
