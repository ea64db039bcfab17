//! Receives data from the probed server, and decides when no more data is expected.

use std::cell::Cell;
use std::mem;
use std::time::{Duration, Instant};

use super::instance::Instance;
use crate::client::{Client, ClientError};
use crate::concurrency;
use crate::server::{diag, proc};

/// Silence after which no more data is expected from a sleeping server that may have timers.
const SILENCE_WITH_TIMERS: Duration = Duration::from_millis(250);

/// Minimum silence after which no more data is expected from a server without timers.
const SILENCE_WITHOUT_TIMERS: Duration = Duration::from_millis(10);

/// The silence of a server without timers is also at least this multiple of its slowest reply.
const SLOWEST_REPLY_FACTOR: u32 = 6;

/// Time limit for the first byte.
const NO_DATA_TIMEOUT: Duration = Duration::from_secs(10);

/// Silence and CPU time after which no more data is expected from a server that uses the CPU.
const CPU_TIME_LIMIT: Duration = Duration::from_millis(500);

/// The same limit for a server that has used the CPU in silence before.
const REPEATED_CPU_TIME_LIMIT: Duration = Duration::from_millis(100);

/// Time limit for a server that keeps sending.
const UNENDING_DATA_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of bytes to receive.
const MAX_RECEIVED: usize = 256 * 1024;

/// First pause between two checks for received data; doubled while no data arrives.
const FIRST_PAUSE: Duration = Duration::from_millis(3);

/// Pause for each further client.
const SHORT_PAUSE: Duration = Duration::from_millis(1);

/// Longest pause between two checks.
const MAX_PAUSE: Duration = Duration::from_millis(32);

/// Received bytes, and whether the server closed the connection after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    pub(super) is_closed: bool,
}

impl Instance<'_> {
    /// Disconnects the client, and waits until the server has handled the disconnect.
    pub(super) fn disconnect(&self, mut client: Client) {
        if client.half_close().is_ok() {
            self.receive(&mut client);
        }
    }

    /// Receives until no more data is expected.
    pub(super) fn receive(&self, client: &mut Client) -> Received {
        self.receive_until(client, Instant::now(), |_| false)
    }

    /// Receives a greeting until it is complete or no more data is expected.
    pub(super) fn greeting(
        &self,
        client: &mut Client,
        is_complete: impl Fn(&[u8]) -> bool,
    ) -> Received {
        self.receive_until(client, Instant::now(), is_complete)
    }

    /// Sends a request, and receives until the reply is complete or no more data is expected.
    /// `None` if the request cannot be sent.
    pub(super) fn ask(
        &self,
        client: &mut Client,
        request: &[u8],
        is_complete: impl Fn(&[u8]) -> bool,
    ) -> Option<Received> {
        client.send(request).ok()?;
        let (sent_at, reply_time) = (Instant::now(), Cell::new(None));
        let received = self.receive_until(client, sent_at, |bytes| {
            reply_time.set(reply_time.get().or_else(|| Some(sent_at.elapsed())));
            is_complete(bytes)
        });
        self.slowest_reply.set(self.slowest_reply.get().max(reply_time.get()));
        Some(received)
    }

    /// Receives until the data is complete or no more data is expected.
    fn receive_until(
        &self,
        client: &mut Client,
        since: Instant,
        is_complete: impl Fn(&[u8]) -> bool,
    ) -> Received {
        self.receive_from(&mut [client], since, is_complete).remove(0)
    }

    /// Receives from several clients, until the data of each is complete or no more data is
    /// expected by any of them. The silence began at `since`.
    pub(super) fn receive_all<'c>(
        &self,
        clients: impl IntoIterator<Item = &'c mut Client>,
        since: Instant,
    ) -> Vec<Received> {
        self.receive_from(&mut Vec::from_iter(clients), since, |_| false)
    }

    /// Receives from several clients until their data is complete or no more data is expected. No
    /// more data is expected when the server closes the connections, cannot act without input,
    /// sleeps in silence, or exceeds a limit.
    fn receive_from(
        &self,
        clients: &mut [&mut Client],
        since: Instant,
        is_complete: impl Fn(&[u8]) -> bool,
    ) -> Vec<Received> {
        let began = Instant::now();
        let cpu_time_before = self.cpu_time();
        let (mut silent_since, mut pause) = (since, FIRST_PAUSE);
        let nothing = Received { bytes: Vec::new(), is_closed: false };
        let mut received = vec![nothing; clients.len()];
        let mut open: Vec<usize> = (0..clients.len()).collect();
        loop {
            let (mut wait, mut is_silent) = (pause, true);
            open.retain(|&index| {
                let Received { bytes, is_closed } = &mut received[index];
                match clients[index].read_for(mem::replace(&mut wait, SHORT_PAUSE)) {
                    Ok(more) if more.is_empty() => true,
                    Ok(more) => {
                        is_silent = false;
                        bytes.extend(more);
                        !is_complete(bytes)
                    }
                    Err(error) => {
                        if let ClientError::Closed(more) = error {
                            bytes.extend(more);
                        }
                        *is_closed = true;
                        false
                    }
                }
            });
            if open.is_empty() {
                return received;
            }
            (silent_since, pause) = match is_silent {
                true => (silent_since, (pause * 2).min(MAX_PAUSE)),
                false => (Instant::now(), FIRST_PAUSE),
            };
            let silence = silent_since.elapsed();
            let longest = received.iter().map(|it| it.bytes.len()).max().unwrap_or(0);
            let timeout = if longest == 0 { NO_DATA_TIMEOUT } else { UNENDING_DATA_TIMEOUT };
            let exceeds_limit = longest > MAX_RECEIVED || began.elapsed() > timeout;
            let cpu_time_limit = match self.spins.get() {
                true => REPEATED_CPU_TIME_LIMIT,
                false => CPU_TIME_LIMIT,
            };
            let has_used_cpu = silence > cpu_time_limit.max(SILENCE_WITH_TIMERS)
                && self.cpu_time().saturating_sub(cpu_time_before) >= cpu_time_limit;
            if has_used_cpu {
                self.spins.set(true);
            }
            let is_delivered = || {
                let mut addresses = open.iter().map(|&index| clients[index].addresses());
                addresses.all(|it| it.is_some_and(|(own, server)| diag::is_delivered(server, own)))
            };
            if exceeds_limit
                || has_used_cpu
                || self.is_quiescent(silence, longest > 0, is_delivered)
                || silence >= SILENCE_WITH_TIMERS && self.is_asleep()
            {
                return received;
            }
        }
    }

    /// Returns whether the server has received all data of its clients (`is_delivered`) and cannot
    /// act without further input. False if the server has not sent anything and its reply time is
    /// unknown.
    fn is_quiescent(
        &self,
        silence: Duration,
        has_sent: bool,
        is_delivered: impl Fn() -> bool,
    ) -> bool {
        let min_silence = match self.slowest_reply.get() {
            Some(slowest) => SILENCE_WITHOUT_TIMERS.max(slowest * SLOWEST_REPLY_FACTOR),
            None if has_sent => SILENCE_WITHOUT_TIMERS,
            None => return false,
        };
        let Some(server) = &self.server else { return false };
        // The first check ensures that the server has the requests; the second, that its replies
        // have arrived.
        silence >= min_silence
            && is_delivered()
            && concurrency::is_quiescent(|| server.process.tree())
            && is_delivered()
    }

    fn is_asleep(&self) -> bool {
        self.server.as_ref().is_none_or(|server| proc::is_asleep(&server.process.tree()))
    }

    fn cpu_time(&self) -> Duration {
        self.server.as_ref().map_or(Duration::ZERO, |server| proc::cpu_time(&server.process.tree()))
    }
}
