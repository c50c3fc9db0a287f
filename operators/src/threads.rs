//! One way to start a thread: with a name, which a profile, a panic and a debugger show.

use std::thread::{Builder, JoinHandle};

/// Starts a thread of this name. Linux shows its first 15 bytes.
///
/// # Errors
/// The system has no thread left.
pub fn named<T: Send + 'static>(
    name: impl Into<String>,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    Builder::new().name(name.into()).spawn(work)
}
