//! What befalls a twin: an accident at its next step, or a bar before all of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Error, Fault, Result, conformance::Trouble};

/// A panic while a lock was held leaves whole entries behind, so the state stays good.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The accident that happens next.
pub(super) type Accident = Arc<Mutex<Option<Trouble>>>;

pub(super) fn lost() -> Error {
    Error::new(Fault::Outage, "the connection is lost")
}

/// What stands in the way of everything, as long as it stands.
#[derive(Clone, Default)]
pub(super) struct Bar(Arc<Mutex<Option<Fault>>>);

impl Bar {
    pub(super) fn set(&self, fault: Option<Fault>) {
        *lock(&self.0) = fault;
    }

    pub(super) fn pass(&self) -> Result<()> {
        match *lock(&self.0) {
            Some(fault) => Err(Error::new(fault, "barred")),
            None => Ok(()),
        }
    }
}
