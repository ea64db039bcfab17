//! Model of the contract: runs the steps of a schedule, and requires the outcome of each step.

use std::collections::VecDeque;
use std::thread::sleep;
use std::time::Duration;

use super::step::{MAX_BURST, Step};
use crate::client::ClientError;
use crate::conformance::context::TestContext;
use crate::conformance::failure::Failure;
use crate::conformance::requests::{halves, request};
use crate::conformance::test_client::TestClient;
use crate::results::Fault;
use crate::text::printable;

/// Number of distinct requests of a schedule.
pub(super) const REQUESTS: usize = 80;

/// Number of these requests that are reserved for the end of the schedule.
const RESERVED_REQUESTS: usize = 24;

/// Duration of a pause of all clients, in which unexpected bytes can arrive.
const STALL: Duration = Duration::from_millis(2);

/// The connection slots of the server, and the outcome of connections beyond them.
#[derive(Clone, Copy)]
pub(super) struct Slots {
    /// Number of slots for the clients of a schedule.
    pub(super) free: usize,
    /// Number of slots in use by background clients.
    pub(super) background: usize,
    /// Number of clients that can wait for a slot, in the server or in the kernel.
    pub(super) queue: usize,
    /// Whether the server rejects clients beyond slots and queue. If not, the schedule connects no
    /// such client.
    pub(super) rejects: bool,
}

/// A client of a schedule.
pub(super) struct ModelClient<'s> {
    number: usize,
    client: TestClient<'s>,
    /// Whether the client still waits for a slot.
    is_waiting: bool,
    /// Numbers of the requests whose replies the client has not read yet.
    pending: VecDeque<usize>,
    /// Number of the request whose second half the client has not sent yet, if any.
    partial: Option<usize>,
}

/// A schedule in progress.
pub(super) struct Model<'s> {
    pub(super) ctx: &'s TestContext<'s>,
    pub(super) slots: Slots,
    /// Connected clients, in the order in which they connected.
    pub(super) clients: Vec<ModelClient<'s>>,
    /// Number of clients that disconnected while they waited, perhaps before the server accepted
    /// them.
    pub(super) left_while_waiting: usize,
    /// Number of clients that have connected so far.
    connections: usize,
    /// Number of requests used so far.
    requests: usize,
    /// Descriptions of the steps so far, for the failure.
    history: Vec<String>,
}

impl<'s> Model<'s> {
    pub(super) fn new(ctx: &'s TestContext<'s>, slots: Slots) -> Model<'s> {
        Model {
            ctx,
            slots,
            clients: Vec::new(),
            left_while_waiting: 0,
            connections: 0,
            requests: 0,
            history: Vec::new(),
        }
    }

    /// Closes all clients and returns the description of the steps so far.
    pub(super) fn into_history(self) -> String {
        self.history.join("; ")
    }

    pub(super) fn steps(&mut self, schedule: &[Step]) -> Result<(), Failure> {
        schedule.iter().try_for_each(|&step| self.step(step))
    }

    fn step(&mut self, step: Step) -> Result<(), Failure> {
        let has_requests_left = self.requests + RESERVED_REQUESTS < REQUESTS;
        match step {
            Step::Connect if has_requests_left => return self.connect(),
            Step::Connect => return Ok(()),
            Step::Stall => return self.stall(),
            _ => {}
        }
        if self.clients.is_empty() {
            return Ok(());
        }
        let index = |client: usize| client % self.clients.len();
        let is_served = |client| !self.clients[index(client)].is_waiting;
        let has_pending = |client| !self.clients[index(client)].pending.is_empty();
        let has_partial = |client| self.clients[index(client)].partial.is_some();
        match step {
            Step::SendPart(client) if has_requests_left && !has_partial(client) => {
                self.send_part(index(client))
            }
            Step::Finish(client) if has_requests_left => self.send(index(client), 1),
            Step::Burst(client, count) if has_requests_left => {
                self.send(index(client), count.min(MAX_BURST))
            }
            Step::Read(client) if is_served(client) && has_pending(client) => {
                let at = index(client);
                self.record(at, "reads a reply");
                self.read_reply(at)
            }
            Step::Read(client) => self.expect_no_bytes(index(client)),
            Step::ReadSlowly(client) if is_served(client) && has_pending(client) => {
                self.read_slowly(index(client))
            }
            Step::HalfClose(client) if is_served(client) && !has_partial(client) => {
                self.half_close(index(client))
            }
            Step::Close(client) => {
                self.disconnect(index(client), "closes the connection", TestClient::close)
            }
            Step::Reset(client) => {
                self.disconnect(index(client), "resets the connection", TestClient::reset)
            }
            _ => Ok(()),
        }
    }

    /// Adds the client that connected last. It has a slot.
    pub(super) fn add_served(&mut self, client: TestClient<'s>) {
        let (number, pending, partial) = (self.connections, VecDeque::new(), None);
        self.clients.push(ModelClient { number, client, is_waiting: false, pending, partial });
    }

    /// Adds the client that connected last. It waits for a slot.
    pub(super) fn add_waiting(&mut self, client: TestClient<'s>) {
        let (number, pending, partial) = (self.connections, VecDeque::new(), None);
        self.clients.push(ModelClient { number, client, is_waiting: true, pending, partial });
    }

    fn send_part(&mut self, at: usize) -> Result<(), Failure> {
        let number = self.next_request();
        let (half, _) = halves(self.ctx.contract, &request(number));
        self.clients[at].partial = Some(number);
        self.send_bytes(at, &half)
    }

    /// Sends `count` requests. If the client has sent the first half of a request, its second half
    /// counts as the first request.
    fn send(&mut self, at: usize, count: usize) -> Result<(), Failure> {
        let contract = self.ctx.contract;
        let mut bytes = Vec::new();
        for _ in 0..count {
            let (number, rest) = match self.clients[at].partial.take() {
                Some(partial) => (partial, halves(contract, &request(partial)).1),
                None => {
                    let number = self.next_request();
                    (number, contract.sent(&request(number)))
                }
            };
            bytes.extend(rest);
            self.clients[at].pending.push_back(number);
        }
        self.send_bytes(at, &bytes)
    }

    fn send_bytes(&mut self, at: usize, bytes: &[u8]) -> Result<(), Failure> {
        self.record(at, &format!("sends {}", printable(bytes)));
        self.clients[at].client.send(bytes)
    }

    fn stall(&mut self) -> Result<(), Failure> {
        self.record_step(format!("all clients pause for {} ms", STALL.as_millis()));
        sleep(STALL);
        let expects_nothing =
            |client: &ModelClient<'_>| client.is_waiting || client.pending.is_empty();
        (0..self.clients.len())
            .filter(|&at| expects_nothing(&self.clients[at]))
            .collect::<Vec<_>>()
            .into_iter()
            .try_for_each(|at| self.expect_no_bytes(at))
    }

    /// Requires that a client gets no bytes while it waits for a slot or has no pending request.
    fn expect_no_bytes(&mut self, at: usize) -> Result<(), Failure> {
        let served = self.slots.free + self.slots.background;
        let client = &mut self.clients[at];
        let expected = match client.is_waiting {
            true => format!("client {} waits while {served} clients are served", client.number),
            false => format!("client {} gets no bytes without a request", client.number),
        };
        match arrived_bytes(&mut client.client) {
            Ok(bytes) if bytes.is_empty() => Ok(()),
            Ok(bytes) => {
                let fault = match client.is_waiting {
                    true => Fault::MoreThanDeclared,
                    false => Fault::ExtraBytes,
                };
                Err(Failure::fail(expected, printable(&bytes)).fault(fault))
            }
            Err(error) => Err(Failure::client_error(expected, &error)),
        }
    }

    /// Requires the reply to the oldest pending request of the client.
    fn read_reply(&mut self, at: usize) -> Result<(), Failure> {
        let client = &mut self.clients[at];
        let Some(request_number) = client.pending.pop_front() else { return Ok(()) };
        let (number, reply) = (client.number, client.client.reply());
        let reply = reply.map_err(|error| {
            let sent = printable(&request(request_number));
            let expected = format!("client {number} gets the reply to {sent}");
            Failure::client_error(expected, &error).starved(self.clients.len() > 1)
        })?;
        self.check_reply(number, request_number, &reply)
    }

    /// Requires that `received` is the reply to request `request_number` of client `number`.
    pub(super) fn check_reply(
        &self,
        number: usize,
        request_number: usize,
        received: &[u8],
    ) -> Result<(), Failure> {
        let learned = self.ctx.learned_replies();
        let reply = learned.get(&request(request_number)).unwrap_or_default();
        if received == reply {
            return Ok(());
        }
        let expected = format!("client {number} gets the reply {}", printable(&reply));
        Err(self.ctx.wrong_reply(expected, &reply, received).hint_if(
            |fault| fault == Fault::OtherReply,
            "this is the reply to another request: give each connection its own buffer",
        ))
    }

    fn read_slowly(&mut self, at: usize) -> Result<(), Failure> {
        self.record(at, "reads its replies slowly");
        while !self.clients[at].pending.is_empty() {
            sleep(STALL / 2);
            self.read_reply(at)?;
        }
        Ok(())
    }

    fn half_close(&mut self, at: usize) -> Result<(), Failure> {
        self.record(at, "half-closes the connection");
        self.clients[at].client.half_close()?;
        self.read_all_replies(at)?;
        self.clients[at].client.expect_end()?;
        self.clients.remove(at);
        self.serve_waiting()
    }

    fn read_all_replies(&mut self, at: usize) -> Result<(), Failure> {
        while !self.clients[at].pending.is_empty() {
            self.read_reply(at)?;
        }
        Ok(())
    }

    fn disconnect(
        &mut self,
        at: usize,
        description: &str,
        disconnect: impl Fn(TestClient<'s>),
    ) -> Result<(), Failure> {
        self.record(at, description);
        let client = self.clients.remove(at);
        if client.is_waiting {
            self.left_while_waiting += 1;
        }
        disconnect(client.client);
        self.serve_waiting()
    }

    /// While a slot is free, requires that the client that has waited longest gets the slot and a
    /// reply.
    fn serve_waiting(&mut self) -> Result<(), Failure> {
        while self.served() < self.slots.free
            && let Some(at) = self.clients.iter().position(|client| client.is_waiting)
        {
            self.clients[at].is_waiting = false;
            if self.clients[at].pending.is_empty() {
                self.send(at, 1)?;
            }
            self.record(at, "has a connection slot now and reads a reply");
            self.read_reply(at)?;
        }
        Ok(())
    }

    /// Ends the schedule. Each client sends one more request, reads all its replies and closes.
    /// Then requires that all slots are free.
    pub(super) fn end(&mut self) -> Result<(), Failure> {
        while !self.clients.is_empty() {
            // If any client is served, the first client is.
            self.send(0, 1)?;
            self.record(0, "reads all its replies");
            self.read_all_replies(0)?;
            self.disconnect(0, "closes the connection", TestClient::close)?;
        }
        (0..self.slots.free).try_for_each(|_| self.connect_served())
    }

    /// Returns the number of clients that have a slot.
    pub(super) fn served(&self) -> usize {
        self.clients.iter().filter(|client| !client.is_waiting).count()
    }

    /// Records a step of a client. `action` is the predicate of the sentence.
    fn record(&mut self, at: usize, action: &str) {
        self.record_step(format!("client {} {action}", self.clients[at].number));
    }

    pub(super) fn record_step(&mut self, step: String) {
        self.history.push(step);
    }

    /// Returns the number of the next client.
    pub(super) fn next_connection(&mut self) -> usize {
        self.connections += 1;
        self.connections
    }

    /// Returns the number of the next request.
    pub(super) fn next_request(&mut self) -> usize {
        self.requests += 1;
        // A schedule uses fewer requests than `REQUESTS`, so no number repeats.
        (self.requests - 1) % REQUESTS
    }
}

/// Returns the bytes that have arrived. Does not wait if there are none.
pub(super) fn arrived_bytes(client: &mut TestClient<'_>) -> Result<Vec<u8>, ClientError> {
    if client.client.is_readable() { client.read_for(STALL) } else { Ok(Vec::new()) }
}
