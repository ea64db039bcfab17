//! Serving one client of many with calls that do not block: what every event loop keeps for each
//! connection. The loop waits; this says for what, and does one turn's work.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::Config;
use crate::refusal::{BUSY, LINGER};
use crate::session::Session;

/// What an event loop reads at once, and so the most that one client gets per turn.
pub const SCRATCH: usize = 16 * 1024;

/// A client's socket and how far its conversation is.
#[derive(Debug)]
pub struct Connection {
    client: TcpStream,
    phase: Phase,
    idle_timeout: Option<Duration>,
    deadline: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    /// Requests are answered.
    Serving(Session),
    /// The server is to end: what has been received is answered, and no more is waited for.
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

impl Connection {
    /// A client that will be served.
    ///
    /// # Errors
    /// When the kernel has given up the socket already.
    pub fn serve(client: TcpStream, config: &Config) -> io::Result<Connection> {
        let session = Session::new(config.service, config.max_line);
        let deadline = config.idle_timeout.map(|timeout| Instant::now() + timeout);
        Connection::new(client, Phase::Serving(session), config.idle_timeout, deadline)
    }

    /// A client that is told that the server is busy, and then closed as gently as can be: had
    /// it sent anything that stays unread, closing would reset it, and the line could be lost.
    ///
    /// # Errors
    /// When the kernel has given up the socket already.
    pub fn refuse(client: TcpStream) -> io::Result<Connection> {
        let deadline = Some(Instant::now() + LINGER);
        let mut refused = Connection::new(client, Phase::Refusing(BUSY), None, deadline)?;
        refused.finish_refusing()?;
        Ok(refused)
    }

    fn new(
        client: TcpStream,
        phase: Phase,
        idle_timeout: Option<Duration>,
        deadline: Option<Instant>,
    ) -> io::Result<Connection> {
        client.set_nonblocking(true)?;
        client.set_nodelay(true)?;
        Ok(Connection { client, phase, idle_timeout, deadline })
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

    /// When the connection is to be dropped, unless something happens before.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
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
        let read = if self.wants_read() { read(&self.client, scratch)? } else { Read::Nothing };
        if !matches!(read, Read::Nothing)
            && let Some(timeout) = self.idle_timeout
        {
            self.deadline = Some(Instant::now() + timeout);
        }
        let draining = matches!(self.phase, Phase::Draining(_));
        match &mut self.phase {
            Phase::Serving(session) | Phase::Draining(session) => {
                match read {
                    Read::Some(count) => session.receive(&scratch[..count]),
                    Read::End if !draining => session.end_of_input(),
                    Read::End | Read::Nothing => {}
                }
                let emptied = write(&self.client, session)?;
                let received_all = draining && !matches!(read, Read::Some(_));
                if session.is_finished() || (received_all && emptied) {
                    return Ok(Turn::Over);
                }
            }
            Phase::Refusing(_) => {
                self.finish_refusing()?;
                if matches!(read, Read::End) {
                    return Ok(Turn::Over);
                }
            }
        }
        Ok(Turn::Open)
    }

    fn finish_refusing(&mut self) -> io::Result<()> {
        let Phase::Refusing(line) = &mut self.phase else { return Ok(()) };
        if line.is_empty() {
            return Ok(());
        }
        match (&self.client).write(line) {
            Ok(count) => *line = &line[count..],
            Err(error) if is_not_now(&error) => {}
            Err(error) => return Err(error),
        }
        if line.is_empty() {
            self.client.shutdown(Shutdown::Write)?;
        }
        Ok(())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.client.as_fd()
    }
}

enum Read {
    Some(usize),
    Nothing,
    End,
}

fn read(mut client: &TcpStream, scratch: &mut [u8]) -> io::Result<Read> {
    match client.read(scratch) {
        Ok(0) => Ok(Read::End),
        Ok(count) => Ok(Read::Some(count)),
        Err(error) if is_not_now(&error) => Ok(Read::Nothing),
        Err(error) => Err(error),
    }
}

/// Writes until the session has nothing left, or the kernel takes no more; says whether the
/// former.
fn write(mut client: &TcpStream, session: &mut Session) -> io::Result<bool> {
    while !session.output().is_empty() {
        match client.write(session.output()) {
            Ok(count) => session.sent(count),
            Err(error) if is_not_now(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn is_not_now(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
