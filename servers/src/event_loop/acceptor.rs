//! Admits connections, up to the limit.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::connection::Connection;
use super::mailbox::Inbox;
use crate::config::Config;
use crate::sockets::Listener;
use crate::sockets::Places;

/// Clients taken in before those that are there have another turn.
pub(crate) const ACCEPTED_AT_ONCE: usize = 16;

/// Who decides on which clients are served. Loops that share one share its places.
#[derive(Clone, Debug)]
pub struct Admission {
    config: Config,
    places: Arc<Places>,
}

impl Admission {
    /// With the places that the configuration allows.
    pub fn new(config: &Config) -> Admission {
        Admission { config: config.clone(), places: Places::new(config.max_connections) }
    }

    /// How many clients are served at once, at most.
    pub fn max_connections(&self) -> usize {
        self.config.max_connections
    }

    /// A connection that is served if there is a place, and one that is refused otherwise.
    ///
    /// # Errors
    /// The client is gone already.
    pub fn admit(&self, client: TcpStream) -> io::Result<Connection> {
        match self.places.take() {
            Some(place) => Connection::serve(client, &self.config, place),
            None => Connection::refuse(client),
        }
    }
}

/// Where an event loop gets its clients from.
pub trait Arrivals: AsFd {
    /// The next one, if one waits. Never blocks.
    ///
    /// # Errors
    /// The source is of no use any more.
    fn next(&self, admission: &Admission) -> io::Result<Option<Connection>>;
}

impl Arrivals for Listener {
    fn next(&self, admission: &Admission) -> io::Result<Option<Connection>> {
        while let Some(client) = self.try_accept()? {
            // What goes wrong with one client ends with that client.
            if let Ok(connection) = admission.admit(client) {
                return Ok(Some(connection));
            }
        }
        Ok(None)
    }
}

impl Arrivals for Inbox<Connection> {
    fn next(&self, _: &Admission) -> io::Result<Option<Connection>> {
        Ok(self.take())
    }
}
