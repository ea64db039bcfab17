//! One client of a known-answer server: its input, and its unsent replies.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use nix::sys::epoll::EpollFlags;

use super::answer::Answer;
use super::lines::{Lines, Reply};

/// Maximum size in bytes of unsent replies, and of an incomplete line.
const MOST: usize = 1024 * 1024;

pub(super) struct Client {
    pub(super) stream: TcpStream,
    /// Whether the kernel may have more input.
    is_readable: bool,
    /// Whether the client has closed: end-of-file follows the input.
    has_closed: bool,
    /// Whether end-of-file was read.
    is_at_end: bool,
    /// Incomplete line.
    begun: Vec<u8>,
    /// Number of lines received.
    lines: usize,
    /// Unsent replies.
    owed: Vec<u8>,
    /// Number of these bytes that are due.
    ready: usize,
    /// Due times of the other bytes, with their numbers, in order: no reply overtakes an earlier
    /// one.
    later: VecDeque<(Instant, usize)>,
}

impl Client {
    pub(super) fn new(stream: TcpStream) -> Client {
        Client {
            stream,
            is_readable: false,
            has_closed: false,
            is_at_end: false,
            begun: Vec::new(),
            lines: 0,
            owed: Vec::new(),
            ready: 0,
            later: VecDeque::new(),
        }
    }

    /// Returns the epoll events of a client. They are edge-triggered: the kernel does not check
    /// each client a second time, and reports a writable socket only after it was full.
    pub(super) fn events() -> EpollFlags {
        EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET
    }

    /// Sends the replies that are due, then reads and handles the input once.
    pub(super) fn serve(
        &mut self,
        events: EpollFlags,
        lines: &mut Lines,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        let closed = EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
        self.has_closed |= events.intersects(closed);
        self.is_readable |= events.intersects(closed | EpollFlags::EPOLLIN);
        self.send()?;
        if !self.has_more() {
            return Ok(());
        }
        let count = match self.stream.read(buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.is_readable = false;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.is_at_end = count == 0;
        // On a stream, a short read means that all input was read (epoll(7)).
        self.is_readable = count == buffer.len() || self.has_closed && !self.is_at_end;
        if lines.answer == Answer::Echo {
            self.write_back(&buffer[..count])
        } else {
            self.take(&buffer[..count], lines)?;
            self.send()
        }
    }

    /// Returns the due time of the next reply that is not due yet.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.later.front().map(|(at, _)| *at)
    }

    /// Returns whether there is more input, and room for it.
    pub(super) fn has_more(&self) -> bool {
        self.is_readable && self.owed.len() < MOST
    }

    /// Returns whether the client has closed and all replies were sent.
    pub(super) fn is_done(&self) -> bool {
        self.is_at_end && self.owed.is_empty()
    }

    fn write_back(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = if self.owed.is_empty() { self.write(bytes)? } else { 0 };
        if sent < bytes.len() {
            self.owed.extend_from_slice(&bytes[sent..]);
            self.ready = self.owed.len();
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], lines: &mut Lines) -> io::Result<()> {
        let read = Instant::now();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.lines += 1;
                if let Some(reply) = lines.next(self.lines, read) {
                    self.owe(&reply);
                }
                self.begun.clear();
            }
        }
        if self.begun.len() > MOST {
            return Err(ErrorKind::InvalidData.into());
        }
        Ok(())
    }

    /// Queues the current line as a reply, or a wrong one of the same length.
    fn owe(&mut self, reply: &Reply) {
        let length = self.begun.len();
        if reply.is_wrong {
            self.begun[..length - 1].fill(b'x');
        }
        self.owed.extend_from_slice(&self.begun);
        self.later.push_back((reply.at, length));
    }

    fn send(&mut self) -> io::Result<()> {
        if self.owed.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        while let Some((_, length)) = self.later.pop_front_if(|(at, _)| *at <= now) {
            self.ready += length;
        }
        let sent = self.write(&self.owed[..self.ready])?;
        self.owed.drain(..sent);
        self.ready -= sent;
        Ok(())
    }

    /// Writes until all is written or the socket is full: only then does the kernel report it as
    /// writable.
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            match (&self.stream).write(&bytes[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }
}
