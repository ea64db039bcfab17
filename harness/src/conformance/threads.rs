//! Threads of a case.

use std::thread::{self, Scope, ScopedJoinHandle};

use super::failure::Failure;

/// Runs `work` in a new thread, in parallel with the case.
///
/// # Errors
/// The system cannot create a thread.
pub(super) fn spawn_scoped<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, Failure> {
    thread::Builder::new().spawn_scoped(scope, work).map_err(|error| {
        Failure::harness_error("the harness can create a thread", error.to_string())
    })
}
