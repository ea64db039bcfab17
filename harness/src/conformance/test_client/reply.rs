//! Waits for replies. A wait continues after its timeout while the server uses the CPU, because the
//! server may only lack CPU time.

use std::time::{Duration, Instant};

use super::TestClient;
use crate::client::ClientError;
use crate::conformance::context::BUSY_FACTOR;
use crate::wire::ReplyFraming;

/// Timeout for reading bytes that have already arrived.
const ARRIVED_TIMEOUT: Duration = Duration::from_millis(1);

/// First interval between two checks of whether a server is quiescent.
const FIRST_POLL_INTERVAL: Duration = Duration::from_millis(4);

/// Longest interval between two checks of whether a server is quiescent.
const MAX_POLL_INTERVAL: Duration = Duration::from_millis(64);

/// CPU time after which a server does not lack CPU time, if the wait is shorter.
const SUFFICIENT_CPU_TIME: Duration = Duration::from_secs(2);

impl TestClient<'_> {
    /// Waits for the next reply, up to the timeout of one wait. Strips a carriage return before the
    /// line feed.
    ///
    /// # Errors
    /// No reply arrives.
    pub fn reply(&mut self) -> Result<Vec<u8>, ClientError> {
        let left = self.ctx.time_left()?;
        self.reply_until_asleep(left)
    }

    /// Waits up to `timeout` for the next reply, even if the server uses the CPU.
    ///
    /// # Errors
    /// No reply arrives.
    pub fn reply_within(&mut self, timeout: Duration) -> Result<Vec<u8>, ClientError> {
        let wire = &self.ctx.contract.wire;
        self.complete_handshake()?;
        let mut line = self.client.reply_within(wire, timeout)?;
        self.raw_reply.clone_from(&line);
        if line.last() == Some(&b'\r') && wire.reply_end == ReplyFraming::default() {
            line.pop();
            self.ctx.evidence().warn("replies end with \\r\\n instead of \\n");
        }
        Ok(wire.value_of(line))
    }

    /// Skips replies until the client receives its last reply again, as the end of all data. Takes
    /// less time than to receive them one by one.
    ///
    /// # Errors
    /// The reply does not arrive.
    pub(in crate::conformance) fn skip_until_repeated(&mut self) -> Result<(), ClientError> {
        let wire = &self.ctx.contract.wire;
        let last = self.raw_reply.clone();
        let ReplyFraming::Bytes(end) = &wire.reply_end else {
            loop {
                self.reply()?;
                if self.raw_reply == last {
                    return Ok(());
                }
            }
        };
        let last = [&last, &end[..], wire.prompt.as_deref().unwrap_or_default()].concat();
        let left = self.ctx.time_left()?;
        self.retry_while_working(left, |client, timeout| {
            client.client.discard_until(&last, timeout)
        })
    }

    /// Returns a reply that has already arrived.
    ///
    /// # Errors
    /// No complete reply has arrived.
    pub fn received_reply(&mut self) -> Result<Vec<u8>, ClientError> {
        self.reply_within(ARRIVED_TIMEOUT)
    }

    /// Waits for the next reply. Reports silence after at least `quiet`, and only when the server
    /// is asleep.
    ///
    /// # Errors
    /// No reply arrives.
    pub fn reply_until_asleep(&mut self, quiet: Duration) -> Result<Vec<u8>, ClientError> {
        self.retry_while_working(quiet, Self::reply_within)
    }

    /// Sends a request and waits for its reply. The server must have answered a plain request
    /// before.
    ///
    /// Reports silence after `quiet`, as [`reply_until_asleep`](Self::reply_until_asleep) does.
    /// Reports it earlier if the server is quiescent
    /// ([`concurrency::is_quiescent`](crate::concurrency::is_quiescent)).
    ///
    /// # Errors
    /// The request cannot be sent, or no reply arrives.
    pub(in crate::conformance) fn ask_until_quiescent(
        &mut self,
        expression: &[u8],
        quiet: Duration,
    ) -> Result<Vec<u8>, ClientError> {
        self.raw_ask_until_quiescent(&self.ctx.contract.payload(expression), quiet)
    }

    /// Same as [`ask_until_quiescent`](Self::ask_until_quiescent), with exactly this payload.
    ///
    /// # Errors
    /// The request cannot be sent, or no reply arrives.
    pub(in crate::conformance) fn raw_ask_until_quiescent(
        &mut self,
        payload: &[u8],
        quiet: Duration,
    ) -> Result<Vec<u8>, ClientError> {
        self.until_quiescent(quiet, |client, poll| client.complete_handshake_within(poll))?;
        self.try_raw_request(payload)?;
        self.reply_until_quiescent(quiet)
    }

    /// Waits for the reply to a request that was sent before, as
    /// [`ask_until_quiescent`](Self::ask_until_quiescent) does.
    ///
    /// # Errors
    /// No reply arrives.
    pub(in crate::conformance) fn reply_until_quiescent(
        &mut self,
        quiet: Duration,
    ) -> Result<Vec<u8>, ClientError> {
        self.until_quiescent(quiet, |client, poll| {
            client.complete_handshake_within(poll)?;
            client.reply_within(poll)
        })
    }

    /// Calls `wait` with short timeouts until it returns a result, or the server is quiescent, or
    /// `quiet` has passed and the server is asleep.
    fn until_quiescent<T>(
        &mut self,
        quiet: Duration,
        mut wait: impl FnMut(&mut Self, Duration) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let latest = Instant::now() + quiet * BUSY_FACTOR;
        let mut began = Instant::now();
        let mut poll = FIRST_POLL_INTERVAL;
        let mut received = 0;
        while began.elapsed() + poll < quiet {
            match wait(self, poll) {
                // The rest of a reply may wait for a window update in flight, which no query
                // reports. So only `quiet` without further bytes counts as silence.
                Err(ClientError::Silent(_, bytes)) if !bytes.is_empty() => {
                    if bytes.len() > received && Instant::now() < latest {
                        received = bytes.len();
                        began = Instant::now();
                    }
                }
                // The first check covers the request, the second one the reply.
                Err(ClientError::Silent(..))
                    if self.is_delivered()
                        && self.ctx.is_quiescent_since(began)
                        && self.is_delivered() =>
                {
                    // The reply may have arrived after the last wait, just before the server fell
                    // asleep.
                    return wait(self, ARRIVED_TIMEOUT).map_err(|error| match error {
                        ClientError::Silent(_, bytes) => {
                            ClientError::Silent(began.elapsed(), bytes)
                        }
                        other => other,
                    });
                }
                Err(ClientError::Silent(..)) => {}
                result => return result,
            }
            poll = (poll * 2).min(MAX_POLL_INTERVAL);
        }
        let rest = quiet.saturating_sub(began.elapsed()).max(ARRIVED_TIMEOUT);
        self.retry_while_working(rest, wait)
    }

    /// Calls `wait` with the timeout `quiet`. Repeats the call while it times out and the server
    /// uses the CPU, until the server has had enough CPU time. Once the server is asleep, makes a
    /// last call.
    fn retry_while_working<T>(
        &mut self,
        quiet: Duration,
        mut wait: impl FnMut(&mut Self, Duration) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let left = self.ctx.time_left()?;
        let (began, mut waited) = (Instant::now(), Duration::ZERO);
        // Reading it costs as much as many replies, so it is read after the first timeout.
        let mut cpu_time_at_timeout = None;
        let ctx = self.ctx;
        let mut has_enough_cpu_time = || {
            let cpu_time = ctx.process().cpu_time();
            let before = *cpu_time_at_timeout.get_or_insert(cpu_time);
            cpu_time.saturating_sub(before) >= quiet.max(SUFFICIENT_CPU_TIME)
        };
        let result = loop {
            waited += quiet;
            match wait(self, quiet) {
                // The reply may have arrived after the last wait, just before the server fell
                // asleep.
                Err(ClientError::Silent(..)) if self.ctx.process().is_asleep() => {
                    break wait(self, ARRIVED_TIMEOUT);
                }
                Err(silent @ ClientError::Silent(..)) if has_enough_cpu_time() => {
                    break Err(silent);
                }
                Err(ClientError::Silent(..)) if began.elapsed() < left * BUSY_FACTOR => {}
                Err(silent @ ClientError::Silent(..)) => {
                    self.ctx.process().record_working();
                    break Err(silent);
                }
                result => break result,
            }
        };
        result.map_err(|error| match error {
            // The deadline of the case limited the wait, and has passed.
            ClientError::Silent(..) if left <= waited && left < self.ctx.timeout => {
                self.ctx.deadlines().out_of_time()
            }
            ClientError::Silent(_, bytes) => ClientError::Silent(waited, bytes),
            other => other,
        })
    }

    /// Reads until the server closes the connection, and returns the bytes.
    ///
    /// # Errors
    /// The server resets the connection or leaves it open.
    pub fn rest(&mut self) -> Result<Vec<u8>, ClientError> {
        let left = self.ctx.time_left()?;
        let rest =
            self.retry_while_working(left, |client, timeout| client.client.rest_within(timeout))?;
        Ok(self.ctx.contract.wire.without_prompt(rest))
    }
}
