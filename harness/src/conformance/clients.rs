//! Client factory: connects the clients of a case, and checks that several clients are served.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::context::{POLL_INTERVAL, SHORT_TIMEOUT, TestContext};
use super::failure::Failure;
use super::requests::{halves, request};
use super::test_client::{TestClient, is_rejection};
use crate::client::{ClientError, ConnectMode};
use crate::figures::counted;
use crate::results::Fault;
use crate::text::printable;

/// Hint of a client that is rejected after other clients have disconnected.
pub(super) const SLOT_HINT: &str = "the server still counts a client that has disconnected: release its \
                         connection slot on every path that closes a connection";

/// Connects clients to the server under test.
#[derive(Clone, Copy)]
pub struct Clients<'s> {
    ctx: &'s TestContext<'s>,
}

impl TestContext<'_> {
    /// Returns the client factory.
    pub fn clients(&self) -> Clients<'_> {
        Clients { ctx: self }
    }
}

impl<'s> Clients<'s> {
    /// Connects a client.
    ///
    /// # Errors
    /// The connection fails.
    pub fn try_connect(self) -> Result<TestClient<'s>, ClientError> {
        self.try_connect_within(self.ctx.timeout)
    }

    /// Same as [`try_connect`](Self::try_connect), with a timeout.
    ///
    /// # Errors
    /// The connection fails.
    pub fn try_connect_within(self, timeout: Duration) -> Result<TestClient<'s>, ClientError> {
        TestClient::connect(self.ctx, self.ctx.address_for_client()?, ConnectMode::Default, timeout)
    }

    /// Connects a client to another instance of the server, such as one that the case started.
    ///
    /// # Errors
    /// The connection fails.
    pub fn try_connect_to(self, address: SocketAddr) -> Result<TestClient<'s>, ClientError> {
        let mut client =
            TestClient::connect(self.ctx, address, ConnectMode::Default, self.ctx.timeout)?;
        client.address = Some(address);
        Ok(client)
    }

    /// Connects a client whose first bytes reach the server before the server accepts the
    /// connection.
    ///
    /// The case must send these bytes at once.
    ///
    /// # Errors
    /// The connection fails.
    pub fn try_connect_with_data(self) -> Result<TestClient<'s>, ClientError> {
        self.try_connect_with(ConnectMode::DataInHandshake)
    }

    /// Connects a client with a small receive window, so that the kernel buffers few replies.
    ///
    /// # Errors
    /// The connection fails. The case is then inconclusive.
    pub fn connect_with_small_window(self) -> Result<TestClient<'s>, Failure> {
        self.connect_for_slot(ConnectMode::SmallWindow)
    }

    fn try_connect_with(self, mode: ConnectMode) -> Result<TestClient<'s>, ClientError> {
        let address = self.ctx.address_for_client()?;
        TestClient::connect(self.ctx, address, mode, self.ctx.timeout)
    }

    /// Connects a client in a case that does not test the connection itself. If the server rejects
    /// it, and an earlier client has left, retries until the timeout.
    ///
    /// # Errors
    /// The connection fails. The case is then inconclusive.
    pub fn connect(self) -> Result<TestClient<'s>, Failure> {
        self.connect_for_slot(ConnectMode::Default)
    }

    fn connect_for_slot(self, mode: ConnectMode) -> Result<TestClient<'s>, Failure> {
        let deadline = Instant::now() + self.ctx.deadlines().timeout();
        loop {
            match self.try_connect_with(mode) {
                Err(error)
                    if is_rejection(&error)
                        && self.ctx.departures().have_occurred()
                        && self.ctx.may_free_a_slot(deadline) =>
                {
                    thread::sleep(POLL_INTERVAL);
                }
                result => return result.map_err(|error| self.not_connected(&error)),
            }
        }
    }

    fn not_connected(self, error: &ClientError) -> Failure {
        self.ctx.not_served("a client connects", error)
    }

    /// Connects a client and learns the reply to a request. Retries if the server rejects the
    /// client: the server may not have noticed yet that an earlier client has disconnected.
    ///
    /// # Errors
    /// No client gets a reply within the timeout. The case is then inconclusive.
    pub fn connect_with_retry(self, request: &[u8]) -> Result<TestClient<'s>, Failure> {
        let deadline = Instant::now() + self.ctx.deadlines().timeout();
        loop {
            let served = self
                .try_connect()
                .map_err(|error| self.not_connected(&error))
                .and_then(|client| client.learn_unless_rejected(request, deadline));
            match served {
                Ok(Some(client)) => return Ok(client),
                Err(failure) if !self.ctx.may_free_a_slot(deadline) => return Err(failure),
                _ => thread::sleep(POLL_INTERVAL),
            }
        }
    }

    /// Requires that two clients with interleaved requests each get the reply to their request.
    /// Most cases with two clients assume this.
    ///
    /// The reply to `request(1)` must have been learned. Learns the reply to `request(2)` from the
    /// second client.
    ///
    /// # Errors
    /// A client does not get the reply to its request. The case is then inconclusive.
    pub fn check_isolation(
        self,
        first: &mut TestClient<'s>,
        second: &mut TestClient<'s>,
    ) -> Result<(), Failure> {
        let mut check = || {
            second.learn_reply(&request(2))?;
            self.send_interleaved(&mut [&mut *first, &mut *second], &[request(1), request(2)])?;
            for (client, request) in [(&mut *first, request(1)), (&mut *second, request(2))] {
                let reply = client.reply().map_err(|it| Failure::client_error("a reply", &it))?;
                client.expect_learned_reply(&request, &reply)?;
            }
            Ok(())
        };
        check().map_err(|failure: Failure| {
            let seen = failure.observed;
            let text = format!("two clients with interleaved requests: {seen}");
            Failure::assumption_failed(&["isolation/own-answers"], text)
        })
    }

    /// Sends the first halves of all requests, then the second halves.
    ///
    /// Sends whole requests if the wire format does not delimit requests.
    ///
    /// # Errors
    /// The server does not accept the bytes.
    pub(super) fn send_interleaved(
        self,
        clients: &mut [&mut TestClient<'_>],
        requests: &[Vec<u8>],
    ) -> Result<(), Failure> {
        let contract = self.ctx.contract;
        if !contract.wire.is_delimited() {
            return clients
                .iter_mut()
                .zip(requests)
                .try_for_each(|(it, request)| it.request(request));
        }
        let halves = || requests.iter().map(|request| halves(contract, request));
        for (client, (half, _)) in clients.iter_mut().zip(halves()) {
            client.send(&half)?;
        }
        // Otherwise the server may read both halves at once.
        self.ctx.process().wait_until_asleep();
        for (client, (_, half)) in clients.iter_mut().zip(halves()) {
            client.send(&half)?;
        }
        Ok(())
    }

    /// Resets a client, even one with pending replies, and requires that a new client is served.
    ///
    /// # Errors
    /// The new client is not served.
    pub fn expect_service_after_reset(self, client: TestClient<'_>) -> Result<(), Failure> {
        client.reset();
        self.expect_service_when_asleep("a new client is served after the reset")
    }

    /// Waits until the server is asleep, then requires that a new client is served, with retries.
    ///
    /// An earlier event, such as a reset, may make the server fail only when it handles the event.
    ///
    /// # Errors
    /// No client is served within the timeout.
    pub fn expect_service_when_asleep(self, expected: &str) -> Result<(), Failure> {
        self.ctx.process().wait_until_asleep();
        self.expect_service_with_retry(expected)
    }

    /// Fills all connection slots with served clients, and the declared queue with waiting clients.
    ///
    /// # Errors
    /// Fewer clients are served or connected. The case is then inconclusive.
    pub fn fill_slots(self) -> Result<FilledSlots<'s>, Failure> {
        let capacity = self.ctx.contract.capacity.unwrap_or(1);
        self.ctx.require_round_trips(2 * capacity)?;
        let served: Result<_, _> = (0..capacity)
            .map(|number| {
                let served = self.connect_with_retry(&request(number));
                // The earlier clients are still connected.
                served.map_err(|failure| failure.starved(number > 0))
            })
            .collect();
        let waiting: Result<_, _> =
            (0..self.ctx.contract.queue.unwrap_or(0)).map(|_| self.connect()).collect();
        Ok(FilledSlots { served: served?, waiting: waiting? })
    }

    /// Requires that a new client is served: at its first attempt, unless an earlier client has
    /// left, whose slot the server may not have freed yet.
    ///
    /// # Errors
    /// The client is not served.
    pub fn expect_service(self, expected: &str) -> Result<(), Failure> {
        match self.ctx.departures().have_occurred() {
            true => self.expect_service_with_retry(expected),
            false => self.expect_service_until(expected, Instant::now()),
        }
    }

    /// Requires that a new client is served. A rejected client retries until the timeout.
    ///
    /// # Errors
    /// No client is served within the timeout.
    pub fn expect_service_with_retry(self, expected: &str) -> Result<(), Failure> {
        self.expect_service_until(expected, Instant::now() + self.ctx.timeout)
    }

    /// Requires that a new client is served. A rejected client retries until the deadline.
    fn expect_service_until(self, expected: &str, deadline: Instant) -> Result<(), Failure> {
        let request = self.ctx.learned_replies().known_request(request(7));
        loop {
            let (served, is_rejected) = match self.try_connect() {
                Ok(mut client) => {
                    let served = client.ask(&request);
                    let is_rejected = client.is_rejection(&request, &served);
                    (served, is_rejected)
                }
                Err(error) => {
                    let is_rejected = is_rejection(&error);
                    (Err(error), is_rejected)
                }
            };
            if !is_rejected || !self.ctx.may_free_a_slot(deadline) {
                return self.check_service(expected, &request, served);
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    fn check_service(
        self,
        expected: &str,
        request: &[u8],
        served: Result<Vec<u8>, ClientError>,
    ) -> Result<(), Failure> {
        let reply = served.map_err(|error| Failure::client_error(expected, &error))?;
        match self.ctx.learned_replies().get(request) {
            Some(learned) if learned != reply => {
                let expected = format!("{expected}: {}", printable(&learned));
                Err(self
                    .ctx
                    .wrong_reply(expected, &learned, &reply)
                    .hint_if(|fault| fault == Fault::Rejects, SLOT_HINT))
            }
            _ if self.ctx.contract.is_busy(&reply) => {
                Err(Failure::fail(expected, printable(&reply))
                    .fault(Fault::Rejects)
                    .hint(SLOT_HINT))
            }
            _ => {
                self.ctx.evidence().record_verified();
                Ok(())
            }
        }
    }

    /// Returns whether a new client gets a reply within `timeout`. Returns `None` if the case has
    /// no time left. The transcript does not have these clients.
    pub(super) fn is_any_served(self, timeout: Duration) -> Option<bool> {
        let deadline = Instant::now() + timeout;
        loop {
            let client = self
                .ctx
                .address_for_client()
                .and_then(|address| TestClient::connect_unrecorded(self.ctx, address, timeout));
            let served = client.and_then(|mut client| {
                client.try_request(&request(7))?;
                client.reply_until_asleep(timeout)
            });
            match served {
                Ok(reply) if !self.ctx.contract.is_busy(&reply) => return Some(true),
                Err(ClientError::OutOfTime | ClientError::Io(_)) => return None,
                _ if Instant::now() > deadline => return Some(false),
                _ => thread::sleep(POLL_INTERVAL),
            }
        }
    }

    /// Tries whether the server serves `number` clients at a time, then closes them.
    ///
    /// # Errors
    /// The server serves fewer clients, so the case does not apply. Or it serves no client; the
    /// case is then inconclusive.
    pub(super) fn try_to_serve(self, number: usize) -> Result<(), Failure> {
        let mut first = self.connect()?;
        first.learn_reply(&request(1))?;
        let mut clients = vec![first];
        while clients.len() < number {
            let seen = match self.try_to_be_served(&request(1 + clients.len())) {
                Ok(client) => {
                    clients.push(client);
                    continue;
                }
                Err(seen) => seen,
            };
            let served = counted(clients.len(), "connection");
            return Err(Failure::not_applicable(format!(
                "the case needs {number} connections, and the server serves {served} at a time; the \
                 next one: {seen}. If this is a fault, declare the limit (--capacity)"
            )));
        }
        drop(clients);
        self.ctx.process().wait_until_asleep();
        Ok(())
    }

    /// Connects a client and sends a plain request.
    ///
    /// # Errors
    /// The server does not serve the client. Returns what the client got instead of the reply.
    pub(super) fn try_to_be_served(self, request: &[u8]) -> Result<TestClient<'s>, String> {
        let quiet = self.ctx.deadlines().silence(SHORT_TIMEOUT);
        let answered = self.try_connect().and_then(|mut client| {
            let reply = client.ask_until_quiescent(request, quiet)?;
            Ok((client, reply))
        });
        let (client, reply) = answered.map_err(|error| error.to_string())?;
        let contract = self.ctx.contract;
        let is_served = match self.ctx.learned_replies().get(request) {
            Some(learned) => learned == reply,
            None => !contract.is_busy(&reply) && contract.is_error(&reply) != Some(true),
        };
        if is_served { Ok(client) } else { Err(printable(&reply)) }
    }

    /// Waits until the server has handled all bytes of these clients and is quiescent, at most for
    /// `timeout`.
    pub(super) fn wait_until_quiescent(self, clients: &[TestClient<'_>], timeout: Duration) {
        let began = Instant::now();
        let are_delivered = || clients.iter().all(TestClient::is_delivered);
        while began.elapsed() < timeout {
            thread::sleep(POLL_INTERVAL);
            // The first check covers the clients' bytes, the second one the server's replies.
            if are_delivered() && self.ctx.is_quiescent_since(began) && are_delivered() {
                break;
            }
        }
    }
}

/// The clients of a full server.
pub struct FilledSlots<'s> {
    /// Clients that hold a connection slot.
    pub served: Vec<TestClient<'s>>,
    /// Clients that wait for a slot, in the order in which they connected.
    pub waiting: Vec<TestClient<'s>>,
}

impl<'s> FilledSlots<'s> {
    /// Closes all waiting clients, and removes and returns a served client. Once the case closes
    /// this client, the next connection gets its slot.
    pub fn make_room(&mut self) -> TestClient<'s> {
        self.waiting.clear();
        self.served.pop().expect("at least one served client")
    }
}
