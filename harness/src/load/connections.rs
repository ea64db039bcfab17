//! The connections of a generator, with one epoll instance. The generator decides when each
//! connection sends.

mod closing;
mod connecting;
pub(super) mod events;
mod reconnecting;
mod replies;
mod sending;
pub(super) mod slots;
mod sources;

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags};

use super::clock::Clock;
use slots::{Freed, Reconnecting, Slot};
use sources::Sources;

use super::recorder::{Flight, Recorder};
use super::request_reply::{Cycle, RequestReply};
use crate::results::{LocalError, LocalErrors, Outcome, Outcomes};

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
    /// Errors of this machine and of the network.
    local_errors: LocalErrors,
    /// Error with which each further attempt to connect would fail.
    lasting_error: Option<LocalError>,
    /// Local addresses to connect from.
    sources: Sources,
    /// Bytes sent and received on each connection before its first request.
    opening: RequestReply,
    /// Whether the server may close a connection that has no request in flight.
    may_close: bool,
    /// State of the slots, if clients connect again when their connection closes.
    reconnecting: Option<Reconnecting>,
    /// Whether to list the slots that become free.
    lists_freed: bool,
    /// Slots that have become free.
    freed: Vec<Freed>,
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
            local_errors: LocalErrors::default(),
            lasting_error: None,
            sources: Sources::default(),
            opening: RequestReply { request: Vec::new(), reply: Vec::new() },
            may_close: false,
            reconnecting: None,
            lists_freed: false,
            freed: Vec::new(),
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
        if let Some(reconnecting) = &mut self.reconnecting {
            reconnecting.slots.push(Slot::default());
        }
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
        if outcome == Outcome::Answered {
            connection.has_answered = true;
            if let Some(reconnecting) = &mut self.reconnecting
                && let Some(since) = reconnecting.slots[index].down_since.take()
            {
                recorder.record_outage(since, now);
            }
        }
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
}

#[cfg(test)]
mod tests;
