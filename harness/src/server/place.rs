//! Where a server is launched and talked to. Most need no more than a port that is free. One that
//! always listens on the same port needs that port for itself: it gets a network of its own, or,
//! where there is none to be had, its turn.

use std::cell::Cell;
use std::time::Duration;

use super::launch_error::LaunchError;
use super::launch_spec::LaunchSpec;
use super::namespace;
use super::network::Network;
use super::port::Port;

/// How long the turn is waited for: others that wait may each have a minute's wait of their own.
const TURN_DEADLINE: Duration = Duration::from_secs(30 * 60);

thread_local! {
    /// Whether this thread is at such a place.
    static TAKEN: Cell<bool> = const { Cell::new(false) };
}

/// A place for one server, or for several that are launched one after the other. Whoever launches
/// a server with a port of its own, and talks to it, does so on the thread that holds its place, or
/// on threads that this one has started meanwhile.
#[derive(Debug, Default)]
pub struct Place {
    network: Option<Network>,
    turn: Option<Port>,
}

impl Place {
    /// Takes the place that this server needs, which may be none in particular. On a thread that
    /// has one already that is the place.
    ///
    /// # Errors
    /// Its turn does not come, or the machine has no network for it at the moment.
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
            // It is not done, and `Launcher::unconfined` says so.
            (Err(_), None) => return Ok(place),
        }
        TAKEN.set(true);
        Ok(place)
    }

    /// Whether it is a network of its own.
    pub fn is_alone(&self) -> bool {
        self.network.is_some()
    }

    /// Makes the place as if nobody had been there: connections that have ended no longer hold the
    /// port. Servers that are still there can be reached no more. Where the place is no network of
    /// its own it stays as it is.
    ///
    /// # Errors
    /// The machine has no network for it at the moment.
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
