//! Connect steps: a new client is served, waits for a connection slot, or is rejected.

use std::mem;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::model::Model;
use super::step::MAX_CONNECTED;
use crate::client::ClientError;
use crate::conformance::clients::SLOT_HINT;
use crate::conformance::context::POLL_INTERVAL;
use crate::conformance::failure::Failure;
use crate::conformance::requests::request;
use crate::conformance::test_client::{TestClient, is_rejection};
use crate::results::Fault;
use crate::text::printable;

/// Timeout of one read by a client that must be rejected. After it, the client checks whether the
/// server is asleep.
const READ_TIMEOUT: Duration = Duration::from_millis(20);

impl Model<'_> {
    /// Connects one more client. Skips the step if the model cannot predict the outcome.
    pub(super) fn connect(&mut self) -> Result<(), Failure> {
        let waiting = self.clients.len() - self.served() + self.left_while_waiting;
        if self.served() < self.slots.free {
            self.connect_served()
        } else if waiting < self.slots.queue {
            if self.clients.len() < MAX_CONNECTED { self.connect_waiting() } else { Ok(()) }
        } else if self.slots.rejects && self.left_while_waiting == 0 {
            self.connect_rejected()
        } else {
            Ok(())
        }
    }

    /// Connects a client, and requires that it gets a connection slot and a reply.
    pub(super) fn connect_served(&mut self) -> Result<(), Failure> {
        if mem::take(&mut self.left_while_waiting) > 0 {
            // The server may still have to handle clients that disconnected before they were
            // accepted.
            self.ctx.process().wait_until_asleep();
        }
        let (number, request_number) = (self.next_connection(), self.next_request());
        let sent = printable(&request(request_number));
        self.record_step(format!("client {number} connects and sends {sent}"));
        let expected =
            format!("client {number} gets a free connection slot and the reply to {sent}");
        let client_error = |error: &ClientError| Failure::client_error(&expected, error);
        let deadline = Instant::now() + self.ctx.time_left().map_err(|it| client_error(&it))?;
        loop {
            let served = self.ctx.clients().try_connect().and_then(|mut client| {
                let served = client.ask(&request(request_number));
                let is_rejected = client.is_rejection(&request(request_number), &served);
                Ok((client, served?, is_rejected))
            });
            let rejection = match served {
                Ok((_, reply, true)) => printable(&reply),
                Ok((client, reply, false)) => {
                    self.check_reply(number, request_number, &reply)?;
                    self.add_served(client);
                    return Ok(());
                }
                Err(error) if is_rejection(&error) => error.to_string(),
                Err(other) => {
                    let has_others = !self.clients.is_empty() || self.slots.background > 0;
                    return Err(client_error(&other).starved(has_others));
                }
            };
            if Instant::now() > deadline {
                let observed = format!("{rejection} at every attempt until the timeout");
                return Err(Failure::fail(expected, observed)
                    .hang()
                    .fault(Fault::Rejects)
                    .hint(SLOT_HINT));
            }
            sleep(POLL_INTERVAL);
        }
    }

    /// Connects a client, which must wait because all slots are in use.
    fn connect_waiting(&mut self) -> Result<(), Failure> {
        let number = self.next_connection();
        self.record_step(format!("client {number} connects and waits"));
        let client = self.ctx.clients().try_connect().map_err(|error| {
            let expected = format!("client {number} connects and waits for a connection slot");
            Failure::client_error(expected, &error)
        })?;
        self.add_waiting(client);
        Ok(())
    }

    /// Connects a client, and requires that the server rejects it. Other cases test the kind of
    /// rejection.
    fn connect_rejected(&mut self) -> Result<(), Failure> {
        let number = self.next_connection();
        self.record_step(format!("client {number} connects"));
        let expected =
            format!("client {number} is rejected, because all connection slots are taken");
        let client_error = |error: &ClientError| Failure::client_error(&expected, error);
        let mut client = match self.ctx.clients().try_connect() {
            Ok(client) => client,
            Err(error) if is_rejection(&error) => return Ok(()),
            Err(other) => return Err(client_error(&other)),
        };
        let deadline = Instant::now() + self.ctx.time_left().map_err(|it| client_error(&it))?;
        match self.rejection(&mut client, deadline) {
            Ok(line) if self.ctx.contract.is_busy(&line) => Ok(()),
            Err(error) if is_rejection(&error) => Ok(()),
            Ok(line) => {
                let observed = format!("it is served with the reply {}", printable(&line));
                Err(Failure::fail(expected, observed)
                    .fault(Fault::MoreThanDeclared)
                    .hint("count each connection once, before it is handed to a worker"))
            }
            Err(other) => Err(match client_error(&other) {
                failure if failure.fault.is_hang() => failure.fault(Fault::DoesNotReject).hint(
                    "a connection over the limit waits: accept it, reject it as declared, and \
                     close it",
                ),
                failure => failure,
            }),
        }
    }

    /// Returns the reply or error that a client receives. The client sends a request only if
    /// nothing arrives: unread input would make the server's close a reset, which loses the busy
    /// line.
    fn rejection(
        &mut self,
        client: &mut TestClient<'_>,
        deadline: Instant,
    ) -> Result<Vec<u8>, ClientError> {
        loop {
            match client.reply_within(READ_TIMEOUT) {
                Err(ClientError::Silent(..))
                    if Instant::now() > deadline || self.ctx.process().is_asleep() =>
                {
                    return client.ask(&request(self.next_request()));
                }
                Err(ClientError::Silent(..)) => {}
                received => return received,
            }
        }
    }
}
