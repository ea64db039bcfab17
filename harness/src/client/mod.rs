//! A conversation with a server: every wait has a deadline, everything that happens is written
//! down on one clock.

mod command;
mod transcript;

pub use command::{Ended, converse};
pub use transcript::{Event, Happening, Transcript};

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::text::printable;
use crate::wire::{Greeting, LONGEST_GREETING, ReplyEnd, Wire};

/// The longest reply that is waited for to its end, in bytes.
pub const LONGEST_REPLY: usize = 256 * 1024;

/// One client's end of a connection.
#[derive(Debug)]
pub struct Client {
    number: usize,
    stream: TcpStream,
    transcript: Transcript,
    /// Received and not yet asked for.
    received: Vec<u8>,
    patience: Duration,
    anticipated: Option<Vec<u8>>,
}

/// What went otherwise than a client wishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// Nobody listens there.
    Refused,
    /// The connection was not established in time.
    ConnectTimedOut(Duration),
    /// The connection could not be asked for.
    NotConnected(String),
    /// The server reset the connection.
    Reset,
    /// The server ended the connection, after this much of a reply.
    Closed(Vec<u8>),
    /// Nothing came in time, but for this much of a reply.
    Silent(Duration, Vec<u8>),
    /// The server took no more input in time.
    NotRead(Duration),
    /// The reply had no end within [`LONGEST_REPLY`] bytes.
    Endless,
    /// Everything together took longer than a case may take.
    OutOfTime,
}

/// How a client opens its connection, and how much the kernel takes in if it does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// Whatever the kernel thinks best: megabytes.
    Usual,
    /// As little as it allows, so that a server soon notices that nobody reads.
    Small,
    /// As much as usual, and the connection is established only with the first data, so that a
    /// server that accepts it has that in its receive buffer already.
    OpensWithData,
}

fn connected(address: SocketAddr, window: Window, patience: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if window == Window::OpensWithData {
        // The kernel then withholds the last segment of the handshake for 200 ms
        // (TCP_DELACK_MAX): what is sent meanwhile goes with it.
        socket.set_tcp_quickack(false)?;
    }
    if window == Window::Small {
        // Before connecting: the window's scale is settled then (tcp(7)). The kernel doubles it.
        socket.set_recv_buffer_size(2048)?;
        // The server's kernel keeps twenty segments for a start, and the loopback's have 64 KiB.
        socket.set_tcp_mss(536)?;
    }
    socket.connect_timeout(&address.into(), patience)?;
    Ok(socket.into())
}

impl Client {
    /// Connects, and waits `patience` at the most for that and for everything that follows.
    ///
    /// # Errors
    /// How the connection failed.
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
            Err(trouble) => transcript.add(number, Happening::ClientError(trouble.to_string())),
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

    /// The addresses of its own end and of the server's.
    pub fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        Some((self.stream.local_addr().ok()?, self.stream.peer_addr().ok()?))
    }

    /// Takes a reply with this value for whole as soon as it is there. Where only silence ends a
    /// reply, that saves waiting for it; bytes that follow are left unread.
    pub fn anticipate(&mut self, value: Vec<u8>) {
        self.anticipated = Some(value);
    }

    fn has_anticipated(&self, wire: &Wire) -> bool {
        self.anticipated.as_ref().is_some_and(|value| {
            let reply = wire.without_prompt(self.received.clone());
            wire.value_of(reply) == *value
        })
    }

    /// Changes how long to wait for what follows.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
        // It fails only for a duration of zero, which nobody asks for.
        let _ = self.stream.set_write_timeout(Some(patience));
    }

    /// Sends all the bytes.
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
            Err(trouble) => self.note(Happening::ClientError(trouble.to_string())),
        }
        sent
    }

    /// The next reply of that wire, without what ends it and without a prompt, if it comes within
    /// `patience`.
    ///
    /// # Errors
    /// No whole reply came.
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

    /// Reads what comes within so short a time that silence is no trouble.
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

    /// Reads the greeting that every client is sent. What comes in its place before the connection
    /// ends, such as a word that the server is busy, is left to be read as a reply.
    ///
    /// # Errors
    /// It does not come within `patience`.
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

    /// What was read is to be read once more.
    pub fn unread(&mut self, bytes: Vec<u8>) {
        self.received.splice(..0, bytes);
    }

    /// Whatever comes until the server ends the connection.
    ///
    /// # Errors
    /// It is not ended by a FIN within `patience`.
    pub fn rest_within(&mut self, patience: Duration) -> Result<Vec<u8>, ClientError> {
        let deadline = Instant::now() + patience;
        while self.receive(deadline, patience)? {
            if self.received.len() > LONGEST_REPLY {
                return Err(ClientError::Endless);
            }
        }
        Ok(std::mem::take(&mut self.received))
    }

    /// Reads what comes, until it ends in these bytes.
    ///
    /// # Errors
    /// It does not, within the client's patience.
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

    /// Waits for `quiet` and gives what came nevertheless: bytes, or an end of the connection.
    ///
    /// # Errors
    /// The server ended or reset the connection.
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

    /// Whether there is something to read, or an end, without waiting for it.
    pub fn is_readable(&self) -> bool {
        let mut stream = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
        !self.received.is_empty()
            || poll(&mut stream, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Another handle on the connection, for a thread that sends while this one receives. What it
    /// does is not written down.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub fn stream(&self) -> Result<TcpStream, ClientError> {
        self.stream.try_clone().map_err(|error| ClientError::NotConnected(error.to_string()))
    }

    /// Ends the sending side: the server sees the end of input.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn half_close(&mut self) -> Result<(), ClientError> {
        self.note(Happening::Ended);
        let shut = self.stream.shutdown(Shutdown::Write);
        shut.map_err(|error| trouble_of(&error, &[], self.patience))
    }

    /// Ends both sides of the connection, so that no thread waits on it any more.
    pub fn cut(&self) {
        // It fails when the connection is gone, which is as good.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Resets the connection, as a client that crashes under load does.
    pub fn reset(self) {
        self.note(Happening::Reset);
        // Closing with a linger time of zero sends RST in place of FIN (tcp(7)).
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Reads once. `false` when the server has ended the connection.
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
                self.note(Happening::ClientError(trouble.to_string()));
                Err(trouble)
            }
        }
    }

    fn note(&self, happening: Happening) {
        self.transcript.add(self.number, happening);
    }
}

fn trouble_of(error: &io::Error, received: &[u8], patience: Duration) -> ClientError {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            ClientError::Silent(patience, received.to_vec())
        }
        // EPIPE: the reset has been seen already.
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
