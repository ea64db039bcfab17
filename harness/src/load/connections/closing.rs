//! Closing connections, and counting how they ended.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use socket2::SockRef;

use super::slots::Freed;
use super::{Connection, Connections};
use crate::load::recorder::Recorder;
use crate::load::timeouts::check_interval;
use crate::results::{LocalError, LocalErrors, Outcome, Outcomes};

impl Connections {
    /// Returns the outcomes of a group's connections so far.
    ///
    /// An open connection counts as answered after a correct reply. Without any reply, it counts as
    /// in flight: it may still be in the accept queue. Excludes connections that sent no request,
    /// or that are connecting. If clients reconnect, each slot counts once, with its latest
    /// connection that ended or got a correct reply.
    pub(in crate::load) fn outcomes(&self, group: usize) -> Outcomes {
        let mut outcomes = self.closed_outcomes[group].clone();
        for (index, connection) in self.connections.iter().enumerate() {
            if usize::from(connection.group) != group {
                continue;
            }
            let last_close = self.last_close(index);
            if let Some(last) = last_close.filter(|_| !connection.has_answered) {
                outcomes.add(last);
            } else if connection.stream.is_some() && connection.has_had_request() {
                outcomes.add(connection.outcome_while_open());
            } else if let Some(last) = last_close {
                outcomes.add(last);
            }
        }
        outcomes
    }

    /// Returns the errors of this machine and of the network so far.
    pub(in crate::load) fn local_errors(&self) -> &LocalErrors {
        &self.local_errors
    }

    /// Closes the connections with overdue replies or connects. Does nothing if the last check is
    /// recent. `recorders` has one recorder per group.
    pub(in crate::load) fn close_overdue(&mut self, now: u64, recorders: &mut [Recorder]) {
        let interval = check_interval(Duration::from_nanos(self.reply_timeout));
        if now - self.checked_ns < interval.as_nanos() as u64 {
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

    /// Closes a connection and completes its requests in flight with this outcome.
    pub(super) fn close_with(&mut self, index: usize, outcome: Outcome, recorder: &mut Recorder) {
        let last = self.connections[index].last_outcome;
        self.release(index, outcome, recorder);
        // A client that got a busy line was rejected, even if the connection was then closed.
        let is_rejected = last == Outcome::Busy
            && matches!(outcome, Outcome::Closed | Outcome::Reset | Outcome::InFlight);
        self.record_close(index, if is_rejected { Outcome::Busy } else { outcome });
    }

    /// Closes a connection after a failed read or write.
    pub(super) fn close_on_error(
        &mut self,
        index: usize,
        error: &io::Error,
        recorder: &mut Recorder,
    ) {
        if let Some(local) = LocalError::of(error) {
            // The server may have replied, so the requests are not failed.
            self.release(index, Outcome::InFlight, recorder);
            self.local_errors.add_many(local, 1);
            return;
        }
        let outcome = match error.kind() {
            // The kernel's retransmissions got no acknowledgement.
            io::ErrorKind::TimedOut => Outcome::TimedOut,
            _ => Outcome::Reset,
        };
        self.close_with(index, outcome, recorder);
    }

    /// Frees the slot of a connection, and completes its requests in flight with this outcome.
    /// Closing the socket removes it from the epoll set.
    pub(super) fn release(&mut self, index: usize, outcome: Outcome, recorder: &mut Recorder) {
        let now = self.read_clock(self.group(index), recorder);
        let in_flight = self.connections[index].in_flight;
        self.complete(index, outcome, in_flight, now, recorder);
        let connection = &mut self.connections[index];
        let was_connecting = std::mem::take(&mut connection.is_connecting);
        if was_connecting {
            self.connecting -= 1;
        }
        connection.stream = None;
        connection.unexpected = None;
        connection.received = 0;
        connection.backlog = 0;
        connection.backlog_written = 0;
        connection.expected = connection.next;
        if let Some(reconnecting) = &mut self.reconnecting {
            match was_connecting {
                true => recorder.record_failed_attempt(now),
                false => drop(reconnecting.slots[index].down_since.get_or_insert(now)),
            }
        }
        if self.lists_freed {
            self.freed.push(Freed { index, has_answered: connection.has_answered });
        }
    }

    /// Counts how the connection of a slot ended.
    pub(super) fn record_close(&mut self, index: usize, outcome: Outcome) {
        let connection = &mut self.connections[index];
        if let Some(reconnecting) = &mut self.reconnecting {
            reconnecting.slots[index].last_close = Some(outcome);
            connection.has_answered = false;
        } else {
            self.closed_outcomes[usize::from(connection.group)].add(outcome);
        }
    }

    /// Closes a connection that is no longer needed. Its outcome is the outcome of its last
    /// request.
    pub(in crate::load) fn close(&mut self, index: usize, recorder: &mut Recorder) {
        self.close_with(index, self.connections[index].last_outcome, recorder);
    }

    /// Resets a connection, whether or not it has requests in flight.
    pub(in crate::load) fn reset(&mut self, index: usize, recorder: &mut Recorder) {
        if let Some(stream) = &self.connections[index].stream {
            reset_on_close(stream);
            let outcome = self.connections[index].outcome_while_open();
            self.close_with(index, outcome, recorder);
        }
    }

    /// Sets all sockets to reset on close, so that no ports stay in TIME_WAIT for a minute.
    pub(in crate::load) fn reset_all_on_close(&self) {
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
pub(super) fn reset_on_close(stream: &TcpStream) {
    // A failure is harmless: a port stays in TIME_WAIT.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
