//! Clients that send more than the server can buffer, or send without pause.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::{QUIET, TestClient};
use crate::conformance::assumptions::{PIPELINING, SLEEP};
use crate::conformance::context::BUSY_FACTOR;
use crate::conformance::failure::Failure;
use crate::conformance::requests::request;
use crate::conformance::threads::spawn_scoped;

/// Number of requests between two measurements of the server's memory. If the server has many
/// processes, a measurement takes longer than sending the requests.
const REQUESTS_PER_ROUND: usize = 10_000;

/// Number of requests that must be answered before the client stops reading.
const WARM_UP_REQUESTS: usize = 20;

/// Permitted growth of the memory of a server that buffers no requests or replies, in bytes.
pub(in crate::conformance) const MAX_MEMORY_GROWTH: u64 = 4 * 1024 * 1024;

/// Maximum number of bytes sent to a server that should stop reading. It exceeds the socket buffers
/// of both sides (`tcp_rmem`, `tcp_wmem`).
const MAX_SENT: usize = 64 * 1024 * 1024;

/// Number of bytes of requests that a server may read before it sends the replies to the kernel.
const MAX_PENDING: usize = 2 * 1024 * 1024;

/// Time without progress on the connection after which a server that does not sleep, because it
/// spins, has stopped reading.
const MAX_STUCK: Duration = Duration::from_secs(1);

/// Behaviour of a server whose client sends requests and reads no replies.
#[derive(Clone, Copy, Debug)]
pub enum OverfillOutcome {
    /// The server stops reading until the client reads (back-pressure).
    BackPressure {
        /// Growth of the server's memory, in bytes.
        growth: u64,
    },
    /// The server keeps reading, and its memory grows by more than `MAX_MEMORY_GROWTH`.
    Buffers {
        /// Number of bytes sent to the server.
        sent: usize,
        /// Growth of the server's memory, in bytes.
        growth: u64,
    },
}

impl TestClient<'_> {
    /// Sends requests and reads no replies, until the server stops reading, or until it is clear
    /// that it does not.
    ///
    /// A server buffers without limit if it has read far more requests than the kernel has replies,
    /// and its memory has grown. Memory alone proves nothing: the heap of a garbage collector also
    /// grows for data that is no longer used.
    ///
    /// # Errors
    /// The server keeps reading although its memory does not grow, so it discards replies. Or it
    /// has not stopped reading before the deadline. The case is then inconclusive.
    pub fn fill_buffers(&mut self) -> Result<OverfillOutcome, Failure> {
        self.check_pipelining(WARM_UP_REQUESTS)?;
        self.ctx.process().wait_until_asleep();
        self.client.set_timeout(QUIET);
        let outcome = self.send_until_blocked();
        self.client.set_timeout(self.ctx.timeout);
        outcome
    }

    fn send_until_blocked(&mut self) -> Result<OverfillOutcome, Failure> {
        let requests = self.ctx.contract.sent(&request(1)).repeat(REQUESTS_PER_ROUND);
        let memory = || self.ctx.resources().usage().anonymous_bytes;
        let before = memory();
        let growth = || memory().saturating_sub(before);
        let deadline = Instant::now() + self.ctx.timeout * BUSY_FACTOR;
        let mut sent = 0;
        let (mut ends, mut stuck_since) = (None, Instant::now());
        while Instant::now() < deadline {
            let is_send_blocked = self.client.send(&requests).is_err();
            if !is_send_blocked {
                sent += requests.len();
            }
            let keeps_reading = match self.pending(sent) {
                Some(pending) => pending > MAX_PENDING,
                None => sent > MAX_SENT,
            };
            if keeps_reading && growth() > MAX_MEMORY_GROWTH {
                return Ok(OverfillOutcome::Buffers { sent, growth: growth() });
            }
            if sent > MAX_SENT {
                // The server has read more than it may buffer, and its memory did not grow by
                // MAX_MEMORY_GROWTH. So it discards replies.
                let text = format!("the server read {sent} bytes of requests and keeps no replies");
                return Err(Failure::assumption_failed(PIPELINING, text));
            }
            if is_send_blocked && self.ctx.process().is_asleep() {
                return Ok(OverfillOutcome::BackPressure { growth: growth() });
            }
            let ends_now = self.ends();
            if !is_send_blocked || ends_now.is_none() || ends_now != ends {
                (ends, stuck_since) = (ends_now, Instant::now());
            }
            if stuck_since.elapsed() > MAX_STUCK {
                return Ok(OverfillOutcome::BackPressure { growth: growth() });
            }
        }
        Err(Failure::assumption_failed(SLEEP, "the server never waited for its client to read"))
    }

    /// Returns how many bytes of requests the server has read for which the kernel has no reply, at
    /// least. `sent` is the number of bytes that the client has sent. `None` if the kernel does not
    /// report the buffers of the connection.
    fn pending(&self, sent: usize) -> Option<usize> {
        let (client, server) = self.ends()?;
        let unread = client.unacknowledged as usize + server.unread as usize;
        let replies = server.unacknowledged as usize + client.unread as usize;
        // A reply on the wire is at least as long as its value and a terminator.
        let reply = self.ctx.learned_replies().get(&request(1))?.len() + 1;
        let answered = (replies / reply + 1) * self.ctx.contract.sent(&request(1)).len();
        Some(sent.saturating_sub(unread).saturating_sub(answered))
    }

    /// Sends requests without pause and reads the replies while `experiment` runs. Then closes the
    /// connection.
    ///
    /// # Errors
    /// The harness cannot duplicate the socket or create a thread.
    pub fn while_flooding<T>(&mut self, experiment: impl FnOnce() -> T) -> Result<T, Failure> {
        let duplicate_socket = || {
            self.client.stream().map_err(|error| {
                Failure::client_error("the harness can duplicate a socket", &error)
            })
        };
        let (mut sending, mut receiving) = (duplicate_socket()?, duplicate_socket()?);
        let (answered_tx, answered_rx) = mpsc::sync_channel(1);
        let flood = self.ctx.contract.sent(&request(1)).repeat(1000);
        thread::scope(|scope| {
            spawn_scoped(scope, || while sending.write_all(&flood).is_ok() {})?;
            spawn_scoped(scope, || {
                let mut replies = vec![0; 64 * 1024];
                while matches!(receiving.read(&mut replies), Ok(1..)) {
                    let _ = answered_tx.try_send(());
                }
            })
            .inspect_err(|_| self.client.shut_down())?;
            // Start the experiment after the first reply to the flood.
            let _ = answered_rx.recv_timeout(self.ctx.timeout);
            let result = experiment();
            // This ends both threads.
            self.client.shut_down();
            Ok(result)
        })
    }
}
