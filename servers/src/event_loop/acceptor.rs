//! Admits connections, up to the limit.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::connection::Connection;
use super::mailbox::Mailbox;
use crate::config::Config;
use crate::sockets::ConnectionLimit;
use crate::sockets::Listener;

/// Connections taken in before those that are there have another turn.
pub(crate) const ACCEPT_BATCH: usize = 16;

/// Who decides on which clients are served. Loops that share one share its places.
#[derive(Clone, Debug)]
pub struct Acceptor {
    config: Config,
    limit: Arc<ConnectionLimit>,
}

impl Acceptor {
    /// With the places that the configuration allows.
    pub fn new(config: &Config) -> Acceptor {
        Acceptor { config: config.clone(), limit: ConnectionLimit::new(config.max_connections) }
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
        match self.limit.try_acquire() {
            Some(permit) => Connection::serve(client, &self.config, permit),
            None => Connection::refuse(client),
        }
    }
}

/// Where an event loop gets its clients from.
pub trait ConnectionSource: AsFd {
    /// The next one, if one waits. Never blocks.
    ///
    /// # Errors
    /// The source is of no use any more.
    fn next(&self, acceptor: &Acceptor) -> io::Result<Option<Connection>>;
}

impl ConnectionSource for Listener {
    fn next(&self, acceptor: &Acceptor) -> io::Result<Option<Connection>> {
        while let Some(client) = self.try_accept()? {
            // What goes wrong with one client ends with that client.
            if let Ok(connection) = acceptor.admit(client) {
                return Ok(Some(connection));
            }
        }
        Ok(None)
    }
}

impl ConnectionSource for Mailbox<Connection> {
    fn next(&self, _: &Acceptor) -> io::Result<Option<Connection>> {
        Ok(self.take())
    }
}
