//! Connections that send nothing, which the detection opens.

use std::io::{ErrorKind, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde::Serialize;
use socket2::SockRef;

use crate::server::{diag, is_self_connection};

/// Timeout for connecting. The kernel completes the handshake even if the server does not accept
/// the connection, unless the accept queue is full.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum number of reads per check, for servers that send without end.
const MAX_READS: usize = 64;

/// State of a connection on the server's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionState {
    /// A process of the server holds the connection.
    Accepted,
    /// The connection is in the accept queue.
    Queued,
    /// The connection was refused, reset, or not established in time.
    NotEstablished,
    /// The server has closed or reset the connection.
    Closed,
}

/// An idle connection. Dropping it resets the connection, which leaves no TIME_WAIT state behind.
#[derive(Debug)]
pub(super) struct IdleConnection {
    stream: Option<TcpStream>,
    is_closed: bool,
}

impl IdleConnection {
    pub(super) fn connect(address: SocketAddr) -> IdleConnection {
        let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)
            .ok()
            .filter(|stream| !is_self_connection(stream));
        if let Some(stream) = &stream {
            // Fails for a connection that the server has already reset.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
            let _ = stream.set_nonblocking(true);
        }
        IdleConnection { stream, is_closed: false }
    }

    fn server_end(&self) -> Option<diag::ServerEnd> {
        let stream = self.stream.as_ref()?;
        diag::server_end(stream.peer_addr().ok()?, stream.local_addr().ok()?)
    }

    /// Returns whether the handshake is incomplete, so that the server cannot accept the connection
    /// yet.
    pub(super) fn is_connecting(&self) -> bool {
        self.server_end().is_some_and(|end| end.is_connecting)
    }

    /// Returns the state of the connection, and the inode of the server's socket if the connection
    /// is accepted.
    pub(super) fn state(&mut self) -> (ConnectionState, Option<u64>) {
        if self.stream.is_none() {
            return (ConnectionState::NotEstablished, None);
        }
        if self.read_until_closed() {
            return (ConnectionState::Closed, None);
        }
        match self.server_end() {
            Some(diag::ServerEnd { inode: Some(inode), .. }) => {
                (ConnectionState::Accepted, Some(inode))
            }
            _ => (ConnectionState::Queued, None),
        }
    }

    /// Reads and discards data of the server. Returns whether the server has closed the connection.
    fn read_until_closed(&mut self) -> bool {
        let Some(stream) = &mut self.stream else { return true };
        let mut buffer = [0; 4096];
        for _ in 0..MAX_READS {
            match stream.read(&mut buffer) {
                Ok(1..) => {}
                Ok(0) => self.is_closed = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.is_closed = true,
            }
            if self.is_closed {
                break;
            }
        }
        self.is_closed
    }

    /// Shuts down the sending side.
    pub(super) fn finish(&self) {
        if let Some(stream) = &self.stream {
            let _ = stream.shutdown(Shutdown::Write);
        }
    }
}
