//! Admits connections up to the limit.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::connection::Connection;
use super::mailbox::Mailbox;
use crate::config::Config;
use crate::sockets::ConnectionLimit;
use crate::sockets::Listener;

/// Maximum number of connections that a loop accepts before it serves its connections again.
pub(crate) const ACCEPT_BATCH: usize = 16;

/// Decides whether a connection is served. Clones share one connection limit.
#[derive(Clone, Debug)]
pub struct Acceptor {
    config: Config,
    limit: Arc<ConnectionLimit>,
}

impl Acceptor {
    /// Returns an acceptor with the limit of the configuration.
    pub fn new(config: &Config) -> Acceptor {
        Acceptor { config: config.clone(), limit: ConnectionLimit::new(config.max_connections) }
    }

    /// Returns the maximum number of connections.
    pub fn max_connections(&self) -> usize {
        self.config.max_connections
    }

    /// Returns a served connection if a slot is free, otherwise a rejected one in lingering close.
    ///
    /// # Errors
    /// The client is already gone.
    pub fn admit(&self, client: TcpStream) -> io::Result<Connection> {
        match self.limit.try_acquire() {
            Some(permit) => Connection::serve(client, &self.config, permit),
            None => Connection::reject(client),
        }
    }
}

/// The source of an event loop's connections.
pub trait ConnectionSource: AsFd {
    /// Returns the next connection, if any. Never blocks.
    ///
    /// # Errors
    /// The source is unusable.
    fn next(&self, acceptor: &Acceptor) -> io::Result<Option<Connection>>;
}

impl ConnectionSource for Listener {
    fn next(&self, acceptor: &Acceptor) -> io::Result<Option<Connection>> {
        while let Some(client) = self.try_accept()? {
            // An error of one client closes only its connection.
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
