//! One client of a known-answer server: what is read from it, and what it is owed.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use nix::sys::epoll::EpollFlags;

use super::answer::Answer;
use super::lines::{Lines, Reply};

/// Bytes owed to a client that does not read them, and of a line without an end.
const MOST: usize = 1024 * 1024;

pub(super) struct Client {
    pub(super) stream: TcpStream,
    /// The kernel may have more to be read.
    is_readable: bool,
    /// The client has closed: when all is read, there is the end to be read.
    has_closed: bool,
    /// The end was read.
    is_at_end: bool,
    /// The beginning of a line.
    begun: Vec<u8>,
    /// How many lines there were before.
    lines: usize,
    /// Replies, from the first byte that is not sent.
    owed: Vec<u8>,
    /// How many of these bytes are due.
    ready: usize,
    /// When those after them are due, so many at a time: none before the one in front of it.
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

    /// What the kernel is asked to tell of a client. Edge-triggered, so that it does not look at
    /// each a second time, and tells of room to write only after there was none.
    pub(super) fn events() -> EpollFlags {
        EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET
    }

    /// Sends what is due, and reads and takes in what has arrived, once.
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
        // Of a stream, less than there was room for is all (epoll(7)).
        self.is_readable = count == buffer.len() || self.has_closed && !self.is_at_end;
        if lines.answer == Answer::Echo {
            self.write_back(&buffer[..count])
        } else {
            self.take(&buffer[..count], lines)?;
            self.send()
        }
    }

    /// When the first reply is due that is not due yet.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.later.front().map(|(at, _)| *at)
    }

    /// Whether there is more to be read, and room for it.
    pub(super) fn has_more(&self) -> bool {
        self.is_readable && self.owed.len() < MOST
    }

    /// Whether it has closed and has been sent everything.
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

    /// Owes it the line that was read, or one like it.
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

    /// Writes until all is written or there is no room: only then the kernel tells when there is.
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
