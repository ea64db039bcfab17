//! The connections of a generator, with one epoll instance. The generator decides when each
//! connection sends.

mod connecting;
pub(super) mod events;
mod replies;
mod sending;

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags};
use socket2::SockRef;

use super::clock::Clock;
use super::recorder::{Flight, Recorder};
use super::request_reply::{Cycle, RequestReply};
use crate::results::{Outcome, Outcomes};

/// Default timeout for connecting, and for each reply.
pub(super) const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// Minimum time between two checks for overdue replies.
const OVERDUE_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Size of the receive buffer, in bytes.
const BUFFER: usize = 64 * 1024;

/// Maximum length of an opening, in bytes.
pub(super) const MAX_OPENING_LENGTH: usize = 60_000;

/// Connections to one server, in groups.
#[derive(Debug)]
pub(super) struct Connections {
    address: SocketAddr,
    reply_timeout: u64,
    pub(super) clock: Clock,
    cycles: Vec<Cycle>,
    connections: Vec<Connection>,
    epoll: Epoll,
    /// Receive buffer. It is reused, because clearing it for each reply would take longer than
    /// comparing the reply.
    buffer: Box<[u8]>,
    /// Number of requests in flight, by group.
    in_flight: Vec<u64>,
    /// Number of connections that are connecting.
    connecting: usize,
    /// Time of the last check for overdue replies.
    checked_ns: u64,
    /// Outcomes of closed connections, by group.
    closed_outcomes: Vec<Outcomes>,
    /// Number of local addresses to connect from.
    sources: u32,
    next_source: u32,
    /// Bytes sent and received on each connection before its first request.
    opening: RequestReply,
    /// Whether the server may close a connection that has no request in flight.
    may_close: bool,
}

/// A connection, or the free slot of a closed one.
#[derive(Debug)]
struct Connection {
    /// `None` when the connection is closed.
    stream: Option<TcpStream>,
    group: u16,
    is_connecting: bool,
    /// Whether a correct reply arrived.
    has_answered: bool,
    /// Whether a request was abandoned.
    has_abandoned: bool,
    /// Outcome of the last completed request; in flight if there is none.
    last_outcome: Outcome,
    /// Index in the cycle of the next request to enqueue.
    next: u32,
    /// Number of enqueued requests that are not written completely.
    backlog: u32,
    /// Number of bytes written of the first request of the backlog.
    backlog_written: u32,
    /// Index in the cycle of the expected reply.
    expected: u32,
    /// Number of bytes received of the expected reply.
    received: u32,
    /// Number of requests in flight, including the backlog.
    in_flight: u32,
    /// Requests in flight, oldest first.
    flights: VecDeque<Flight>,
    /// Number of bytes sent of the opening.
    opening_sent: u16,
    /// Number of bytes received of the opening.
    opening_received: u16,
    /// Bytes received of a reply that differs from the expected one.
    #[expect(clippy::box_collection, reason = "keeps `Connection` small")]
    unexpected: Option<Box<Vec<u8>>>,
    /// Time at which connecting began.
    since: u64,
}

impl Connections {
    /// Returns an empty set of connections, with one cycle of requests and replies per group.
    pub(super) fn new(
        address: SocketAddr,
        cycles: Vec<Cycle>,
        reply_timeout: Duration,
        clock: Clock,
    ) -> io::Result<Connections> {
        let groups = cycles.len();
        Ok(Connections {
            address,
            reply_timeout: reply_timeout.as_nanos() as u64,
            clock,
            cycles,
            connections: Vec::new(),
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            buffer: vec![0; BUFFER].into(),
            in_flight: vec![0; groups],
            connecting: 0,
            checked_ns: clock.now(),
            closed_outcomes: vec![Outcomes::default(); groups],
            sources: 1,
            next_source: 0,
            opening: RequestReply { request: Vec::new(), reply: Vec::new() },
            may_close: false,
        })
    }

    /// Sets the opening of each connection, at most [`MAX_OPENING_LENGTH`] bytes.
    pub(super) fn open_with(&mut self, opening: RequestReply) {
        self.opening = opening;
    }

    /// Sets whether the server may close a connection that has no request in flight.
    pub(super) fn allow_close(&mut self, may_close: bool) {
        self.may_close = may_close;
    }

    /// Adds a slot for a connection and returns its index.
    pub(super) fn add_slot(&mut self, group: u16) -> usize {
        let index = self.connections.len();
        // Neighbouring connections start with different requests.
        let first = index as u32 % self.cycles[usize::from(group)].len();
        self.connections.push(Connection {
            stream: None,
            group,
            is_connecting: false,
            has_answered: false,
            has_abandoned: false,
            last_outcome: Outcome::InFlight,
            next: first,
            backlog: 0,
            backlog_written: 0,
            expected: first,
            received: 0,
            in_flight: 0,
            flights: VecDeque::new(),
            opening_sent: 0,
            opening_received: 0,
            unexpected: None,
            since: 0,
        });
        index
    }

    /// Returns whether the connection is established and not closed.
    pub(super) fn is_open(&self, index: usize) -> bool {
        let connection = &self.connections[index];
        connection.stream.is_some() && !connection.is_connecting
    }

    /// Returns whether the slot is free: no connection is established or connecting.
    pub(super) fn is_free(&self, index: usize) -> bool {
        self.connections[index].stream.is_none()
    }

    /// Returns the socket of a connection.
    #[cfg(test)]
    pub(super) fn stream(&self, index: usize) -> Option<&TcpStream> {
        self.connections[index].stream.as_ref()
    }

    pub(super) fn group(&self, index: usize) -> usize {
        self.connections[index].group.into()
    }

    /// Returns the number of requests in flight on a group's connections.
    pub(super) fn in_flight(&self, group: usize) -> u64 {
        self.in_flight[group]
    }

    /// Returns the number of requests in flight on a connection.
    pub(super) fn in_flight_on(&self, index: usize) -> u32 {
        self.connections[index].in_flight
    }

    /// Returns the number of connections that are connecting.
    pub(super) fn connecting(&self) -> usize {
        self.connecting
    }

    /// Returns the outcomes of a group's connections so far.
    ///
    /// An open connection counts as answered after a correct reply. Without any reply, it counts as
    /// in flight: it may still be in the accept queue. Excludes connections that sent no request,
    /// or that are connecting.
    pub(super) fn outcomes(&self, group: usize) -> Outcomes {
        let mut outcomes = self.closed_outcomes[group].clone();
        let of_group = |connection: &&Connection| usize::from(connection.group) == group;
        for connection in self.connections.iter().filter(of_group) {
            if connection.stream.is_some() && connection.has_had_request() {
                outcomes.add(connection.outcome_while_open());
            }
        }
        outcomes
    }

    /// Abandons the requests of a group that have no reply yet, and records them as in flight.
    pub(super) fn abandon(&mut self, group: usize, recorder: &mut Recorder) {
        let now = self.read_clock(group, recorder);
        for connection in &mut self.connections {
            if usize::from(connection.group) == group {
                connection.has_abandoned |= connection.in_flight > 0;
                self.in_flight[group] -= u64::from(std::mem::take(&mut connection.in_flight));
                for flight in connection.flights.drain(..) {
                    recorder.complete(Outcome::InFlight, flight, now);
                }
            }
        }
    }

    /// Closes the connections with overdue replies or connects. Does nothing if the last check is
    /// more recent than [`OVERDUE_CHECK_INTERVAL`]. `recorders` has one recorder per group.
    pub(super) fn close_overdue(&mut self, now: u64, recorders: &mut [Recorder]) {
        if now - self.checked_ns < OVERDUE_CHECK_INTERVAL.as_nanos() as u64 {
            return;
        }
        self.checked_ns = now;
        for index in 0..self.connections.len() {
            let connection = &self.connections[index];
            let is_overdue = |since: u64| now.saturating_sub(since) > self.reply_timeout;
            let outcome = if connection.is_connecting && is_overdue(connection.since) {
                Outcome::ConnectTimeout
            } else if connection.flights.front().is_some_and(|flight| is_overdue(flight.sent)) {
                Outcome::TimedOut
            } else {
                continue;
            };
            let group = usize::from(connection.group);
            self.close_with(index, outcome, &mut recorders[group]);
        }
    }

    /// Reads the clock, and integrates the group's number of requests in flight up to now.
    pub(super) fn read_clock(&self, group: usize, recorder: &mut Recorder) -> u64 {
        let now = self.clock.now();
        recorder.integrate(self.in_flight[group], now);
        now
    }

    /// Records that `count` requests of a connection are complete.
    fn complete(
        &mut self,
        index: usize,
        outcome: Outcome,
        count: u32,
        now: u64,
        recorder: &mut Recorder,
    ) {
        if count == 0 {
            return;
        }
        let connection = &mut self.connections[index];
        connection.last_outcome = outcome;
        connection.has_answered |= outcome == Outcome::Answered;
        connection.in_flight -= count;
        self.in_flight[usize::from(connection.group)] -= u64::from(count);
        let mut left = count;
        while let Some(flight) = connection.flights.front_mut() {
            let completed = flight.count.min(left);
            recorder.complete(outcome, Flight { count: completed, ..*flight }, now);
            flight.count -= completed;
            left -= completed;
            if flight.count == 0 {
                connection.flights.pop_front();
            }
            if left == 0 {
                break;
            }
        }
    }

    /// Closes a connection and completes its requests in flight with this outcome. Closing the
    /// socket removes it from the epoll set.
    fn close_with(&mut self, index: usize, outcome: Outcome, recorder: &mut Recorder) {
        let now = self.read_clock(self.group(index), recorder);
        let connection = &mut self.connections[index];
        let (in_flight, last) = (connection.in_flight, connection.last_outcome);
        self.complete(index, outcome, in_flight, now, recorder);
        let connection = &mut self.connections[index];
        if std::mem::take(&mut connection.is_connecting) {
            self.connecting -= 1;
        }
        connection.stream = None;
        connection.unexpected = None;
        connection.received = 0;
        connection.backlog = 0;
        connection.backlog_written = 0;
        connection.expected = connection.next;
        // A client that got a busy line was rejected, even if the connection was then closed.
        let is_rejected = last == Outcome::Busy
            && matches!(outcome, Outcome::Closed | Outcome::Reset | Outcome::InFlight);
        let outcome = if is_rejected { Outcome::Busy } else { outcome };
        self.closed_outcomes[usize::from(connection.group)].add(outcome);
    }

    /// Closes a connection that is no longer needed. Its outcome is the outcome of its last
    /// request.
    pub(super) fn close(&mut self, index: usize, recorder: &mut Recorder) {
        self.close_with(index, self.connections[index].last_outcome, recorder);
    }

    /// Resets a connection, whether or not it has requests in flight.
    pub(super) fn reset(&mut self, index: usize, recorder: &mut Recorder) {
        if let Some(stream) = &self.connections[index].stream {
            reset_on_close(stream);
            let outcome = self.connections[index].outcome_while_open();
            self.close_with(index, outcome, recorder);
        }
    }

    /// Sets all sockets to reset on close, so that no ports stay in TIME_WAIT for a minute.
    pub(super) fn reset_all_on_close(&self) {
        self.connections.iter().filter_map(|it| it.stream.as_ref()).for_each(reset_on_close);
    }
}

impl Connection {
    fn has_had_request(&self) -> bool {
        self.has_abandoned || self.in_flight > 0 || self.last_outcome != Outcome::InFlight
    }

    fn outcome_while_open(&self) -> Outcome {
        if self.is_connecting {
            Outcome::ConnectTimeout
        } else if self.has_answered {
            Outcome::Answered
        } else if self.has_abandoned || self.in_flight > 0 {
            Outcome::InFlight
        } else {
            self.last_outcome
        }
    }
}

/// Sets the socket to reset the connection on close.
fn reset_on_close(stream: &TcpStream) {
    // A failure is harmless: a port stays in TIME_WAIT.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

#[cfg(test)]
mod tests;
