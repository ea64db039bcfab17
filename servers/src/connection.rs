//! Serving one client of many with calls that do not block: what every event loop keeps for each
//! connection. The loop waits; this says for what, and does one turn's work.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::Config;
use crate::refusal::{BUSY, LINGER};
use crate::session::Session;
use crate::socket::unacknowledged;

/// What an event loop reads at once, and so the most that one client gets per turn: two thousand
/// of the shortest requests, a millisecond of calculation.
pub const SCRATCH: usize = 4 * 1024;

/// Pause between two looks at whether the client has taken in its last replies.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A client's socket and how far its conversation is.
#[derive(Debug)]
pub struct Connection {
    client: TcpStream,
    phase: Phase,
    idle_timeout: Option<Duration>,
    /// When a silent client is given up.
    patience_ends: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    /// Requests are answered.
    Serving(Session),
    /// The server is to end: what has arrived is answered, and no more is waited for.
    Draining(Session),
    /// Turned away: the part of the busy line still to be sent, then the client's end is awaited.
    Refusing(&'static [u8]),
}

/// Whether the connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Wait for it again.
    Open,
    /// Drop it.
    Over,
}

/// What a look at the socket gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    /// So many bytes.
    Some(usize),
    /// The client has ended its side.
    End,
    /// Nothing has arrived.
    None,
    /// Nobody looked: too many replies wait to be sent.
    NotAsked,
}

impl Connection {
    /// A client that will be served.
    ///
    /// # Errors
    /// When the kernel has given up the socket already.
    pub fn serve(client: TcpStream, config: &Config) -> io::Result<Connection> {
        let session = Session::new(config.service, config.max_line);
        Connection::new(client, Phase::Serving(session), config.idle_timeout)
    }

    /// A client that is told that the server is busy, and then closed as gently as can be: had
    /// it sent anything that stays unread, closing would reset it, and the line could be lost.
    ///
    /// # Errors
    /// When the kernel has given up the socket already.
    pub fn refuse(client: TcpStream) -> io::Result<Connection> {
        let mut refused = Connection::new(client, Phase::Refusing(BUSY), None)?;
        refused.patience_ends = Some(Instant::now() + LINGER);
        refused.send()?;
        Ok(refused)
    }

    fn new(
        client: TcpStream,
        phase: Phase,
        idle_timeout: Option<Duration>,
    ) -> io::Result<Connection> {
        client.set_nonblocking(true)?;
        client.set_nodelay(true)?;
        let patience_ends = idle_timeout.map(|timeout| Instant::now() + timeout);
        Ok(Connection { client, phase, idle_timeout, patience_ends })
    }

    /// Whether this client takes one of the places that the server has.
    pub fn is_served(&self) -> bool {
        !matches!(self.phase, Phase::Refusing(_))
    }

    /// Whether to wait until it can be read.
    pub fn wants_read(&self) -> bool {
        match &self.phase {
            Phase::Serving(session) | Phase::Draining(session) => session.wants_input(),
            Phase::Refusing(_) => true,
        }
    }

    /// Whether to wait until it can be written.
    pub fn wants_write(&self) -> bool {
        match &self.phase {
            Phase::Serving(session) | Phase::Draining(session) => !session.output().is_empty(),
            Phase::Refusing(line) => !line.is_empty(),
        }
    }

    /// When it is to have a turn even if nothing happens.
    pub fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Draining(_) if !self.wants_write() => Some(Instant::now() + LOOK_EVERY),
            _ => self.patience_ends,
        }
    }

    /// The server is to end. Another [`turn`](Self::turn) is due at once.
    pub fn drain(&mut self) {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Refusing(&[])) {
            Phase::Serving(session) => Phase::Draining(session),
            other => other,
        };
    }

    /// Reads once, answers, and writes what the kernel takes. `scratch` is the loop's own.
    pub fn turn(&mut self, scratch: &mut [u8]) -> Turn {
        // What goes wrong with one client ends with that client; there is nobody to tell.
        self.try_turn(scratch).unwrap_or(Turn::Over)
    }

    fn try_turn(&mut self, scratch: &mut [u8]) -> io::Result<Turn> {
        let input = if self.wants_read() { self.read(scratch)? } else { Input::NotAsked };
        if let Phase::Serving(session) | Phase::Draining(session) = &mut self.phase {
            match input {
                Input::Some(count) => session.receive(&scratch[..count]),
                Input::End => session.end_of_input(),
                Input::None | Input::NotAsked => {}
            }
        }
        let sent = self.send()?;
        let over = match &self.phase {
            Phase::Serving(session) => session.is_finished(),
            // Closed before the client's kernel has taken everything in, the connection would be
            // reset by what the client still sends, and replies be lost.
            Phase::Draining(session) => {
                let all_answered = matches!(input, Input::None | Input::End)
                    && session.output().is_empty()
                    || session.is_finished();
                all_answered && unacknowledged(&self.client) == 0
            }
            Phase::Refusing(_) => input == Input::End,
        };
        let heard = matches!(input, Input::Some(_)) || sent > 0;
        if let (true, true, Some(timeout)) = (heard, self.is_served(), self.idle_timeout) {
            self.patience_ends = Some(Instant::now() + timeout);
        }
        let late = self.patience_ends.is_some_and(|end| end <= Instant::now());
        Ok(if over || late { Turn::Over } else { Turn::Open })
    }

    fn read(&mut self, scratch: &mut [u8]) -> io::Result<Input> {
        match self.client.read(scratch) {
            Ok(0) => Ok(Input::End),
            Ok(count) => Ok(Input::Some(count)),
            Err(error) if is_not_now(&error) => Ok(Input::None),
            Err(error) => Err(error),
        }
    }

    /// Writes until nothing is left or the kernel takes no more; gives the bytes written.
    fn send(&mut self) -> io::Result<usize> {
        let mut sent = 0;
        while self.wants_write() {
            let output = match &self.phase {
                Phase::Serving(session) | Phase::Draining(session) => session.output(),
                Phase::Refusing(line) => line,
            };
            let count = match self.client.write(output) {
                Ok(count) => count,
                Err(error) if is_not_now(&error) => break,
                Err(error) => return Err(error),
            };
            sent += count;
            match &mut self.phase {
                Phase::Serving(session) | Phase::Draining(session) => session.sent(count),
                Phase::Refusing(line) => {
                    *line = &line[count..];
                    if line.is_empty() {
                        self.client.shutdown(Shutdown::Write)?;
                    }
                }
            }
        }
        Ok(sent)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.client.as_fd()
    }
}

fn is_not_now(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
