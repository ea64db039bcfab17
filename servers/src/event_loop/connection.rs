//! Serving one client of many with calls that do not block: what every event loop keeps for each
//! connection. The loop waits; this says for what, and does one turn's work.

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

/// What an event loop reads at once, and so the most that one client gets per turn: two thousand
/// of the shortest requests, a millisecond of calculation.
pub const READ_SIZE: usize = 4 * 1024;

/// A client's socket and how far its conversation is.
#[derive(Debug)]
pub struct Connection {
    /// Before the socket, so that it is given back first.
    permit: Option<Permit>,
    client: TcpStream,
    phase: Phase,
    /// What the last look at the socket gave.
    input: Input,
    idle_timeout: Option<Duration>,
    /// When a silent client is given up.
    deadline: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    /// Requests are answered.
    Serving(Session),
    /// The server is to end: what had arrived by then is answered, and no more is read.
    Draining(Session, DrainLimit),
    /// Turned away: the part of the busy line still to be sent, then the client's end is awaited.
    Refusing(&'static [u8]),
}

/// Whether the connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Wait for it again.
    Open,
    /// There may be more to read already: whoever waits for changes only, rather than for the
    /// state, gives it another turn before waiting.
    Again,
    /// Drop it.
    Closed,
}

/// What a look at the socket gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    /// Bytes, and there may be more of them.
    Some,
    /// All the bytes that there are.
    Last,
    /// The client has ended its side.
    End,
    /// Nothing has arrived.
    None,
    /// Nobody looked: too many replies wait to be sent.
    NotAsked,
}

impl Connection {
    /// A client that will be served. Calls on its socket return at once, as for
    /// [`with_nonblocking_clients`](crate::Listener::with_nonblocking_clients).
    ///
    /// # Errors
    /// When the kernel has given up the socket already.
    pub fn serve(client: TcpStream, config: &Config, permit: Permit) -> io::Result<Connection> {
        let session = Session::new(config.service, config.max_line);
        Connection::new(client, Some(permit), Phase::Serving(session), config.idle_timeout)
    }

    /// A client that is told that the server is busy, and then closed as gently as can be: had
    /// it sent anything that stays unread, closing would reset it, and the line could be lost. Calls
    /// on its socket return at once, too.
    ///
    /// # Errors
    /// When the kernel has given up the socket already.
    pub fn refuse(client: TcpStream) -> io::Result<Connection> {
        let mut refused = Connection::new(client, None, Phase::Refusing(BUSY), None)?;
        refused.deadline = Some(Instant::now() + LINGER);
        refused.send()?;
        Ok(refused)
    }

    /// Tells a client that it cannot be served after all, and closes.
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

    /// Whether this client takes one of the places that the server has.
    pub fn is_served(&self) -> bool {
        self.permit.is_some()
    }

    /// Whether to wait until it can be read.
    pub fn wants_read(&self) -> bool {
        match &self.phase {
            Phase::Serving(session) | Phase::Draining(session, _) => session.wants_input(),
            Phase::Refusing(_) => true,
        }
    }

    /// Whether to wait until it can be written.
    pub fn wants_write(&self) -> bool {
        match &self.phase {
            Phase::Serving(session) | Phase::Draining(session, _) => !session.output().is_empty(),
            Phase::Refusing(line) => !line.is_empty(),
        }
    }

    /// When it is given up if nothing happens.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The server is to end. Another [`turn`](Self::turn) is due at once.
    pub fn drain(&mut self) {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Refusing(&[])) {
            Phase::Serving(session) => {
                let mut limit = DrainLimit::default();
                // What has arrived by now counts.
                limit.remaining(&self.client, 0);
                Phase::Draining(session, limit)
            }
            other => other,
        };
    }

    /// A turn: reads once, answers, and writes what the kernel takes. `scratch` is the loop's own.
    pub fn advance(&mut self, scratch: &mut [u8]) -> Progress {
        match self.read(scratch, Session::receive) {
            Ok(()) => self.write(),
            Err(_) => Progress::Closed,
        }
    }

    /// The first part of a turn by itself: reads once, and answers nothing.
    ///
    /// # Errors
    /// The connection is over.
    pub fn read_input(&mut self, scratch: &mut [u8]) -> io::Result<()> {
        self.read(scratch, Session::buffer)
    }

    /// The second part: answers what was taken in.
    pub fn answer(&mut self) {
        if let Phase::Serving(session) | Phase::Draining(session, _) = &mut self.phase {
            session.answer_buffered();
        }
    }

    /// Instead of the second part: each request that was taken in is answered that the server is
    /// busy.
    pub fn shed(&mut self) {
        if let Phase::Serving(session) | Phase::Draining(session, _) = &mut self.phase {
            session.shed_buffered();
        }
    }

    /// Whether there is something for the second part to do.
    pub fn has_buffered(&self) -> bool {
        match &self.phase {
            Phase::Serving(session) | Phase::Draining(session, _) => session.has_buffered(),
            Phase::Refusing(_) => false,
        }
    }

    /// The last part: writes what the kernel takes.
    pub fn write(&mut self) -> Progress {
        // What goes wrong with one client ends with that client; there is nobody to tell.
        self.send().map_or(Progress::Closed, |sent| self.conclude(sent))
    }

    /// What waits to be written, for those for whom the kernel writes.
    pub fn output(&self) -> &[u8] {
        match &self.phase {
            Phase::Serving(session) | Phase::Draining(session, _) => session.output(),
            Phase::Refusing(line) => line,
        }
    }

    /// The kernel has read this, by itself: answers it. Nothing is the client's end.
    pub fn received(&mut self, bytes: &[u8]) -> Progress {
        self.has_read(bytes, Session::receive);
        self.conclude(0)
    }

    /// The kernel has written so much of the [output](Self::output), by itself.
    pub fn sent(&mut self, count: usize) -> Progress {
        self.has_written(count).map_or(Progress::Closed, |()| self.conclude(count))
    }

    fn conclude(&mut self, sent: usize) -> Progress {
        let input = std::mem::replace(&mut self.input, Input::NotAsked);
        let over = match &self.phase {
            Phase::Serving(session) => session.is_finished(),
            // Closed before the client's kernel has taken everything in, the connection would be
            // reset by what the client still sends, and replies be lost.
            Phase::Draining(session, _) => {
                let all_answered = matches!(input, Input::None | Input::End)
                    && session.output().is_empty()
                    || session.is_finished();
                all_answered && unacknowledged(&self.client) == 0
            }
            Phase::Refusing(_) => input == Input::End,
        };
        let heard = matches!(input, Input::Some | Input::Last) || sent > 0;
        if let (true, true, Some(timeout)) = (heard, self.is_served(), self.idle_timeout) {
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
            // All that counts was read. The end still tells that the last request is whole.
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

    /// Writes until nothing is left or the kernel takes no more; gives the bytes written.
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

    /// A connection that is served, and its client, whose kernel takes in little that is not read.
    fn pair() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        client.set_recv_buffer_size(2048).expect("a small window");
        client.set_tcp_mss(536).expect("small segments");
        let address = listener.local_addr().expect("its address");
        client.connect(&address.into()).expect("a connection");
        let config = Config {
            service: Service::Echo,
            max_line: 4096,
            max_connections: 1,
            workers: 1,
            idle_timeout: None,
        };
        let permit = ConnectionLimit::new(1).try_acquire().expect("a place");
        client.set_write_timeout(Some(Duration::from_secs(20))).expect("it can have one");
        let (stream, _) = listener.accept().expect("the client");
        stream.set_nonblocking(true).expect("it can be");
        (Connection::serve(stream, &config, permit).expect("it lives"), client.into())
    }

    /// Sends lines until the server has no room for their replies and more requests have arrived;
    /// gives what was sent.
    fn stuff(connection: &mut Connection, client: &mut TcpStream) -> Vec<u8> {
        let mut sent = Vec::new();
        let mut scratch = [0; READ_SIZE];
        while connection.wants_read() {
            let lines = [&[b'x'; 39][..], b"\n"].concat().repeat(100);
            client.write_all(&lines).expect("there is room");
            sent.extend_from_slice(&lines);
            assert!(sent.len() < 64 * 1024 * 1024, "it never shutdowns reading");
            assert_ne!(connection.advance(&mut scratch), Progress::Closed);
        }
        client.write_all(b"the last\n").expect("there is room");
        sent.extend_from_slice(b"the last\n");
        sent
    }

    #[test]
    fn a_drain_answers_what_has_arrived_and_waits_until_the_client_has_it() {
        let (mut connection, mut client) = pair();
        let sent = stuff(&mut connection, &mut client);
        let mut scratch = [0; READ_SIZE];
        connection.drain();
        for _ in 0..100 {
            assert_ne!(
                connection.advance(&mut scratch),
                Progress::Closed,
                "the client has not read"
            );
        }
        client.set_nonblocking(true).expect("it can be");
        let mut replies = Vec::new();
        let mut buffer = [0; 4096];
        let deadline = Instant::now() + Duration::from_secs(20);
        while connection.advance(&mut scratch) != Progress::Closed {
            assert!(Instant::now() < deadline, "it never ends");
            if let Ok(count) = client.read(&mut buffer) {
                replies.extend_from_slice(&buffer[..count]);
            }
        }
        assert_eq!(unacknowledged(&connection.client), 0, "a reset could overtake replies");
        drop(connection);
        client.set_nonblocking(false).expect("it can be");
        client.read_to_end(&mut replies).expect("a clean end");
        assert!(replies == sent, "{} of {} bytes came back", replies.len(), sent.len());
    }

    #[test]
    fn an_idle_connection_is_over_as_soon_as_it_is_to_drain() {
        let (mut connection, _client) = pair();
        assert_eq!(connection.advance(&mut [0; READ_SIZE]), Progress::Open);
        connection.drain();
        assert_eq!(connection.advance(&mut [0; READ_SIZE]), Progress::Closed);
    }

    #[test]
    fn an_unterminated_request_is_answered_at_a_drain_only_if_the_client_has_ended() {
        for (ends, replies) in [(true, &b"part\n"[..]), (false, b"")] {
            let (mut connection, mut client) = pair();
            client.write_all(b"part").expect("there is room");
            assert_eq!(connection.advance(&mut [0; READ_SIZE]), Progress::Open);
            if ends {
                client.shutdown(net::Shutdown::Write).expect("an end");
            }
            connection.drain();
            let deadline = Instant::now() + Duration::from_secs(20);
            while connection.advance(&mut [0; READ_SIZE]) != Progress::Closed {
                assert!(Instant::now() < deadline, "it never ends");
            }
            drop(connection);
            let mut received = Vec::new();
            client.read_to_end(&mut received).expect("a clean end");
            assert_eq!(received, replies);
        }
    }
}
