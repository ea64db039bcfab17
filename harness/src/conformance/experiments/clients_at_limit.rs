//! Experiment: connects clients until the server reaches its connection limit.

use std::thread;
use std::time::Instant;

use servers::OverloadPolicy;

use super::over_limit::{OverLimit, connect_over_limit, rejection_timeout};
use crate::client::ClientError;
use crate::conformance::context::{POLL_INTERVAL, SHORT_TIMEOUT, TestContext};
use crate::conformance::failure::Failure;
use crate::conformance::precondition::MAX_CLIENTS;
use crate::conformance::requests::request;
use crate::conformance::test_client::{QUIET, TestClient, is_rejection};
use crate::contract::Declared;
use crate::figures::counted;

/// Number of connections opened in the first round to fill the queue. Each round opens twice as
/// many as the round before it.
const CONNECTIONS_PER_ROUND: usize = 16;

/// Number of waiting connections after which a queue counts as one without limit, if the time of
/// the case ended the search for its limit.
const LONG_QUEUE: usize = 64;

/// The clients of a server at its connection limit.
pub(in crate::conformance) struct ClientsAtLimit<'s> {
    /// Clients that the server answers.
    pub(in crate::conformance) served: Vec<TestClient<'s>>,
    /// Clients that the server has accepted and does not answer: they wait for a slot.
    pub(in crate::conformance) waiting: Vec<TestClient<'s>>,
    /// Outcome of the first connection that is neither served nor waiting. `None` if
    /// [`MAX_CLIENTS`] connections were open first, or while [`fill_queue`](Self::fill_queue) has
    /// not been called and a client waits.
    pub(in crate::conformance) next: Option<OverLimit>,
    /// Whether the time of the case ended the search for the limit.
    pub(in crate::conformance) is_out_of_time: bool,
    /// Whether the kernel reports which connections the server has accepted (`sock_diag`).
    pub(in crate::conformance) is_acceptance_known: bool,
}

impl<'s> ClientsAtLimit<'s> {
    /// Connects clients one by one and sends a request on each, until a client gets no reply or
    /// [`MAX_CLIENTS`] are connected.
    ///
    /// # Errors
    /// The first client gets no reply. The case is then inconclusive.
    pub(in crate::conformance) fn connect(
        ctx: &'s TestContext<'_>,
    ) -> Result<ClientsAtLimit<'s>, Failure> {
        let mut first = ctx.clients().connect()?;
        let reply = first.learn_reply(&request(1))?;
        let is_acceptance_known = first.is_accepted();
        let mut clients = ClientsAtLimit {
            served: vec![first],
            waiting: Vec::new(),
            next: None,
            is_out_of_time: false,
            is_acceptance_known,
        };
        while clients.waiting.is_empty() && clients.next.is_none() && clients.may_continue(ctx) {
            clients.connect_next(ctx, &reply)?;
        }
        Ok(clients)
    }

    /// Connects the next client, sends a request, and records the outcome.
    fn connect_next(&mut self, ctx: &'s TestContext<'_>, reply: &[u8]) -> Result<(), Failure> {
        let began = Instant::now();
        let slot_freed_after = ctx.with_round_trips(QUIET);
        // An earlier client may still hold a slot.
        let may_free_slot = ctx.departures().are_within(SHORT_TIMEOUT);
        let mut answered = ctx.clients().try_connect().map(|mut client| {
            // If a pause ends a reply, do not wait for the pause after the expected reply.
            client.client.anticipate(reply.to_vec());
            let answer = client.ask_until_quiescent(&request(1), rejection_timeout(ctx));
            (client, answer)
        });
        let is_rejected = match &mut answered {
            Ok((client, answer)) => client.is_rejection(&request(1), answer),
            Err(error) => is_rejection(error),
        };
        if is_rejected && may_free_slot {
            thread::sleep(POLL_INTERVAL);
            return Ok(());
        }
        match answered {
            Ok((_, Err(ClientError::OutOfTime))) | Err(ClientError::OutOfTime) => {
                self.is_out_of_time = true;
            }
            // The server closed an idle connection and gave its slot to the new client.
            Ok((_, Ok(line)))
                if line == reply && began.elapsed() > slot_freed_after && self.has_lost_first() =>
            {
                self.next = Some(OverLimit::Unanswered);
            }
            Ok((client, Ok(line))) if line == reply => self.served.push(client),
            Ok((client, Err(ClientError::Silent(..)))) if client.is_accepted() => {
                self.waiting.push(client);
            }
            Ok((_, Err(ClientError::Silent(..)))) => self.next = Some(OverLimit::Unanswered),
            Err(ClientError::Io(error)) => return Err(Failure::inconclusive(error)),
            Err(ClientError::Local(error)) => return Err(Failure::inconclusive(error.text())),
            // This client has sent data, so a reset may have discarded the busy line. Connect
            // another client, which first only reads.
            _ => self.next = Some(connect_over_limit(ctx).0),
        }
        Ok(())
    }

    /// Opens connections that send nothing, until a connection is rejected or stays in the accept
    /// queue, or [`MAX_CLIENTS`] are connected.
    ///
    /// # Errors
    /// The server never becomes idle, so it may still answer some of the connections.
    pub(in crate::conformance) fn fill_queue(
        &mut self,
        ctx: &'s TestContext<'_>,
    ) -> Result<(), Failure> {
        let mut connections = CONNECTIONS_PER_ROUND;
        while !self.waiting.is_empty() && self.next.is_none() && self.may_continue(ctx) {
            let mut connected = Vec::new();
            let mut rejected = None;
            while connected.len() < connections.min(self.remaining()) && rejected.is_none() {
                match ctx.clients().try_connect() {
                    Ok(client) => connected.push(client),
                    Err(ClientError::OutOfTime) => {
                        self.is_out_of_time = true;
                        break;
                    }
                    Err(error) => rejected = Some(OverLimit::of_connect_error(error)),
                }
            }
            ctx.clients().wait_until_quiescent(&connected, rejection_timeout(ctx));
            let never_idle = || Failure::inconclusive("the server never becomes idle");
            ctx.wait_until(|| ctx.process().is_asleep(), never_idle)?;
            for mut client in connected {
                let outcome = match client.received_reply() {
                    Err(ClientError::Silent(..)) if client.is_accepted() => {
                        self.waiting.push(client);
                        continue;
                    }
                    Err(ClientError::Silent(..)) => OverLimit::Unanswered,
                    received => OverLimit::of_received(ctx, &mut client, received),
                };
                rejected = Some(outcome);
                break;
            }
            self.next = rejected;
            connections *= 2;
        }
        Ok(())
    }

    /// Returns the overload policy of the server, if any. Call this function after
    /// [`fill_queue`](Self::fill_queue). If the queue has no limit, connections over the limit
    /// wait.
    pub(in crate::conformance) fn policy(&self) -> Option<OverloadPolicy> {
        match &self.next {
            Some(next) => next.policy(),
            None if self.is_out_of_time && self.waiting.len() < LONG_QUEUE => None,
            None => (!self.waiting.is_empty()).then_some(OverloadPolicy::Wait),
        }
    }

    /// Returns whether the server has closed the connection of the first client.
    fn has_lost_first(&mut self) -> bool {
        !matches!(self.served[0].received_reply(), Err(ClientError::Silent(..)))
    }

    /// Returns whether the case may open another connection and has time for it.
    fn may_continue(&mut self, ctx: &TestContext<'_>) -> bool {
        if self.remaining() == 0 {
            return false;
        }
        self.is_out_of_time |= !ctx.permits_a_step();
        !self.is_out_of_time
    }

    /// Returns the number of connections that the case may still open.
    fn remaining(&self) -> usize {
        MAX_CLIENTS - self.served.len() - self.waiting.len()
    }

    /// Returns whether the server served all connections that a case may open.
    pub(in crate::conformance) fn has_no_limit(&self) -> bool {
        self.next.is_none() && self.waiting.is_empty()
    }

    /// Describes the served connections, and the outcome of the next one.
    pub(in crate::conformance) fn served_text(&self) -> String {
        let served = counted(self.served.len(), "connection");
        match &self.next {
            Some(next) => format!("{served} served at a time; the next one: {}", next.text()),
            None if self.is_out_of_time => {
                format!("at least {served} served at a time; the case had no time for more")
            }
            None if self.has_no_limit() => format!("at least {served} served at a time"),
            None => format!("{served} served at a time; the next one is queued"),
        }
    }

    /// Describes the outcome of the first connection that is neither served nor queued.
    pub(in crate::conformance) fn overload_text(&self) -> String {
        let used = match self.waiting.len() {
            0 => format!("{} served", counted(self.served.len(), "connection")),
            queued => {
                format!("{} served and {queued} queued", counted(self.served.len(), "connection"))
            }
        };
        match &self.next {
            Some(next) => format!("{used}; the next one: {}", next.text()),
            None if self.is_out_of_time => {
                format!("no limit found: {used}; the case had no time for more")
            }
            None => format!("no limit found: {used}, the maximum that a case opens"),
        }
    }

    /// Returns the declaration of the detected connection limit, and of the overload policy if the
    /// contract does not declare one.
    pub(in crate::conformance) fn declaration(&self, ctx: &TestContext<'_>) -> Declared {
        if self.has_no_limit() {
            return Declared::default();
        }
        let next = self.next.as_ref().filter(|_| ctx.contract.when_full.is_none());
        let when_full = next.map(OverLimit::declaration).unwrap_or_default();
        Declared { capacity: Some(self.served.len()), ..when_full }
    }
}
