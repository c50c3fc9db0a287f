//! A runtime whose end waits for nobody. tokio's own waits for each name that is being looked up, which the system may do for minutes.

use std::ops::Deref;

use tokio::runtime::{Builder, Runtime};

use crate::{Error, Fault, Result};

/// One thread that drives a client's connections. `None` only while it is being dropped.
pub(crate) struct Background(Option<Runtime>);

impl Background {
    /// With a thread of this name.
    ///
    /// # Errors
    /// The machine has no thread or file descriptor left.
    pub(crate) fn new(name: &str) -> Result<Background> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build();
        let runtime =
            runtime.map_err(|e| Error::new(Fault::Machine, format!("the client {name:?} cannot be started: {e}")))?;
        Ok(Background(Some(runtime)))
    }
}

impl Deref for Background {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        self.0.as_ref().expect("it is taken when this is dropped, and nobody asks after that")
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
