//! A connection in an event loop. The loop waits for events; the connection selects them, and does
//! a bounded amount of work for each event.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{self, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::linger::LINGER;
use crate::config::Config;
use crate::protocol::BUSY;
use crate::protocol::Session;
use crate::sockets::Permit;
use crate::sockets::{DrainLimit, is_at_end_of_input, unacknowledged};

/// Bytes per read, and the maximum that a connection reads per event: two thousand of the shortest
/// requests, or a millisecond of calculation.
pub const READ_SIZE: usize = 4 * 1024;

/// An accepted socket and the state of its protocol.
#[derive(Debug)]
pub struct Connection {
    /// Declared, and therefore dropped, before the socket, so that the slot is free when the client
    /// sees the close. `None` for a rejected connection.
    permit: Option<Permit>,
    socket: TcpStream,
    phase: Phase,
    /// The result of the last read.
    input: Input,
    idle_timeout: Option<Duration>,
    /// Time at which the connection is closed if it is idle until then.
    deadline: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    /// Requests are answered.
    Serving(Session),
    /// The server shuts down. Input that had arrived by then is answered; later input is not read.
    Draining(Session, DrainLimit),
    /// Lingering close, with the unsent part of the busy line. Afterwards waits for the client to
    /// close.
    Rejecting(&'static [u8]),
}

/// What the loop must do next with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Wait for the next event of the connection.
    Open,
    /// The same after a short read, which normally returned all input. But it does not show the end
    /// of the input, and it stops at urgent data.
    ShortRead,
    /// More input may be available. A loop with edge-triggered events must advance the connection
    /// again before it waits.
    Again,
    /// Drop the connection.
    Closed,
}

/// The result of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    /// The read filled the buffer, so more input may be available.
    MaybeMore,
    /// The read returned all available input.
    All,
    /// The end of the stream.
    End,
    /// No input was available.
    Nothing,
    /// Nothing was read, because too many replies are unsent.
    NotRead,
}

impl Connection {
    /// Returns a served connection. The socket must be non-blocking (see
    /// [`with_nonblocking_clients`](crate::Listener::with_nonblocking_clients)).
    ///
    /// # Errors
    /// The connection is already gone.
    pub fn serve(client: TcpStream, config: &Config, permit: Permit) -> io::Result<Connection> {
        let session = Session::new(config.service, config.max_line);
        Connection::new(client, Some(permit), Phase::Serving(session), config.idle_timeout)
    }

    /// Sends the busy line and returns the connection in lingering close. Closing at once, with
    /// unread input, would send a reset, which can overtake the reply. The socket must be
    /// non-blocking.
    ///
    /// # Errors
    /// The connection is already gone.
    pub fn reject(client: TcpStream) -> io::Result<Connection> {
        let mut rejected = Connection::new(client, None, Phase::Rejecting(BUSY), None)?;
        rejected.deadline = Some(Instant::now() + LINGER);
        rejected.send()?;
        Ok(rejected)
    }

    /// Sends the busy line to a served connection, and closes it without a lingering close.
    pub fn reject_without_linger(self) {
        if self.is_served() {
            drop(Connection::reject(self.socket));
        }
    }

    fn new(
        socket: TcpStream,
        permit: Option<Permit>,
        phase: Phase,
        idle_timeout: Option<Duration>,
    ) -> io::Result<Connection> {
        socket.set_nodelay(true)?;
        let deadline = idle_timeout.map(|timeout| Instant::now() + timeout);
        Ok(Connection { permit, socket, phase, input: Input::Nothing, idle_timeout, deadline })
    }

    /// Returns whether the connection holds a slot.
    pub fn is_served(&self) -> bool {
        self.permit.is_some()
    }

    /// Returns whether to wait for readability.
    pub fn wants_read(&self) -> bool {
        match &self.phase {
            Phase::Serving(session) | Phase::Draining(session, _) => session.wants_input(),
            Phase::Rejecting(_) => true,
        }
    }

    /// Returns whether to wait for writability.
    pub fn wants_write(&self) -> bool {
        match &self.phase {
            Phase::Serving(session) | Phase::Draining(session, _) => !session.output().is_empty(),
            Phase::Rejecting(line) => !line.is_empty(),
        }
    }

    /// Returns the time at which the connection is closed if it is idle until then.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Starts the drain. Call [`advance`](Self::advance) afterwards, without waiting for an event.
    pub fn drain(&mut self) {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Rejecting(&[])) {
            Phase::Serving(session) => {
                let mut limit = DrainLimit::default();
                // Only input that has arrived by now is answered.
                limit.remaining(&self.socket, 0);
                Phase::Draining(session, limit)
            }
            other => other,
        };
    }

    /// Reads once, answers, and writes as much as the kernel accepts. `scratch` is a buffer of the
    /// loop.
    pub fn advance(&mut self, scratch: &mut [u8]) -> Progress {
        match self.read(scratch, Session::receive) {
            Ok(()) => self.write(),
            Err(_) => Progress::Closed,
        }
    }

    /// Buffers input without answering. Step 1 of [`advance`](Self::advance).
    ///
    /// # Errors
    /// The connection is lost; drop it.
    pub fn read_input(&mut self, scratch: &mut [u8]) -> io::Result<()> {
        self.read(scratch, Session::buffer)
    }

    /// Answers the buffered requests. Step 2 of [`advance`](Self::advance).
    pub fn answer(&mut self) {
        if let Phase::Serving(session) | Phase::Draining(session, _) = &mut self.phase {
            session.answer_buffered();
        }
    }

    /// Sheds load: answers each buffered request with the busy line, instead of step 2.
    pub fn shed(&mut self) {
        if let Phase::Serving(session) | Phase::Draining(session, _) = &mut self.phase {
            session.shed_buffered();
        }
    }

    /// Returns whether requests are buffered.
    pub fn has_buffered(&self) -> bool {
        match &self.phase {
            Phase::Serving(session) | Phase::Draining(session, _) => session.has_buffered(),
            Phase::Rejecting(_) => false,
        }
    }

    /// Writes as much output as the kernel accepts. Step 3 of [`advance`](Self::advance).
    pub fn write(&mut self) -> Progress {
        // An error of one client closes only its connection; the caller need not know.
        self.send().map_or(Progress::Closed, |sent| self.progress(sent))
    }

    /// Returns the unsent output, for a loop in which the kernel writes (io_uring).
    pub fn output(&self) -> &[u8] {
        match &self.phase {
            Phase::Serving(session) | Phase::Draining(session, _) => session.output(),
            Phase::Rejecting(line) => line,
        }
    }

    /// Answers input that the kernel has received (io_uring). Empty input is the end of the stream.
    pub fn received(&mut self, bytes: &[u8]) -> Progress {
        self.process_input(bytes, Session::receive);
        self.progress(0)
    }

    /// Removes [output](Self::output) that the kernel has sent (io_uring).
    pub fn sent(&mut self, count: usize) -> Progress {
        self.remove_sent(count).map_or(Progress::Closed, |()| self.progress(count))
    }

    /// Moves the deadline if there was activity, and returns what the loop must do next. `sent` is
    /// the number of bytes that were sent.
    fn progress(&mut self, sent: usize) -> Progress {
        let input = std::mem::replace(&mut self.input, Input::NotRead);
        let is_over = match &self.phase {
            Phase::Serving(session) => session.is_finished(),
            // Close only after the client's kernel has acknowledged all output: before, further
            // input would trigger a reset, which discards replies.
            Phase::Draining(session, _) => {
                let all_answered = matches!(input, Input::Nothing | Input::End)
                    && session.output().is_empty()
                    || session.is_finished();
                all_answered && unacknowledged(&self.socket) == 0
            }
            Phase::Rejecting(_) => input == Input::End,
        };
        let is_active = matches!(input, Input::MaybeMore | Input::All) || sent > 0;
        if let (true, true, Some(timeout)) = (is_active, self.is_served(), self.idle_timeout) {
            self.deadline = Some(Instant::now() + timeout);
        }
        if is_over || self.deadline.is_some_and(|end| end <= Instant::now()) {
            Progress::Closed
        } else if matches!(input, Input::MaybeMore | Input::NotRead) && self.wants_read() {
            Progress::Again
        } else if input == Input::All {
            Progress::ShortRead
        } else {
            Progress::Open
        }
    }

    fn read(&mut self, scratch: &mut [u8], consume: fn(&mut Session, &[u8])) -> io::Result<()> {
        if !self.wants_read() {
            self.input = Input::NotRead;
            return Ok(());
        }
        let size = match &mut self.phase {
            Phase::Draining(_, limit) => limit.remaining(&self.socket, scratch.len()),
            Phase::Serving(_) | Phase::Rejecting(_) => scratch.len(),
        };
        if size == 0 {
            // All input that had arrived before the shutdown was read. After a FIN of the client,
            // the last request is complete.
            match is_at_end_of_input(&self.socket) {
                true => self.process_input(&[], consume),
                false => self.input = Input::Nothing,
            }
            return Ok(());
        }
        let scratch = &mut scratch[..size];
        let count = match self.socket.read(scratch) {
            Ok(count) => count,
            Err(error) if would_block(&error) => {
                self.input = Input::Nothing;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if let Phase::Draining(_, limit) = &mut self.phase {
            limit.consume(count);
        }
        self.process_input(&scratch[..count], consume);
        if count == scratch.len() {
            self.input = Input::MaybeMore;
        }
        Ok(())
    }

    fn process_input(&mut self, bytes: &[u8], consume: fn(&mut Session, &[u8])) {
        self.input = if bytes.is_empty() { Input::End } else { Input::All };
        if let Phase::Serving(session) | Phase::Draining(session, _) = &mut self.phase {
            match bytes {
                [] => session.end_of_input(),
                _ => consume(session, bytes),
            }
        }
    }

    /// Writes until all output is sent or the kernel accepts no more. Returns the number of bytes
    /// written.
    fn send(&mut self) -> io::Result<usize> {
        let mut sent = 0;
        while self.wants_write() {
            let count = match (&self.socket).write(self.output()) {
                Ok(count) => count,
                Err(error) if would_block(&error) => break,
                Err(error) => return Err(error),
            };
            sent += count;
            self.remove_sent(count)?;
        }
        Ok(sent)
    }

    fn remove_sent(&mut self, count: usize) -> io::Result<()> {
        match &mut self.phase {
            Phase::Serving(session) | Phase::Draining(session, _) => session.sent(count),
            Phase::Rejecting(line) => {
                *line = &line[count..];
                if line.is_empty() {
                    self.socket.shutdown(net::Shutdown::Write)?;
                }
            }
        }
        Ok(())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
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
    use crate::sockets::ConnectionLimit;

    /// Returns a served connection and its client, which has a small receive buffer.
    fn pair() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        client.set_recv_buffer_size(2048).expect("a small window");
        client.set_tcp_mss(536).expect("small segments");
        let address = listener.local_addr().expect("an address");
        client.connect(&address.into()).expect("a connection");
        let config = Config::for_test();
        let permit = ConnectionLimit::new(1).try_acquire().expect("a free slot");
        client.set_write_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let (stream, _) = listener.accept().expect("the client");
        stream.set_nonblocking(true).expect("a non-blocking socket");
        (Connection::serve(stream, &config, permit).expect("an open connection"), client.into())
    }

    /// Sends lines until the server stops reading because its output is full, and then one more
    /// line. Returns the sent bytes.
    fn fill_buffers(connection: &mut Connection, client: &mut TcpStream) -> Vec<u8> {
        let mut sent = Vec::new();
        let mut scratch = [0; READ_SIZE];
        while connection.wants_read() {
            let lines = [&[b'x'; 39][..], b"\n"].concat().repeat(100);
            client.write_all(&lines).expect("a complete write");
            sent.extend_from_slice(&lines);
            assert!(sent.len() < 64 * 1024 * 1024, "the server never stops reading");
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
        assert_eq!(unacknowledged(&connection.socket), 0, "a reset could overtake replies");
        drop(connection);
        client.set_nonblocking(false).expect("a blocking socket");
        client.read_to_end(&mut replies).expect("a clean close");
        assert!(replies == sent, "{} of {} bytes were echoed", replies.len(), sent.len());
    }

    #[test]
    fn a_read_stops_at_urgent_data_and_the_input_after_it_needs_two_more() {
        let (mut connection, mut client) = pair();
        client.write_all(b"one\n").expect("a complete write");
        socket2::SockRef::from(&client).send_out_of_band(b"!").expect("urgent data");
        client.write_all(b"two\n").expect("a complete write");
        client.shutdown(net::Shutdown::Write).expect("a FIN");
        let mut scratch = [0; READ_SIZE];
        let progress: Vec<Progress> = (0..3).map(|_| connection.advance(&mut scratch)).collect();
        assert_eq!(progress, [Progress::ShortRead, Progress::ShortRead, Progress::Closed]);
        drop(connection);
        let mut received = Vec::new();
        client.read_to_end(&mut received).expect("a clean close");
        assert_eq!(received, b"one\ntwo\n");
    }

    #[test]
    fn an_idle_connection_closes_at_once_in_a_drain() {
        let (mut connection, _client) = pair();
        assert_eq!(connection.advance(&mut [0; READ_SIZE]), Progress::Open);
        connection.drain();
        assert_eq!(connection.advance(&mut [0; READ_SIZE]), Progress::Closed);
    }

    #[test]
    fn a_drain_answers_an_unterminated_request_only_after_the_client_sent_fin() {
        for (sends_fin, replies) in [(true, &b"part\n"[..]), (false, b"")] {
            let (mut connection, mut client) = pair();
            client.write_all(b"part").expect("a complete write");
            assert_eq!(connection.advance(&mut [0; READ_SIZE]), Progress::ShortRead);
            if sends_fin {
                client.shutdown(net::Shutdown::Write).expect("a FIN");
            }
            connection.drain();
            let deadline = Instant::now() + Duration::from_secs(20);
            while connection.advance(&mut [0; READ_SIZE]) != Progress::Closed {
                assert!(Instant::now() < deadline, "timed out");
            }
            drop(connection);
            let mut received = Vec::new();
            client.read_to_end(&mut received).expect("a clean close");
            assert_eq!(received, replies);
        }
    }
}
