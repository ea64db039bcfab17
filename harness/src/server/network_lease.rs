//! Network leases. Most servers need only a free port. A server with a fixed port needs that port
//! exclusively: it gets a network namespace or, if the machine does not permit namespaces, a lease
//! of the port.

use std::cell::Cell;
use std::time::Duration;

use super::launch_error::LaunchError;
use super::launch_spec::LaunchSpec;
use super::namespace;
use super::network::Network;
use super::port::PortLease;

/// Timeout for the lease of a port. Each earlier holder may wait a minute for connections in
/// TIME_WAIT.
const LEASE_TIMEOUT: Duration = Duration::from_secs(30 * 60);

thread_local! {
    /// Whether this thread holds a network namespace or a port lease.
    static IS_HELD: Cell<bool> = const { Cell::new(false) };
}

/// Network namespace or port lease of the calling thread, for one server or for several in
/// sequence. Empty if the server needs neither, or if the thread already holds one.
///
/// Launch the server on the thread that holds this value. Connect to the server from this thread,
/// or from threads that this thread started since then.
#[derive(Debug, Default)]
pub struct NetworkLease {
    network: Option<Network>,
    port: Option<PortLease>,
}

impl NetworkLease {
    /// Reserves a network namespace or a port lease if the server needs one, unless the thread
    /// already holds one.
    ///
    /// # Errors
    /// The port was not released in time, or the kernel lacks resources for a network namespace.
    pub fn take(spec: &LaunchSpec) -> Result<NetworkLease, LaunchError> {
        let mut lease = NetworkLease::default();
        if spec.fixed_port.is_none() && !spec.confinement.network_alone || IS_HELD.get() {
            return Ok(lease);
        }
        match (Network::enter(), spec.fixed_port) {
            (Ok(network), _) => lease.network = Some(network),
            (Err(error), _) if !namespace::is_not_permitted(&error) => {
                return Err(LaunchError::NoPort(error));
            }
            (Err(_), Some(port)) => {
                let port = PortLease::wait_for(port, LEASE_TIMEOUT).map_err(LaunchError::NoPort)?;
                lease.port = Some(port);
            }
            // The server runs without isolation, which `Launcher::missing_isolation` reports.
            (Err(_), None) => return Ok(lease),
        }
        IS_HELD.set(true);
        Ok(lease)
    }

    /// Returns whether the lease is a network namespace.
    pub fn has_namespace(&self) -> bool {
        self.network.is_some()
    }

    /// Replaces the network namespace by a new one, so that connections in TIME_WAIT no longer
    /// occupy the port. Servers in the previous namespace become unreachable. Does nothing for a
    /// port lease.
    ///
    /// # Errors
    /// The kernel lacks resources for a network namespace.
    pub fn clear(&self) -> Result<(), LaunchError> {
        match &self.network {
            Some(network) => network.renew().map_err(LaunchError::NoPort),
            None => Ok(()),
        }
    }
}

impl Drop for NetworkLease {
    fn drop(&mut self) {
        if self.network.is_some() || self.port.is_some() {
            IS_HELD.set(false);
        }
    }
}
