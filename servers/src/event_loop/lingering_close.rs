//! Turning a client away when the server is full.
//!
//! An event loop keeps a refused client among its [clients](super::Connections). A pattern that blocks
//! in accept cannot, and hands it to a [`LingeringClose`]; one that may have no thread, because it
//! forks, keeps [`LingeringConnections`] itself.

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
use crate::sockets::until;

/// Refused clients that have been told and have not closed their side yet.
#[derive(Debug, Default)]
pub struct LingeringConnections(VecDeque<Connection>);

impl LingeringConnections {
    /// Tells the client that the server is busy. Never blocks.
    pub fn refuse(&mut self, client: TcpStream) {
        // A client that is gone already needs no more.
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

    /// Waits until one of the descriptors can be read, and sees out the refused clients meanwhile.
    ///
    /// # Errors
    /// What poll(2) says, other than that a signal came.
    pub fn wait(&mut self, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut waited: Vec<PollFd<'_>> = descriptors
            .iter()
            .copied()
            .chain(self.0.iter().map(Connection::as_fd))
            .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN))
            .collect();
        let deadline = self.0.iter().filter_map(Connection::deadline).min();
        match poll(&mut waited, until(deadline)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut scratch = [0; READ_SIZE];
        self.0.retain_mut(|connection| connection.advance(&mut scratch) != Progress::Closed);
        Ok(())
    }
}

/// A thread that does the lingering close of refused clients, so that accepting goes on meanwhile.
#[derive(Debug)]
pub struct LingeringClose(Mailbox<Connection>);

impl LingeringClose {
    /// One with nobody to see out.
    ///
    /// # Errors
    /// When the kernel has no descriptor left.
    pub fn new() -> io::Result<LingeringClose> {
        Mailbox::new(MAX_LINGERING).map(LingeringClose)
    }

    /// Starts the thread. It ends when the server is to end.
    ///
    /// # Errors
    /// When the kernel refuses a thread.
    pub fn start<'s>(&'s self, scope: &'s Scope<'s, '_>, shutdown: Shutdown) -> io::Result<()> {
        threads::start(scope, shutdown, move || {
            let mut lingering = LingeringConnections::default();
            while !shutdown.is_requested() {
                if lingering.wait(&[self.0.as_fd(), shutdown.fd()]).is_err() {
                    // For want of memory: those who linger are let go.
                    lingering = LingeringConnections::default();
                }
                while let Some(connection) = self.0.take() {
                    lingering.add(connection);
                }
            }
        })?;
        Ok(())
    }

    /// Tells the client that the server is busy. Never blocks.
    pub fn refuse(&self, client: TcpStream) {
        // A client that is gone already needs no more.
        if let Ok(connection) = refuse(client) {
            self.add(connection);
        }
    }

    /// Waits for the end of a client that was told. Never blocks.
    pub fn add(&self, refused: Connection) {
        // Where too many are waited for, this one is closed at once.
        let _ = self.0.put(refused);
    }
}

/// Where clients are served with calls that block, those that are refused are not.
fn refuse(client: TcpStream) -> io::Result<Connection> {
    client.set_nonblocking(true)?;
    Connection::refuse(client)
}
