//! The lingering close of rejected connections (nginx: `lingering_close`).
//!
//! An event loop keeps rejected connections among its [connections](super::Connections). A pattern
//! that blocks in accept passes them to the thread of [`LingeringClose`]. A pattern that forks must
//! not have threads, so its main thread polls [`LingeringConnections`].

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread::Scope;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};

use super::connection::{Connection, Progress, READ_SIZE};
use super::linger::MAX_LINGERING;
use super::mailbox::Mailbox;
use crate::blocking::threads;
use crate::shutdown::Shutdown;
use crate::sockets::poll_timeout;

/// Rejected connections that got the busy line and that the client has not closed yet.
#[derive(Debug, Default)]
pub struct LingeringConnections(VecDeque<Connection>);

impl LingeringConnections {
    /// Sends the busy line. Never blocks.
    pub fn reject(&mut self, client: TcpStream) {
        // On an error, the client is already gone.
        if let Ok(connection) = reject(client) {
            self.add(connection);
        }
    }

    fn add(&mut self, connection: Connection) {
        if self.0.len() >= MAX_LINGERING {
            self.0.pop_front();
        }
        self.0.push_back(connection);
    }

    /// Waits until a descriptor or a rejected connection is readable, or the earliest deadline has
    /// passed. Then advances each rejected connection once.
    ///
    /// # Errors
    /// Those of poll(2) other than EINTR.
    pub fn wait(&mut self, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut waited: Vec<PollFd<'_>> = descriptors
            .iter()
            .copied()
            .chain(self.0.iter().map(Connection::as_fd))
            .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN))
            .collect();
        let deadline = self.0.iter().filter_map(Connection::deadline).min();
        match poll(&mut waited, poll_timeout(deadline)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut scratch = [0; READ_SIZE];
        self.0.retain_mut(|connection| connection.advance(&mut scratch) != Progress::Closed);
        Ok(())
    }
}

/// A thread that closes rejected connections, so that the accepting thread is not delayed.
#[derive(Debug)]
pub struct LingeringClose(Mailbox<Connection>);

impl LingeringClose {
    /// Returns an instance without connections.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<LingeringClose> {
        Mailbox::new(MAX_LINGERING).map(LingeringClose)
    }

    /// Starts the thread, which ends at shutdown.
    ///
    /// # Errors
    /// The thread cannot be created.
    pub fn start<'s>(&'s self, scope: &'s Scope<'s, '_>, shutdown: Shutdown) -> io::Result<()> {
        threads::start(scope, shutdown, move || {
            let mut lingering = LingeringConnections::default();
            while !shutdown.is_requested() {
                if lingering.wait(&[self.0.as_fd(), shutdown.fd()]).is_err() {
                    // Out of memory: close the connections without lingering.
                    lingering = LingeringConnections::default();
                }
                while let Some(connection) = self.0.take() {
                    lingering.add(connection);
                }
            }
        })?;
        Ok(())
    }

    /// Sends the busy line. Never blocks.
    pub fn reject(&self, client: TcpStream) {
        // On an error, the client is already gone.
        if let Ok(connection) = reject(client) {
            self.add(connection);
        }
    }

    /// Adds a connection that got the busy line. Never blocks.
    pub fn add(&self, rejected: Connection) {
        // If the mailbox is full, the connection is closed at once.
        let _ = self.0.put(rejected);
    }
}

/// Rejects a connection of a blocking pattern, whose socket is blocking.
fn reject(client: TcpStream) -> io::Result<Connection> {
    client.set_nonblocking(true)?;
    Connection::reject(client)
}
