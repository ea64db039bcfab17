//! Port leases and network namespaces. Most servers only need a free port. A server with a fixed
//! port needs that port exclusively. It gets a network namespace or, where that is not permitted, a
//! lease of the port.

use std::cell::Cell;
use std::time::Duration;

use super::launch_error::LaunchError;
use super::launch_spec::LaunchSpec;
use super::namespace;
use super::network::Network;
use super::port::Port;

/// Timeout for the lease: each holder before this one may wait a minute for connections in
/// TIME_WAIT.
const TURN_DEADLINE: Duration = Duration::from_secs(30 * 60);

thread_local! {
    /// This thread holds a network namespace or a lease.
    static TAKEN: Cell<bool> = const { Cell::new(false) };
}

/// Network namespace or port lease for one server, or for several that are launched in sequence.
/// Launch a server with a fixed port on the thread that holds this value. Connect to it on that
/// thread, or on threads that it has started since.
#[derive(Debug, Default)]
pub struct Place {
    network: Option<Network>,
    turn: Option<Port>,
}

impl Place {
    /// Reserves a network namespace or a port lease if the server needs one. A thread that holds
    /// one already uses that.
    ///
    /// # Errors
    /// The lease was not granted in time, or the machine cannot create a network namespace now.
    pub fn take(spec: &LaunchSpec) -> Result<Place, LaunchError> {
        let mut place = Place::default();
        if spec.fixed_port.is_none() && !spec.limits.network_alone || TAKEN.get() {
            return Ok(place);
        }
        match (Network::of_its_own(), spec.fixed_port) {
            (Ok(network), _) => place.network = Some(network),
            (Err(error), _) if !namespace::is_not_permitted(&error) => {
                return Err(LaunchError::NoPort(error));
            }
            (Err(_), Some(port)) => {
                let turn = Port::take_turn(port, TURN_DEADLINE).map_err(LaunchError::NoPort)?;
                place.turn = Some(turn);
            }
            // The server is not isolated; `Launcher::unconfined` reports that.
            (Err(_), None) => return Ok(place),
        }
        TAKEN.set(true);
        Ok(place)
    }

    /// Returns whether it is a network namespace.
    pub fn is_alone(&self) -> bool {
        self.network.is_some()
    }

    /// Replaces the network namespace by a new one, so that closed connections no longer hold the
    /// port. Servers in the old one become unreachable. Does nothing without a network namespace.
    ///
    /// # Errors
    /// The machine cannot create a network namespace now.
    pub fn clear(&self) -> Result<(), LaunchError> {
        match &self.network {
            Some(network) => network.renew().map_err(LaunchError::NoPort),
            None => Ok(()),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.network.is_some() || self.turn.is_some() {
            TAKEN.set(false);
        }
    }
}
