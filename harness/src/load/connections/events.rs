//! Events on connections: waiting for them, and receiving replies.

use std::io::{self, ErrorKind, Read};

use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollFlags, EpollTimeout};

use super::{BUFFER, Connections};
use crate::load::recorder::Recorder;
use crate::results::Outcome;

/// Maximum number of events per wait.
const EVENTS: usize = 256;

/// Buffer for the events of one wait.
#[derive(Debug)]
pub(in crate::load) struct Events([EpollEvent; EVENTS]);

impl Events {
    pub(in crate::load) fn new() -> Events {
        Events([EpollEvent::empty(); EVENTS])
    }

    /// Returns the event at this index.
    pub(in crate::load) fn get(&self, at: usize) -> Event {
        let event = self.0[at];
        let ends = EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
        let may_have_closed = event.events().intersects(ends);
        let is_readable = may_have_closed || event.events().contains(EpollFlags::EPOLLIN);
        Event { index: event.data() as usize, is_readable, may_have_closed }
    }
}

/// Event on a connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::load) struct Event {
    pub(in crate::load) index: usize,
    pub(super) is_readable: bool,
    may_have_closed: bool,
}

/// Result of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::load) enum Handled {
    Nothing,
    Connected,
    /// Replies arrived, correct or not: number of requests completed, and the time. The connection
    /// is still open.
    Replied(u32, u64),
    Closed,
}

impl Connections {
    /// Waits for events for at most this number of milliseconds, and returns the number of events.
    pub(in crate::load) fn wait(
        &mut self,
        events: &mut Events,
        milliseconds: u16,
    ) -> io::Result<usize> {
        match self.epoll.wait(&mut events.0, EpollTimeout::from(milliseconds)) {
            Ok(count) => Ok(count),
            Err(Errno::EINTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Handles an event. `recorder` is the recorder of the connection's group.
    pub(in crate::load) fn handle(
        &mut self,
        event: Event,
        recorder: &mut Recorder,
    ) -> io::Result<Handled> {
        let index = event.index;
        let connection = &self.connections[index];
        if connection.stream.is_none() {
            return Ok(Handled::Nothing);
        }
        if connection.is_connecting {
            return self.handle_connect(event, recorder);
        }
        if connection.backlog > 0 {
            self.send(index, u32::MAX, recorder);
        }
        Ok(self.receive(event, recorder))
    }

    /// Receives all bytes that have arrived.
    fn receive(&mut self, event: Event, recorder: &mut Recorder) -> Handled {
        let (index, group) = (event.index, self.group(event.index));
        let (mut over, mut at) = (0, None);
        loop {
            let Some(mut stream) = self.connections[index].stream.as_ref() else {
                return Handled::Closed;
            };
            match stream.read(&mut self.buffer) {
                Ok(0) => {
                    let connection = &self.connections[index];
                    let is_done = connection.in_flight == 0 && connection.has_answered;
                    let outcome = if self.may_close && is_done {
                        connection.last_outcome
                    } else {
                        Outcome::Closed
                    };
                    self.close_with(index, outcome, recorder);
                }
                Ok(count) => {
                    let now = self.read_clock(group, recorder);
                    over += self.handle_bytes(index, count, now, recorder);
                    at = Some(now);
                    // A short read has emptied the socket (epoll(7)). After a close, read on to
                    // get the end-of-file.
                    if count < BUFFER && !event.may_have_closed && !self.is_free(index) {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => self.close_on_error(index, &error, recorder),
            }
        }
        match at {
            Some(at) if over > 0 => Handled::Replied(over, at),
            _ => Handled::Nothing,
        }
    }
}
