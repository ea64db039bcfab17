//! A test client: every wait has a deadline, and every event goes to the transcript.

mod command;
mod transcript;

pub use command::{Ended, converse};
pub use transcript::{Event, EventKind, Happening, Transcript};

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::text::printable;
use crate::wire::{Greeting, LONGEST_GREETING, ReplyEnd, Wire};

/// Maximum length of a reply, in bytes.
pub const LONGEST_REPLY: usize = 256 * 1024;

/// Client side of a connection.
#[derive(Debug)]
pub struct Client {
    number: usize,
    stream: TcpStream,
    transcript: Transcript,
    /// Bytes received and not yet returned.
    received: Vec<u8>,
    patience: Duration,
    anticipated: Option<Vec<u8>>,
}

/// A failed operation of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// The connection was refused: no socket listens there.
    Refused,
    /// The connection was not established in time.
    ConnectTimedOut(Duration),
    /// The connection failed with another error.
    NotConnected(String),
    /// The server reset the connection.
    Reset,
    /// The server closed the connection after this part of a reply.
    Closed(Vec<u8>),
    /// The reply did not arrive in time; this part of it did.
    Silent(Duration, Vec<u8>),
    /// The server did not read the client's data in time.
    NotRead(Duration),
    /// The reply is longer than [`LONGEST_REPLY`] bytes.
    Endless,
    /// The time limit of the whole case has passed.
    OutOfTime,
}

/// Receive window of a client, and how it opens its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The kernel's default: megabytes.
    Usual,
    /// The kernel's minimum, so that a server soon notices that the client does not read.
    Small,
    /// The default window. The handshake is completed by the first data segment, so that the data
    /// is in the receive buffer when the server accepts the connection.
    OpensWithData,
}

fn connected(address: SocketAddr, window: Window, patience: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if window == Window::OpensWithData {
        // The kernel then delays the last segment of the handshake by up to 200 ms
        // (TCP_DELACK_MAX), and data sent in that time goes with it.
        socket.set_tcp_quickack(false)?;
    }
    if window == Window::Small {
        // Before connecting, because the window scale is settled in the handshake (tcp(7)). The
        // kernel doubles the size.
        socket.set_recv_buffer_size(2048)?;
        // The server's kernel buffers twenty segments at first, and segments on loopback have 64
        // KiB.
        socket.set_tcp_mss(536)?;
    }
    socket.connect_timeout(&address.into(), patience)?;
    Ok(socket.into())
}

impl Client {
    /// Connects. `patience` is the timeout of connecting and of each later operation.
    ///
    /// # Errors
    /// The connection was refused, reset or not established in time.
    pub fn connect(
        number: usize,
        address: SocketAddr,
        window: Window,
        patience: Duration,
        transcript: &Transcript,
    ) -> Result<Client, ClientError> {
        let asked = Instant::now();
        let outcome = connected(address, window, patience);
        let stream = outcome.map_err(|error| match error.kind() {
            ErrorKind::ConnectionRefused => ClientError::Refused,
            ErrorKind::ConnectionReset => ClientError::Reset,
            ErrorKind::TimedOut => ClientError::ConnectTimedOut(patience),
            _ => ClientError::NotConnected(error.to_string()),
        });
        match &stream {
            Ok(_) => transcript.add(number, Happening::Connected(asked.elapsed())),
            Err(trouble) => transcript.add(number, happening(trouble)),
        }
        let stream = stream?;
        let ready = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(patience)))
            .and_then(|()| stream.set_write_timeout(Some(patience)));
        ready.map_err(|error| ClientError::NotConnected(error.to_string()))?;
        let transcript = transcript.clone();
        let (received, anticipated) = (Vec::new(), None);
        Ok(Client { number, stream, transcript, received, patience, anticipated })
    }

    /// Returns the local and the peer address.
    pub fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        Some((self.stream.local_addr().ok()?, self.stream.peer_addr().ok()?))
    }

    /// Accepts a reply with this value as complete as soon as it has arrived. Where only silence
    /// ends a reply, that avoids the wait; the following bytes stay unread.
    pub fn anticipate(&mut self, value: Vec<u8>) {
        self.anticipated = Some(value);
    }

    fn has_anticipated(&self, wire: &Wire) -> bool {
        self.anticipated.as_ref().is_some_and(|value| {
            let reply = wire.without_prompt(self.received.clone());
            wire.value_of(reply) == *value
        })
    }

    /// Changes the timeout of the following operations.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
        // It fails only for a duration of zero, which no caller passes.
        let _ = self.stream.set_write_timeout(Some(patience));
    }

    /// Sends all bytes.
    ///
    /// # Errors
    /// The server reset or closed the connection, or does not read.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let sent = self.stream.write_all(bytes).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => ClientError::NotRead(self.patience),
            _ => trouble_of(&error, &[], self.patience),
        });
        match &sent {
            Ok(()) => self.note(Happening::Sent(bytes.to_vec())),
            Err(trouble) => self.note(happening(trouble)),
        }
        sent
    }

    /// Returns the next reply without its terminator and without a prompt. Waits up to `patience`.
    ///
    /// # Errors
    /// No complete reply arrived.
    pub fn reply_within(
        &mut self,
        wire: &Wire,
        patience: Duration,
    ) -> Result<Vec<u8>, ClientError> {
        let deadline = Instant::now() + patience;
        loop {
            self.skip_prompt(wire);
            match wire.reply_end.take(&mut self.received) {
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) if self.received.len() <= LONGEST_REPLY => {}
                _ => return Err(ClientError::Endless),
            }
            let received = match wire.reply_end {
                ReplyEnd::Quiet(_) if self.has_anticipated(wire) => Ok(false),
                ReplyEnd::Quiet(quiet) if !self.received.is_empty() => self.receive_until(quiet),
                _ => self.receive(deadline, patience),
            };
            if matches!(received, Ok(true)) {
                continue;
            }
            let reply = std::mem::take(&mut self.received);
            match (&wire.reply_end, received) {
                (ReplyEnd::Quiet(_), Ok(false) | Err(ClientError::Silent(..)))
                    if !reply.is_empty() =>
                {
                    return Ok(wire.without_prompt(reply));
                }
                (ReplyEnd::Close, Ok(false)) if !reply.is_empty() => return Ok(reply),
                (_, Ok(_)) => return Err(ClientError::Closed(reply)),
                (_, Err(trouble)) => {
                    self.received = reply;
                    return Err(trouble);
                }
            }
        }
    }

    /// Reads for a time so short that silence is no error.
    fn receive_until(&mut self, quiet: Duration) -> Result<bool, ClientError> {
        self.receive(Instant::now() + quiet, quiet)
    }

    fn skip_prompt(&mut self, wire: &Wire) {
        if let Some(prompt) = &wire.prompt
            && self.received.starts_with(prompt)
        {
            self.received.drain(..prompt.len());
        }
    }

    /// Reads the greeting that the server sends on connect. If the server sends another message and
    /// closes the connection, such as a busy reply, that is left to be read as a reply.
    ///
    /// # Errors
    /// The greeting does not arrive within `patience`.
    pub fn greeting(
        &mut self,
        greeting: &Greeting,
        patience: Duration,
    ) -> Result<Vec<u8>, ClientError> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(length) = greeting.length(&self.received) {
                return Ok(self.received.drain(..length).collect());
            }
            if self.received.len() > LONGEST_GREETING {
                return Err(ClientError::Endless);
            }
            let received = match greeting {
                Greeting::Quiet(quiet) => self.receive_until(*quiet),
                _ => self.receive(deadline, patience),
            };
            match (greeting, received) {
                (_, Ok(true)) => {}
                (Greeting::Quiet(_), Err(ClientError::Silent(..))) => {
                    return Ok(std::mem::take(&mut self.received));
                }
                (_, Ok(false)) if self.received.is_empty() => {
                    return Err(ClientError::Closed(Vec::new()));
                }
                (_, Ok(false)) => return Ok(Vec::new()),
                (_, Err(trouble)) => return Err(trouble),
            }
        }
    }

    /// Puts bytes back in front of the received ones.
    pub fn unread(&mut self, bytes: Vec<u8>) {
        self.received.splice(..0, bytes);
    }

    /// Returns all bytes until the server closes the connection.
    ///
    /// # Errors
    /// The server does not close it with a FIN within `patience`.
    pub fn rest_within(&mut self, patience: Duration) -> Result<Vec<u8>, ClientError> {
        let deadline = Instant::now() + patience;
        while self.receive(deadline, patience)? {
            if self.received.len() > LONGEST_REPLY {
                return Err(ClientError::Endless);
            }
        }
        Ok(std::mem::take(&mut self.received))
    }

    /// Reads and discards bytes until they end with `end`.
    ///
    /// # Errors
    /// They do not within the client's timeout.
    pub fn until(&mut self, end: &[u8]) -> Result<(), ClientError> {
        let deadline = Instant::now() + self.patience;
        while !self.received.ends_with(end) {
            if self.received.len() > LONGEST_REPLY {
                return Err(ClientError::Endless);
            }
            if !self.receive(deadline, self.patience)? {
                return Err(ClientError::Closed(std::mem::take(&mut self.received)));
            }
        }
        self.received.clear();
        Ok(())
    }

    /// Waits for `quiet` and returns the bytes that arrived.
    ///
    /// # Errors
    /// The server closed or reset the connection.
    pub fn listen(&mut self, quiet: Duration) -> Result<Vec<u8>, ClientError> {
        let deadline = Instant::now() + quiet;
        loop {
            match self.receive(deadline, quiet) {
                Ok(true) if self.received.len() > LONGEST_REPLY => {
                    return Err(ClientError::Endless);
                }
                Ok(true) => {}
                Ok(false) => return Err(ClientError::Closed(std::mem::take(&mut self.received))),
                Err(ClientError::Silent(..)) => return Ok(std::mem::take(&mut self.received)),
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// Returns whether a read would not block, because of data or the end of the stream.
    pub fn is_readable(&self) -> bool {
        let mut stream = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
        !self.received.is_empty()
            || poll(&mut stream, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Returns another handle on the connection, for a thread that sends while this one receives.
    /// Its operations are not recorded in the transcript.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn stream(&self) -> Result<TcpStream, ClientError> {
        self.stream.try_clone().map_err(|error| ClientError::NotConnected(error.to_string()))
    }

    /// Closes the sending side: the server reads the end of file.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn half_close(&mut self) -> Result<(), ClientError> {
        self.note(Happening::Ended);
        let shut = self.stream.shutdown(Shutdown::Write);
        shut.map_err(|error| trouble_of(&error, &[], self.patience))
    }

    /// Shuts down both sides of the connection, so that no thread waits on it any more.
    pub fn cut(&self) {
        // It fails when the connection is already gone.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Resets the connection, like a client that crashes under load.
    pub fn reset(self) {
        self.note(Happening::Reset);
        // Closing with a linger time of zero sends RST instead of FIN (tcp(7)).
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Reads once. Returns `false` when the server has closed the connection.
    fn receive(&mut self, deadline: Instant, patience: Duration) -> Result<bool, ClientError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut buffer = [0; 16 * 1024];
        let outcome = if left.is_zero() {
            Err(ErrorKind::TimedOut.into())
        } else {
            self.stream.set_read_timeout(Some(left)).and_then(|()| self.stream.read(&mut buffer))
        };
        match outcome {
            Ok(0) => {
                self.note(Happening::ServerEnded);
                Ok(false)
            }
            Ok(count) => {
                self.note(Happening::Received(buffer[..count].to_vec()));
                self.received.extend_from_slice(&buffer[..count]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) => {
                let trouble = trouble_of(&error, &self.received, patience);
                self.note(happening(&trouble));
                Err(trouble)
            }
        }
    }

    fn note(&self, happening: Happening) {
        self.transcript.add(self.number, happening);
    }
}

/// Returns how a client error appears in the transcript.
fn happening(error: &ClientError) -> Happening {
    match error {
        ClientError::Reset => Happening::ServerReset,
        other => Happening::ClientError(other.to_string()),
    }
}

fn trouble_of(error: &io::Error, received: &[u8], patience: Duration) -> ClientError {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            ClientError::Silent(patience, received.to_vec())
        }
        // EPIPE: the reset has been reported already.
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => ClientError::Reset,
        _ => ClientError::NotConnected(error.to_string()),
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = |bytes: &[u8]| match bytes {
            [] => String::new(),
            bytes => format!(" after {}", printable(bytes)),
        };
        match self {
            ClientError::Refused => write!(formatter, "connection refused"),
            ClientError::ConnectTimedOut(time) => {
                write!(formatter, "no connection within {}", milliseconds(*time))
            }
            ClientError::NotConnected(words) => formatter.write_str(words),
            ClientError::Reset => write!(formatter, "connection reset"),
            ClientError::Closed(bytes) => write!(formatter, "connection closed{}", after(bytes)),
            ClientError::Silent(time, bytes) => {
                write!(formatter, "silence for {}{}", milliseconds(*time), after(bytes))
            }
            ClientError::NotRead(time) => {
                write!(formatter, "the server took no more input for {}", milliseconds(*time))
            }
            ClientError::Endless => write!(formatter, "a reply of more than {LONGEST_REPLY} bytes"),
            ClientError::OutOfTime => write!(formatter, "no time left: the server is too slow"),
        }
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
