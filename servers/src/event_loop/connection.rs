//! A connection in an event loop: the loop waits; the connection names the events to wait for and does
//! a bounded amount of work for each event.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{self, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::limits::LINGER;
use crate::config::Config;
use crate::protocol::BUSY;
use crate::protocol::Session;
use crate::sockets::Permit;
use crate::sockets::{DrainLimit, is_ended_by_client, unacknowledged};

/// Bytes per read, and so the maximum that one connection gets per event: two thousand of the
/// shortest requests, or a millisecond of calculation.
pub const READ_SIZE: usize = 4 * 1024;

/// A client's socket and the state of its protocol.
#[derive(Debug)]
pub struct Connection {
    /// Declared before the socket, so that the slot is free when the client sees the close.
    permit: Option<Permit>,
    client: TcpStream,
    phase: Phase,
    /// The result of the last read.
    input: Input,
    idle_timeout: Option<Duration>,
    /// When the connection is closed if nothing happens.
    deadline: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    /// Requests are answered.
    Serving(Session),
    /// The server shuts down: input that had arrived by then is answered, and no more is read.
    Draining(Session, DrainLimit),
    /// Refused: the unsent part of the busy reply; then the client's close is awaited.
    Refusing(&'static [u8]),
}

/// What the loop should do next with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Wait for its next event.
    Open,
    /// More input may be available. A loop with edge-triggered events must advance it again before
    /// it waits.
    Again,
    /// Drop it.
    Closed,
}

/// The result of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    /// Bytes; more may be available.
    Some,
    /// Bytes; all that were available.
    Last,
    /// The end of the stream.
    End,
    /// No bytes were available.
    None,
    /// No read: too many replies are unsent.
    NotAsked,
}

impl Connection {
    /// Returns a connection that is served. Its socket must be non-blocking, as from
    /// [`with_nonblocking_clients`](crate::Listener::with_nonblocking_clients).
    ///
    /// # Errors
    /// The connection is already gone.
    pub fn serve(client: TcpStream, config: &Config, permit: Permit) -> io::Result<Connection> {
        let session = Session::new(config.service, config.max_line);
        Connection::new(client, Some(permit), Phase::Serving(session), config.idle_timeout)
    }

    /// Sends the busy reply and returns the connection in lingering close: closing it with unread
    /// input would send a reset, which can overtake the reply. Its socket must be non-blocking.
    ///
    /// # Errors
    /// The connection is already gone.
    pub fn refuse(client: TcpStream) -> io::Result<Connection> {
        let mut refused = Connection::new(client, None, Phase::Refusing(BUSY), None)?;
        refused.deadline = Some(Instant::now() + LINGER);
        refused.send()?;
        Ok(refused)
    }

    /// Sends the busy reply and closes, without a lingering close.
    pub fn reject(self) {
        if self.is_served() {
            drop(Connection::refuse(self.client));
        }
    }

    fn new(
        client: TcpStream,
        permit: Option<Permit>,
        phase: Phase,
        idle_timeout: Option<Duration>,
    ) -> io::Result<Connection> {
        client.set_nodelay(true)?;
        let deadline = idle_timeout.map(|timeout| Instant::now() + timeout);
        Ok(Connection { permit, client, phase, input: Input::None, idle_timeout, deadline })
    }

    /// Returns whether the connection holds a slot.
    pub fn is_served(&self) -> bool {
        self.permit.is_some()
    }

    /// Returns whether to wait for readability.
    pub fn wants_read(&self) -> bool {
        match &self.phase {
            Phase::Serving(session) | Phase::Draining(session, _) => session.wants_input(),
            Phase::Refusing(_) => true,
        }
    }

    /// Returns whether to wait for writability.
    pub fn wants_write(&self) -> bool {
        match &self.phase {
            Phase::Serving(session) | Phase::Draining(session, _) => !session.output().is_empty(),
            Phase::Refusing(line) => !line.is_empty(),
        }
    }

    /// Returns when the connection is closed if nothing happens.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Starts the drain. Call [`advance`](Self::advance) at once afterwards.
    pub fn drain(&mut self) {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Refusing(&[])) {
            Phase::Serving(session) => {
                let mut limit = DrainLimit::default();
                // Only input that has arrived by now is answered.
                limit.remaining(&self.client, 0);
                Phase::Draining(session, limit)
            }
            other => other,
        };
    }

    /// Reads once, answers, and writes as much as the kernel takes. `scratch` is a buffer of the
    /// loop.
    pub fn advance(&mut self, scratch: &mut [u8]) -> Progress {
        match self.read(scratch, Session::receive) {
            Ok(()) => self.write(),
            Err(_) => Progress::Closed,
        }
    }

    /// Reads once without answering: the first part of [`advance`](Self::advance).
    ///
    /// # Errors
    /// The connection is closed.
    pub fn read_input(&mut self, scratch: &mut [u8]) -> io::Result<()> {
        self.read(scratch, Session::buffer)
    }

    /// Answers the buffered requests: the second part.
    pub fn answer(&mut self) {
        if let Phase::Serving(session) | Phase::Draining(session, _) = &mut self.phase {
            session.answer_buffered();
        }
    }

    /// Sends the busy reply to each buffered request, instead of the second part.
    pub fn shed(&mut self) {
        if let Phase::Serving(session) | Phase::Draining(session, _) = &mut self.phase {
            session.shed_buffered();
        }
    }

    /// Returns whether requests are buffered.
    pub fn has_buffered(&self) -> bool {
        match &self.phase {
            Phase::Serving(session) | Phase::Draining(session, _) => session.has_buffered(),
            Phase::Refusing(_) => false,
        }
    }

    /// Writes as much as the kernel takes: the last part.
    pub fn write(&mut self) -> Progress {
        // An error of one client ends that client alone; no other part needs to know.
        self.send().map_or(Progress::Closed, |sent| self.conclude(sent))
    }

    /// Returns the unsent output, for a loop in which the kernel writes (io_uring).
    pub fn output(&self) -> &[u8] {
        match &self.phase {
            Phase::Serving(session) | Phase::Draining(session, _) => session.output(),
            Phase::Refusing(line) => line,
        }
    }

    /// Answers input that the kernel has received (io_uring). No bytes mean the end of the stream.
    pub fn received(&mut self, bytes: &[u8]) -> Progress {
        self.has_read(bytes, Session::receive);
        self.conclude(0)
    }

    /// Removes [output](Self::output) that the kernel has sent (io_uring).
    pub fn sent(&mut self, count: usize) -> Progress {
        self.has_written(count).map_or(Progress::Closed, |()| self.conclude(count))
    }

    fn conclude(&mut self, sent: usize) -> Progress {
        let input = std::mem::replace(&mut self.input, Input::NotAsked);
        let over = match &self.phase {
            Phase::Serving(session) => session.is_finished(),
            // Closed before the client's kernel has acknowledged everything, the connection would
            // be reset by further input, and replies would be lost.
            Phase::Draining(session, _) => {
                let all_answered = matches!(input, Input::None | Input::End)
                    && session.output().is_empty()
                    || session.is_finished();
                all_answered && unacknowledged(&self.client) == 0
            }
            Phase::Refusing(_) => input == Input::End,
        };
        let is_active = matches!(input, Input::Some | Input::Last) || sent > 0;
        if let (true, true, Some(timeout)) = (is_active, self.is_served(), self.idle_timeout) {
            self.deadline = Some(Instant::now() + timeout);
        }
        if over || self.deadline.is_some_and(|end| end <= Instant::now()) {
            Progress::Closed
        } else if matches!(input, Input::Some | Input::NotAsked) && self.wants_read() {
            Progress::Again
        } else {
            Progress::Open
        }
    }

    fn read(&mut self, scratch: &mut [u8], take: fn(&mut Session, &[u8])) -> io::Result<()> {
        if !self.wants_read() {
            self.input = Input::NotAsked;
            return Ok(());
        }
        let size = match &mut self.phase {
            Phase::Draining(_, limit) => limit.remaining(&self.client, scratch.len()),
            Phase::Serving(_) | Phase::Refusing(_) => scratch.len(),
        };
        if size == 0 {
            // All input that counts was read. If the client has closed its side, the last request
            // is complete.
            match is_ended_by_client(&self.client) {
                true => self.has_read(&[], take),
                false => self.input = Input::None,
            }
            return Ok(());
        }
        let scratch = &mut scratch[..size];
        let count = match self.client.read(scratch) {
            Ok(count) => count,
            Err(error) if would_block(&error) => {
                self.input = Input::None;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if let Phase::Draining(_, limit) = &mut self.phase {
            limit.consume(count);
        }
        self.has_read(&scratch[..count], take);
        if count == scratch.len() {
            self.input = Input::Some;
        }
        Ok(())
    }

    fn has_read(&mut self, bytes: &[u8], take: fn(&mut Session, &[u8])) {
        self.input = if bytes.is_empty() { Input::End } else { Input::Last };
        if let Phase::Serving(session) | Phase::Draining(session, _) = &mut self.phase {
            match bytes {
                [] => session.end_of_input(),
                _ => take(session, bytes),
            }
        }
    }

    /// Writes until all is sent or the kernel takes no more. Returns the bytes written.
    fn send(&mut self) -> io::Result<usize> {
        let mut sent = 0;
        while self.wants_write() {
            let count = match (&self.client).write(self.output()) {
                Ok(count) => count,
                Err(error) if would_block(&error) => break,
                Err(error) => return Err(error),
            };
            sent += count;
            self.has_written(count)?;
        }
        Ok(sent)
    }

    fn has_written(&mut self, count: usize) -> io::Result<()> {
        match &mut self.phase {
            Phase::Serving(session) | Phase::Draining(session, _) => session.sent(count),
            Phase::Refusing(line) => {
                *line = &line[count..];
                if line.is_empty() {
                    self.client.shutdown(net::Shutdown::Write)?;
                }
            }
        }
        Ok(())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.client.as_fd()
    }
}

fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::protocol::Service;
    use crate::sockets::ConnectionLimit;

    /// Returns a served connection and its client, whose kernel buffers little.
    fn pair() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        client.set_recv_buffer_size(2048).expect("a small window");
        client.set_tcp_mss(536).expect("small segments");
        let address = listener.local_addr().expect("an address");
        client.connect(&address.into()).expect("a connection");
        let config = Config {
            service: Service::Echo,
            max_line: 4096,
            max_connections: 1,
            workers: 1,
            idle_timeout: None,
        };
        let permit = ConnectionLimit::new(1).try_acquire().expect("a free slot");
        client.set_write_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let (stream, _) = listener.accept().expect("the client");
        stream.set_nonblocking(true).expect("a non-blocking socket");
        (Connection::serve(stream, &config, permit).expect("an open connection"), client.into())
    }

    /// Sends lines until the server lacks output space and more requests have arrived. Returns the
    /// bytes sent.
    fn fill_buffers(connection: &mut Connection, client: &mut TcpStream) -> Vec<u8> {
        let mut sent = Vec::new();
        let mut scratch = [0; READ_SIZE];
        while connection.wants_read() {
            let lines = [&[b'x'; 39][..], b"\n"].concat().repeat(100);
            client.write_all(&lines).expect("a complete write");
            sent.extend_from_slice(&lines);
            assert!(sent.len() < 64 * 1024 * 1024, "it never shutdowns reading");
            assert_ne!(connection.advance(&mut scratch), Progress::Closed);
        }
        client.write_all(b"the last\n").expect("a complete write");
        sent.extend_from_slice(b"the last\n");
        sent
    }

    #[test]
    fn a_drain_answers_arrived_input_and_waits_for_acknowledgement() {
        let (mut connection, mut client) = pair();
        let sent = fill_buffers(&mut connection, &mut client);
        let mut scratch = [0; READ_SIZE];
        connection.drain();
        for _ in 0..100 {
            assert_ne!(
                connection.advance(&mut scratch),
                Progress::Closed,
                "the client has not read"
            );
        }
        client.set_nonblocking(true).expect("a non-blocking socket");
        let mut replies = Vec::new();
        let mut buffer = [0; 4096];
        let deadline = Instant::now() + Duration::from_secs(20);
        while connection.advance(&mut scratch) != Progress::Closed {
            assert!(Instant::now() < deadline, "timed out");
            if let Ok(count) = client.read(&mut buffer) {
                replies.extend_from_slice(&buffer[..count]);
            }
        }
        assert_eq!(unacknowledged(&connection.client), 0, "a reset could overtake replies");
        drop(connection);
        client.set_nonblocking(false).expect("a non-blocking socket");
        client.read_to_end(&mut replies).expect("a clean end");
        assert!(replies == sent, "{} of {} bytes came back", replies.len(), sent.len());
    }

    #[test]
    fn an_idle_connection_closes_at_once_in_a_drain() {
        let (mut connection, _client) = pair();
        assert_eq!(connection.advance(&mut [0; READ_SIZE]), Progress::Open);
        connection.drain();
        assert_eq!(connection.advance(&mut [0; READ_SIZE]), Progress::Closed);
    }

    #[test]
    fn an_unterminated_request_is_answered_at_a_drain_only_if_the_client_has_ended() {
        for (ends, replies) in [(true, &b"part\n"[..]), (false, b"")] {
            let (mut connection, mut client) = pair();
            client.write_all(b"part").expect("a complete write");
            assert_eq!(connection.advance(&mut [0; READ_SIZE]), Progress::Open);
            if ends {
                client.shutdown(net::Shutdown::Write).expect("a shutdown");
            }
            connection.drain();
            let deadline = Instant::now() + Duration::from_secs(20);
            while connection.advance(&mut [0; READ_SIZE]) != Progress::Closed {
                assert!(Instant::now() < deadline, "timed out");
            }
            drop(connection);
            let mut received = Vec::new();
            client.read_to_end(&mut received).expect("a clean end");
            assert_eq!(received, replies);
        }
    }
}
