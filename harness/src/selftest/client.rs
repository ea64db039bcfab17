//! One client connection of a known-answer server, with its input and unsent replies.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use nix::sys::epoll::EpollFlags;

use super::answer::Behaviour;
use super::lines::{Lines, ScheduledReply};

/// Maximum size of the unsent replies in bytes, and maximum size of an incomplete line.
const MAX_BUFFERED: usize = 1024 * 1024;

pub(super) struct ClientConnection {
    pub(super) stream: TcpStream,
    /// Whether the socket may have unread input.
    is_readable: bool,
    /// Whether the client has closed its sending side, so that end-of-file follows the input.
    has_closed: bool,
    /// Whether the end-of-file was read.
    is_at_end: bool,
    /// Incomplete line.
    partial_line: Vec<u8>,
    /// Number of lines received.
    lines: usize,
    /// Unsent replies.
    unsent: Vec<u8>,
    /// Number of bytes of `unsent` that are due.
    due_bytes: usize,
    /// Replies in `unsent` that are not due: scheduled time and length in bytes, in the order of
    /// sending. No reply overtakes an earlier reply.
    scheduled: VecDeque<(Instant, usize)>,
}

impl ClientConnection {
    pub(super) fn new(stream: TcpStream) -> ClientConnection {
        ClientConnection {
            stream,
            is_readable: false,
            has_closed: false,
            is_at_end: false,
            partial_line: Vec::new(),
            lines: 0,
            unsent: Vec::new(),
            due_bytes: 0,
            scheduled: VecDeque::new(),
        }
    }

    /// Returns the epoll events of a client. Edge-triggered, so that epoll_wait need not check
    /// reported sockets again, and reports EPOLLOUT only after the send buffer was full.
    pub(super) fn events() -> EpollFlags {
        EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET
    }

    /// Sends the replies that are due, then reads once and handles the input.
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
        if lines.behaviour == Behaviour::Echo {
            self.write_back(&buffer[..count])
        } else {
            self.take(&buffer[..count], lines)?;
            self.send()
        }
    }

    /// Returns the scheduled time of the next reply.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.scheduled.front().map(|(at, _)| *at)
    }

    /// Returns whether the socket may have unread input, and the buffer has room for replies.
    pub(super) fn has_more(&self) -> bool {
        self.is_readable && self.unsent.len() < MAX_BUFFERED
    }

    /// Returns whether the client has closed and all replies were sent.
    pub(super) fn is_done(&self) -> bool {
        self.is_at_end && self.unsent.is_empty()
    }

    fn write_back(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = if self.unsent.is_empty() { self.write(bytes)? } else { 0 };
        if sent < bytes.len() {
            self.unsent.extend_from_slice(&bytes[sent..]);
            self.due_bytes = self.unsent.len();
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], lines: &mut Lines) -> io::Result<()> {
        let read = Instant::now();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.partial_line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.lines += 1;
                if let Some(reply) = lines.next(self.lines, read) {
                    self.queue_reply(&reply);
                }
                self.partial_line.clear();
            }
        }
        if self.partial_line.len() > MAX_BUFFERED {
            return Err(ErrorKind::InvalidData.into());
        }
        Ok(())
    }

    /// Queues the current line as a reply, or a wrong reply of the same length.
    fn queue_reply(&mut self, reply: &ScheduledReply) {
        let length = self.partial_line.len();
        if reply.is_wrong {
            self.partial_line[..length - 1].fill(b'x');
        }
        self.unsent.extend_from_slice(&self.partial_line);
        self.scheduled.push_back((reply.at, length));
    }

    fn send(&mut self) -> io::Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        while let Some((_, length)) = self.scheduled.pop_front_if(|(at, _)| *at <= now) {
            self.due_bytes += length;
        }
        let sent = self.write(&self.unsent[..self.due_bytes])?;
        self.unsent.drain(..sent);
        self.due_bytes -= sent;
        Ok(())
    }

    /// Writes until all bytes are written or write fails with EAGAIN. Edge-triggered epoll reports
    /// EPOLLOUT only after EAGAIN. Returns the number of bytes written.
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
