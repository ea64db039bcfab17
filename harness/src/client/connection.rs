//! The test client's connection to a server.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::SockRef;

use super::connect_mode::{ConnectMode, connect};
use super::error::{ClientError, client_error, event_of};
use super::transcript::Transcript;
use crate::results::{EventKind, LocalError};
use crate::server::is_self_connection;

/// A test client: one connection to a server.
#[derive(Debug)]
pub struct Client {
    /// Number of the client in the transcript.
    pub(super) number: usize,
    pub(super) stream: TcpStream,
    transcript: Transcript,
    /// Bytes that were received and not yet returned.
    pub(super) received: Vec<u8>,
    pub(super) timeout: Duration,
    /// Value that completes a reply at once, see [`anticipate`](Self::anticipate).
    pub(super) anticipated: Option<Vec<u8>>,
}

impl Client {
    /// Connects to a server. `timeout` applies to connecting and to each later operation.
    ///
    /// # Errors
    /// The connection was refused, reset or not established in time.
    pub fn connect(
        number: usize,
        address: SocketAddr,
        mode: ConnectMode,
        timeout: Duration,
        transcript: &Transcript,
    ) -> Result<Client, ClientError> {
        let started = Instant::now();
        let outcome = connect(address, mode, timeout);
        let stream = outcome.map_err(|error| match error.kind() {
            ErrorKind::ConnectionRefused => ClientError::Refused,
            ErrorKind::ConnectionReset => ClientError::Reset,
            ErrorKind::TimedOut => ClientError::ConnectTimedOut(timeout),
            _ => match LocalError::of(&error) {
                Some(error) => ClientError::Local(error),
                None => ClientError::Io(error.to_string()),
            },
        });
        // Dropping the stream closes it.
        let stream = stream.and_then(|stream| match is_self_connection(&stream) {
            true => Err(ClientError::Refused),
            false => Ok(stream),
        });
        match &stream {
            Ok(_) => transcript.add(number, EventKind::connected(started.elapsed())),
            Err(error) => transcript.add(number, event_of(error)),
        }
        let stream = stream?;
        let configured = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(timeout)))
            .and_then(|()| stream.set_write_timeout(Some(timeout)));
        configured.map_err(|error| ClientError::Io(error.to_string()))?;
        let transcript = transcript.clone();
        let (received, anticipated) = (Vec::new(), None);
        Ok(Client { number, stream, transcript, received, timeout, anticipated })
    }

    /// Returns the local and the peer address.
    pub fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        Some((self.stream.local_addr().ok()?, self.stream.peer_addr().ok()?))
    }

    /// Sets the value that the next replies are expected to have. If a pause marks the end of a
    /// reply, a reply with this value is complete as soon as the value has arrived. So the client
    /// does not wait for the pause.
    pub fn anticipate(&mut self, value: Vec<u8>) {
        self.anticipated = Some(value);
    }

    /// Changes the timeout of the following operations.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
        // Fails only for a duration of zero, which no caller passes.
        let _ = self.stream.set_write_timeout(Some(timeout));
    }

    /// Sends all bytes.
    ///
    /// # Errors
    /// The connection was reset, or the server did not read the data in time.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let sent = self.stream.write_all(bytes).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => ClientError::NotRead(self.timeout),
            _ => client_error(&error, &[], self.timeout),
        });
        match &sent {
            Ok(()) => self.note(EventKind::sent(bytes)),
            Err(error) => self.note(event_of(error)),
        }
        sent
    }

    /// Puts bytes back, so that the next read returns them first.
    pub fn unread(&mut self, bytes: Vec<u8>) {
        self.received.splice(..0, bytes);
    }

    /// Returns whether data, the end of the stream or an error can be read without blocking.
    pub fn is_readable(&self) -> bool {
        let mut stream = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
        !self.received.is_empty()
            || poll(&mut stream, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Returns another handle of the connection, for a thread that sends while this thread
    /// receives. The transcript does not record operations on the handle.
    ///
    /// # Errors
    /// The process has reached its limit of descriptors.
    pub fn stream(&self) -> Result<TcpStream, ClientError> {
        self.stream.try_clone().map_err(|error| ClientError::Io(error.to_string()))
    }

    /// Shuts down the sending side, so that the server reads the end of file.
    ///
    /// # Errors
    /// The connection was reset.
    pub fn half_close(&mut self) -> Result<(), ClientError> {
        self.note(EventKind::SentFin);
        let result = self.stream.shutdown(Shutdown::Write);
        result.map_err(|error| client_error(&error, &[], self.timeout))
    }

    /// Shuts down both sides of the connection, so that calls on other handles return.
    pub fn shut_down(&self) {
        // Fails if the connection is already closed or reset.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Closes the connection, and records it. The kernel sends a FIN, or a reset if received bytes
    /// are unread.
    pub fn close(self) {
        self.note(EventKind::SentFin);
    }

    /// Resets the connection.
    pub fn reset(self) {
        self.note(EventKind::SentReset);
        // Closing with a linger time of zero sends RST instead of FIN (tcp(7)).
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    pub(super) fn note(&self, kind: EventKind) {
        self.transcript.add(self.number, kind);
    }
}
