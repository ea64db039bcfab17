//! The lingering close of refused connections (nginx: `lingering_close`).
//!
//! An event loop keeps refused connections among its [connections](super::Connections). A pattern
//! that blocks in accept passes them to the thread of [`LingeringClose`]. A pattern that forks may
//! not have threads, and polls [`LingeringConnections`] itself.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread::Scope;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};

use super::connection::{Connection, Progress, READ_SIZE};
use super::limits::MAX_LINGERING;
use super::mailbox::Mailbox;
use crate::blocking::threads;
use crate::shutdown::Shutdown;
use crate::sockets::poll_timeout;

/// Refused connections that have the busy reply and are not closed by the client yet.
#[derive(Debug, Default)]
pub struct LingeringConnections(VecDeque<Connection>);

impl LingeringConnections {
    /// Sends the busy reply. Never blocks.
    pub fn refuse(&mut self, client: TcpStream) {
        // The client is already gone.
        if let Ok(connection) = refuse(client) {
            self.add(connection);
        }
    }

    fn add(&mut self, connection: Connection) {
        if self.0.len() >= MAX_LINGERING {
            self.0.pop_front();
        }
        self.0.push_back(connection);
    }

    /// Advances the refused connections until one of the descriptors is readable.
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

/// A thread that closes refused connections, so that accepting continues.
#[derive(Debug)]
pub struct LingeringClose(Mailbox<Connection>);

impl LingeringClose {
    /// Returns one without connections.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<LingeringClose> {
        Mailbox::new(MAX_LINGERING).map(LingeringClose)
    }

    /// Starts the thread, which ends at shutdown.
    ///
    /// # Errors
    /// The kernel refuses a thread.
    pub fn start<'s>(&'s self, scope: &'s Scope<'s, '_>, shutdown: Shutdown) -> io::Result<()> {
        threads::start(scope, shutdown, move || {
            let mut lingering = LingeringConnections::default();
            while !shutdown.is_requested() {
                if lingering.wait(&[self.0.as_fd(), shutdown.fd()]).is_err() {
                    // Out of memory: close them without lingering.
                    lingering = LingeringConnections::default();
                }
                while let Some(connection) = self.0.take() {
                    lingering.add(connection);
                }
            }
        })?;
        Ok(())
    }

    /// Sends the busy reply. Never blocks.
    pub fn refuse(&self, client: TcpStream) {
        // The client is already gone.
        if let Ok(connection) = refuse(client) {
            self.add(connection);
        }
    }

    /// Adds a connection that has the busy reply. Never blocks.
    pub fn add(&self, refused: Connection) {
        // If the queue is full, the connection is closed at once.
        let _ = self.0.put(refused);
    }
}

/// Connections accepted by blocking patterns are blocking; lingering ones must not be.
fn refuse(client: TcpStream) -> io::Result<Connection> {
    client.set_nonblocking(true)?;
    Connection::refuse(client)
}
