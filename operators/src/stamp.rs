//! The epoch of a message.
//!
//! The engine can carry a message at no time at all: its *stamp* is empty, and no frontier waits for it. Nobody here sends
//! one, and whoever passed over it in silence would lose what is in it; so it ends the process, here, for all operators.

use timely::dataflow::operators::{Capability, InputCapability};

use crate::{
    Time,
    failure::{Failure, fail},
};

/// The epoch at which a message came.
pub fn epoch_of(message: &InputCapability<Time>) -> Time {
    message.least().copied().unwrap_or_else(|| without_epoch())
}

/// The right to send at the epoch of a message, for as long as it is held.
pub fn hold(message: &InputCapability<Time>, output: usize) -> Capability<Time> {
    message.retain_least(output).unwrap_or_else(|| without_epoch())
}

fn without_epoch() -> ! {
    fail(Failure::Bug("a message without an epoch".into()))
}
