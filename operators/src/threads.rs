//! One way to start a thread: with a name, which a profile, a panic and a debugger show.

use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

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

/// Starts a thread of this name in a scope, with a stack of its own size.
///
/// # Errors
/// The system has no thread left.
pub fn scoped<'scope, 'env, T: Send + 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    name: impl Into<String>,
    stack_bytes: usize,
    work: impl FnOnce() -> T + Send + 'scope,
) -> std::io::Result<ScopedJoinHandle<'scope, T>> {
    Builder::new().name(name.into()).stack_size(stack_bytes).spawn_scoped(scope, work)
}
