//! Waits for a connection slot. A server may notice late that an earlier client has disconnected,
//! and reject a client for which a slot is about to be free.

use std::thread;
use std::time::Instant;

use super::TestClient;
use crate::client::ClientError;
use crate::conformance::context::{POLL_INTERVAL, SHORT_TIMEOUT, TestContext};

impl TestClient<'_> {
    /// Sends the first request of a connection and waits for the reply. If the server rejects the
    /// client, and an earlier client has left, connects again until the timeout: the server may not
    /// have freed the slot yet.
    ///
    /// # Errors
    /// No reply arrives.
    pub fn ask_for_slot(&mut self, request: &[u8]) -> Result<Vec<u8>, ClientError> {
        let is_first = self.requests == 0;
        let mut result = self.ask(request);
        if !is_first || !self.ctx.departures().have_occurred() {
            return result;
        }
        let deadline = Instant::now() + self.ctx.deadlines().timeout();
        while self.is_rejection(request, &result) && self.ctx.may_free_a_slot(deadline) {
            thread::sleep(POLL_INTERVAL);
            result = self.reconnect().and_then(|()| self.ask(request));
        }
        result
    }

    /// Replaces the connection by a new one in the same mode.
    pub(super) fn reconnect(&mut self) -> Result<(), ClientError> {
        let address = match self.address {
            Some(address) => address,
            None => self.ctx.address_for_client()?,
        };
        let new = TestClient::connect(self.ctx, address, self.mode, self.ctx.timeout)?;
        *self = TestClient { address: self.address, ..new };
        Ok(())
    }

    /// Returns whether this outcome of the first request means that all connection slots are in
    /// use: a failed connection, the busy line, or any other unexpected line before a close.
    pub(in crate::conformance) fn is_rejection(
        &mut self,
        request: &[u8],
        outcome: &Result<Vec<u8>, ClientError>,
    ) -> bool {
        let is_rejection = match outcome {
            Ok(reply) if self.ctx.contract.is_busy(reply) => true,
            Ok(reply) if self.is_unexpected(request, reply) => {
                let is_closed = self.is_closed_by_server();
                if !is_closed {
                    self.ctx.learned_replies().record_other_value();
                }
                is_closed
            }
            Ok(_) => false,
            Err(error) => is_rejection(error),
        };
        if is_rejection {
            self.presence.set_rejected();
        }
        is_rejection
    }

    /// Returns whether a reply to a plain request can be no reply to it. A plain request is a
    /// number, and its value contains the same digits, transformed as declared.
    fn is_unexpected(&self, request: &[u8], reply: &[u8]) -> bool {
        match self.ctx.learned_replies().get(request) {
            Some(learned) => learned != reply,
            None => {
                let value = self.ctx.contract.echo(request);
                request.iter().all(u8::is_ascii_digit)
                    && !self.ctx.learned_replies().has_other_values()
                    && !reply.windows(value.len().max(1)).any(|part| part == value)
            }
        }
    }

    /// Returns whether the server closes or resets the connection now. A close after the last
    /// request that the contract permits does not count.
    fn is_closed_by_server(&mut self) -> bool {
        let rest = self.client.rest_within(self.ctx.with_round_trips(SHORT_TIMEOUT));
        !self.is_used_up() && matches!(rest, Ok(_) | Err(ClientError::Reset))
    }
}

impl TestContext<'_> {
    /// Returns whether the server may still free a connection slot before the deadline.
    pub(in crate::conformance) fn may_free_a_slot(&self, deadline: Instant) -> bool {
        Instant::now() < deadline && !self.process().is_gone()
    }
}

/// Returns whether the error is a rejection: the server refused, reset or closed the connection.
pub(in crate::conformance) fn is_rejection(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused | ClientError::Reset | ClientError::Closed(_))
}
