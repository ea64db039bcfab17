//! Resource usage of the server under test.

use std::time::Duration;

use super::process::ServerProcess;
use crate::conformance::failure::Failure;
use crate::server::proc::{self, ResourceUsage};

/// Note on the action of [`Resources::without_descriptors`].
const NO_DESCRIPTOR: &str = "the server's descriptor limit is lowered: it has no free descriptor";

/// Reads and limits the resources of the server's processes.
pub struct Resources<'c> {
    process: &'c ServerProcess<'c>,
    timeout: Duration,
}

impl<'c> Resources<'c> {
    pub(super) fn new(process: &'c ServerProcess<'c>, timeout: Duration) -> Resources<'c> {
        Resources { process, timeout }
    }

    /// Returns the current resource usage of the server's processes.
    pub fn usage(&self) -> ResourceUsage {
        proc::resource_usage(&self.process.tree())
    }

    /// Returns the server's peak memory since the last call, in bytes.
    pub fn peak_memory_since_last(&self) -> u64 {
        let tree = self.process.tree();
        let peak = proc::peak_bytes(&tree);
        proc::reset_peak(&tree);
        peak
    }

    /// Returns the number of the server's connections in CLOSE_WAIT: closed by the client, but not
    /// by the server.
    pub fn connections_in_close_wait(&self) -> usize {
        proc::in_close_wait(self.process.address().port())
    }

    /// Runs `experiment` while the server cannot open another descriptor.
    ///
    /// # Errors
    /// `experiment` fails, the server never becomes idle, or the harness may not change the
    /// server's limits.
    pub fn without_descriptors<T>(
        &self,
        experiment: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        // The server may still hold descriptors of clients that have just closed.
        if !self.process.wait_for(self.timeout, || self.process.is_asleep()) {
            return Err(Failure::inconclusive("the server never becomes idle"));
        }
        let original_limits = proc::exhaust_descriptors(&self.process.tree()).map_err(|error| {
            Failure::harness_error(
                "the harness can lower the server's descriptor limit",
                error.to_string(),
            )
        })?;
        self.process.record_action(NO_DESCRIPTOR);
        // The evidence of a failure is this action, and not the following clean-up.
        let result = experiment().map_err(|failure| failure.caused_by_action(NO_DESCRIPTOR));
        proc::restore_descriptors(&original_limits);
        self.process.note("the server's descriptor limit is restored");
        result
    }
}
