//! Resource usage of the server under test.

use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Rlimit;

use super::deadlines::SHORT_TIMEOUT;
use super::process::ServerProcess;
use crate::conformance::assumptions::SLEEP;
use crate::conformance::failure::Failure;
use crate::server::proc::{self, Pid, ResourceUsage, Shortage};

/// Maximum number of idle clients that use the numbers between the descriptors of a server.
const MAX_FILLERS: usize = 64;

/// Number of connections that a case opens beside the idle clients.
const OTHER_CLIENTS: usize = 4;

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
            return Err(Failure::assumption_failed(SLEEP, "the server never becomes idle"));
        }
        let original_limits = self.exhaust(Shortage::AboveHighest)?;
        let result = self.experiment_without_descriptors(experiment);
        proc::restore_descriptors(&original_limits);
        self.process.note("the server's descriptor limit is restored");
        result
    }

    fn exhaust(&self, shortage: Shortage) -> Result<Vec<(Pid, Rlimit)>, Failure> {
        proc::exhaust_descriptors(&self.process.tree(), shortage).map_err(|error| {
            Failure::harness_error(
                "the harness can lower the server's descriptor limit",
                error.to_string(),
            )
        })
    }

    /// Runs `experiment` when the server has no free descriptor. A server that cannot be brought
    /// into the state of one without unused numbers gets a worse shortage: it can pass, but not
    /// fail.
    fn experiment_without_descriptors<T>(
        &self,
        experiment: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let fillers = self.fill_unused_descriptors();
        if fillers.is_none() {
            self.process.wait_for(self.timeout, || self.process.is_asleep());
            self.process.record_worse_shortage();
            self.exhaust(Shortage::AboveLowestUnused)?;
        }
        self.process.record_shortage();
        self.process.record_action(NO_DESCRIPTOR);
        // The evidence of a failure is this action, and not the following clean-up.
        let result = experiment().map_err(|failure| failure.caused_by_action(NO_DESCRIPTOR));
        drop(fillers);
        result
    }

    /// Connects idle clients until the server has used the numbers between its descriptors. Returns
    /// the clients, or `None` if clients cannot use all of the numbers.
    fn fill_unused_descriptors(&self) -> Option<Vec<TcpStream>> {
        let unused = || proc::unused_descriptors(&self.process.tree());
        let (mut fillers, mut left) = (Vec::new(), unused());
        let capacity = self.process.capacity().unwrap_or(usize::MAX);
        let max = MAX_FILLERS.min(capacity.saturating_sub(OTHER_CLIENTS));
        while left > 0 {
            if fillers.len() + left > max {
                return None;
            }
            let filler = TcpStream::connect_timeout(&self.process.address(), SHORT_TIMEOUT).ok()?;
            if !self.process.wait_for(SHORT_TIMEOUT, || unused() < left) {
                // Each thread may have reserved a number in a blocked accept(2), or have closed a
                // spare descriptor because it has no other.
                let threads = proc::threads(&self.process.tree()).len();
                return (left <= threads).then_some(fillers);
            }
            fillers.push(filler);
            left = unused();
        }
        if !fillers.is_empty() {
            let number = fillers.len();
            self.process.note(format!("{number} idle clients use the numbers between descriptors"));
        }
        Some(fillers)
    }
}
