//! Sending requests.

use std::io::{ErrorKind, Write};

use super::Connections;
use crate::load::recorder::{Flight, Recorder};
use crate::load::request_reply::MAX_BATCH;
use crate::results::Outcome;

/// Maximum number of requests in flight on one connection; further requests are not sent.
pub(in crate::load) const MAX_IN_FLIGHT: u32 = 64 * 1024;

impl Connections {
    /// Sends the next `count` requests on a connection, unless too many are in flight. `scheduled`
    /// is their scheduled time in an open loop.
    pub(in crate::load) fn send_requests(
        &mut self,
        index: usize,
        count: u32,
        scheduled: Option<u64>,
        now: u64,
        recorder: &mut Recorder,
    ) {
        if self.enqueue(index, count, scheduled, now, recorder) {
            self.send(index, u32::MAX, recorder);
        }
    }

    /// Adds requests to the backlog, as [`send_requests`](Self::send_requests) does, without
    /// sending them. Returns false if too many are in flight.
    pub(in crate::load) fn enqueue(
        &mut self,
        index: usize,
        count: u32,
        scheduled: Option<u64>,
        now: u64,
        recorder: &mut Recorder,
    ) -> bool {
        let connection = &mut self.connections[index];
        if connection.in_flight + count > MAX_IN_FLIGHT {
            recorder.record_unsent(Outcome::Stalled, scheduled.unwrap_or(now), now);
            return false;
        }
        recorder.integrate(self.in_flight[usize::from(connection.group)], now);
        let cycle = &self.cycles[usize::from(connection.group)];
        connection.next = cycle.after(connection.next, count);
        connection.backlog += count;
        connection.in_flight += count;
        if let Some(reconnecting) = &mut self.reconnecting {
            let slot = &mut reconnecting.slots[index];
            slot.enqueued = slot.enqueued.saturating_add(count);
        }
        self.in_flight[usize::from(connection.group)] += u64::from(count);
        let flight = Flight { scheduled, sent: now, count };
        connection.flights.push_back(flight);
        recorder.record_sent(flight);
        true
    }

    /// Sends the backlog, at most `max_bytes` bytes, until the socket would block.
    pub(in crate::load) fn send(&mut self, index: usize, max_bytes: u32, recorder: &mut Recorder) {
        let connection = &mut self.connections[index];
        let Some(mut stream) = connection.stream.as_ref() else { return };
        let cycle = &self.cycles[usize::from(connection.group)];
        let mut bytes_left = max_bytes as usize;
        while usize::from(connection.opening_sent) < self.opening.request.len() {
            match stream.write(&self.opening.request[usize::from(connection.opening_sent)..]) {
                Ok(written) => connection.opening_sent += written as u16,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.close_on_error(index, &error, recorder),
            }
        }
        while connection.backlog > 0 && bytes_left > 0 {
            let count = connection.backlog.min(MAX_BATCH as u32);
            let first =
                cycle.after(connection.next, cycle.len() - connection.backlog % cycle.len());
            let bytes = &cycle.requests(first, count)[connection.backlog_written as usize..];
            let bytes = &bytes[..bytes.len().min(bytes_left)];
            match stream.write(bytes) {
                Ok(written) => {
                    bytes_left -= written;
                    let done = connection.backlog_written + written as u32;
                    (connection.backlog, connection.backlog_written) =
                        cycle.remaining(first, connection.backlog, done);
                    if written < bytes.len() {
                        return;
                    }
                }
                // Resumed when the kernel reports that the socket is writable.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.close_on_error(index, &error, recorder),
            }
        }
    }
}
