//! Idle connections of the observation: they connect and send nothing.

use std::io::{ErrorKind, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde::Serialize;
use socket2::SockRef;

use crate::server::diag;

/// Timeout for connecting. The kernel connects without the server, unless the accept queue is full.
const CONNECT: Duration = Duration::from_secs(2);

/// Maximum number of reads per check: some servers send without end.
const MOST_READS: usize = 64;

/// State of a connection on the server's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// A process holds the connection.
    Accepted,
    /// It is in the accept queue.
    Waiting,
    /// The kernel did not establish it.
    Refused,
    /// The server has closed it.
    Ended,
}

/// An idle connection. It is closed by a reset, which leaves no state behind.
#[derive(Debug)]
pub(super) struct Client {
    stream: Option<TcpStream>,
    has_ended: bool,
}

impl Client {
    pub(super) fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect_timeout(&address, CONNECT).ok();
        if let Some(stream) = &stream {
            // It fails for a connection that is closed already.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
            let _ = stream.set_nonblocking(true);
        }
        Client { stream, has_ended: false }
    }

    fn server_end(&self) -> Option<diag::ServerEnd> {
        let stream = self.stream.as_ref()?;
        diag::server_end(stream.peer_addr().ok()?, stream.local_addr().ok()?)
    }

    /// Returns whether the handshake is incomplete, so that the server cannot see the connection
    /// yet.
    pub(super) fn is_under_way(&self) -> bool {
        self.server_end().is_some_and(|end| end.is_under_way)
    }

    /// Returns the state of the connection, and the inode of the server's end if a process holds
    /// it.
    pub(super) fn fate(&mut self) -> (Fate, Option<u64>) {
        if self.stream.is_none() {
            return (Fate::Refused, None);
        }
        if self.has_ended() {
            return (Fate::Ended, None);
        }
        match self.server_end() {
            Some(diag::ServerEnd { inode: Some(inode), .. }) => (Fate::Accepted, Some(inode)),
            _ => (Fate::Waiting, None),
        }
    }

    /// Returns whether the server has closed the connection. Reads and discards its data.
    fn has_ended(&mut self) -> bool {
        let Some(stream) = &mut self.stream else { return true };
        let mut buffer = [0; 4096];
        for _ in 0..MOST_READS {
            match stream.read(&mut buffer) {
                Ok(1..) => {}
                Ok(0) => self.has_ended = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.has_ended = true,
            }
            if self.has_ended {
                break;
            }
        }
        self.has_ended
    }

    /// Shuts down the sending side.
    pub(super) fn finish(&self) {
        if let Some(stream) = &self.stream {
            let _ = stream.shutdown(Shutdown::Write);
        }
    }
}
