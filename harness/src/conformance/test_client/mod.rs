//! Test client: one connection of a case, with deadlines, a transcript and expectations.

mod expect;
mod overfill;
mod reply;
mod slot;

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

pub(super) use self::overfill::MAX_MEMORY_GROWTH;
pub use self::overfill::OverfillOutcome;
pub(super) use self::slot::is_rejection;
use super::assumptions::{CONNECTION_SLOTS, CORRECT_REPLIES};
use super::context::{POLL_INTERVAL, Presence, SHORT_TIMEOUT, TestContext};
use super::failure::Failure;
use crate::client::{Client, ClientError, ConnectMode, Transcript};
use crate::server::diag::{self, ServerEnd};
use crate::text::printable;

/// Timeout for a server to read the bytes that it has received. A server may leave them until it
/// has answered another request.
const READ_TIMEOUT: Duration = Duration::from_millis(200);

/// Silence after which a case concludes that the server sends nothing. A slower server may pass
/// wrongly, but no server fails wrongly.
pub(super) const QUIET: Duration = Duration::from_millis(120);

/// A client connection of a case.
pub struct TestClient<'s> {
    pub(super) ctx: &'s TestContext<'s>,
    /// The underlying client, for deliberate protocol violations.
    pub client: Client,
    /// Whether the greeting and the handshake are over: completed, or failed other than by a
    /// timeout.
    is_greeted: bool,
    /// Number of requests sent on this connection.
    requests: u32,
    mode: ConnectMode,
    /// Address of another instance of the server; `None` for the server of the case.
    pub(super) address: Option<SocketAddr>,
    presence: Presence<'s>,
    /// The last reply as received, with the bytes around its value.
    raw_reply: Vec<u8>,
}

impl TestClient<'_> {
    /// Connects a client to this address.
    pub(super) fn connect<'s>(
        ctx: &'s TestContext<'s>,
        address: SocketAddr,
        mode: ConnectMode,
        timeout: Duration,
    ) -> Result<TestClient<'s>, ClientError> {
        let number = ctx.next_client();
        let left = ctx.time_left()?;
        let transcript = ctx.evidence().transcript();
        let began = Instant::now();
        let connected = Client::connect(number, address, mode, left.min(timeout), transcript);
        let client = connected.map_err(|error| match error {
            // The deadline of the case limited the wait, and has passed.
            ClientError::ConnectTimedOut(_) if left < timeout => ctx.deadlines().out_of_time(),
            other => other,
        })?;
        ctx.record_connect_time(began.elapsed());
        Ok(TestClient::new(ctx, client, mode))
    }

    fn new<'s>(ctx: &'s TestContext<'s>, client: Client, mode: ConnectMode) -> TestClient<'s> {
        let presence = ctx.departures().arrival();
        let (is_greeted, requests, address) = (false, 0, None);
        let raw_reply = Vec::new();
        TestClient { ctx, client, is_greeted, requests, mode, address, presence, raw_reply }
    }

    /// Same as [`connect`](Self::connect), but the transcript of the case does not have this
    /// client.
    pub(super) fn connect_unrecorded<'s>(
        ctx: &'s TestContext<'s>,
        address: SocketAddr,
        timeout: Duration,
    ) -> Result<TestClient<'s>, ClientError> {
        let timeout = ctx.time_left()?.min(timeout);
        let (mode, transcript) = (ConnectMode::Default, Transcript::begin());
        let client = Client::connect(0, address, mode, timeout, &transcript)?;
        Ok(TestClient::new(ctx, client, mode))
    }

    /// Sends a plain request, stores the reply as the reference for later replies, and returns it.
    ///
    /// # Errors
    /// There is no reply, or it is an error, the busy line, or the reply to another request. The
    /// case is then inconclusive, except for a missing reply after an earlier one was learned.
    pub fn learn_reply(&mut self, request: &[u8]) -> Result<Vec<u8>, Failure> {
        let began = Instant::now();
        let answer = self.ask_for_slot(request);
        self.learn(request, answer, began)
    }

    /// Learns the reply to the first request of the connection. Returns `None` if the server
    /// rejects the client, and may still free a connection slot before the deadline.
    ///
    /// # Errors
    /// As [`learn_reply`](Self::learn_reply).
    pub(super) fn learn_unless_rejected(
        mut self,
        request: &[u8],
        deadline: Instant,
    ) -> Result<Option<Self>, Failure> {
        let began = Instant::now();
        let answer = self.ask(request);
        let learned = self.ctx.learned_replies().get(request);
        let is_other = matches!((&answer, &learned), (Ok(reply), Some(it)) if reply != it);
        let is_rejected =
            self.ctx.departures().have_occurred() && self.is_rejection(request, &answer);
        if (is_rejected || is_other) && self.ctx.may_free_a_slot(deadline) {
            return Ok(None);
        }
        self.learn(request, answer, began)?;
        Ok(Some(self))
    }

    /// Stores the reply to a plain request that was sent at this time as the reference.
    fn learn(
        &self,
        request: &[u8],
        answer: Result<Vec<u8>, ClientError>,
        sent_at: Instant,
    ) -> Result<Vec<u8>, Failure> {
        let reply = answer.map_err(|error| {
            let expected = format!("the plain request {} gets a reply", printable(request));
            self.ctx.not_served(&expected, &error)
        })?;
        self.ctx.deadlines().record_reply_time(sent_at.elapsed());
        self.check_and_learn(request, reply)
    }

    /// Sends plain requests at once, and stores the replies as [`learn_reply`](Self::learn_reply)
    /// does.
    ///
    /// # Errors
    /// As `learn_reply`.
    pub(in crate::conformance) fn learn_replies(
        &mut self,
        requests: &[Vec<u8>],
    ) -> Result<(), Failure> {
        let sent: Vec<u8> = requests.iter().flat_map(|it| self.ctx.contract.sent(it)).collect();
        self.send(&sent)?;
        for request in requests {
            let reply = self.reply().map_err(|error| {
                self.ctx.not_served("each of several plain requests gets a reply", &error)
            })?;
            self.check_and_learn(request, reply)?;
        }
        Ok(())
    }

    /// Stores the reply to a plain request as the reference, and returns it.
    fn check_and_learn(&self, request: &[u8], reply: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let (plain, contract) = (printable(request), self.ctx.contract);
        let received = printable(&reply);
        if self.ctx.judges_replies() && contract.is_error(&reply) == Some(true) {
            let text = format!("the plain request {plain} gets the error reply {received}");
            let tested_by =
                if contract.is_busy(&reply) { CONNECTION_SLOTS } else { CORRECT_REPLIES };
            return Err(Failure::assumption_failed(tested_by, text));
        }
        if contract.is_busy(&reply) {
            let text = format!("the plain request {plain} gets the busy line {received}");
            return Err(Failure::inconclusive(text));
        }
        if self.ctx.learned_replies().is_reply_to_other(request, &reply) {
            let text = format!("different plain requests get the same reply {received}");
            return Err(Failure::assumption_failed(CORRECT_REPLIES, text));
        }
        self.ctx.learned_replies().insert(request, reply.clone());
        Ok(reply)
    }

    /// Returns the last reply as received, with the bytes around its value.
    pub(in crate::conformance) fn raw_reply(&self) -> &[u8] {
        self.raw_reply.strip_suffix(b"\r").unwrap_or(&self.raw_reply)
    }

    /// Sends a request and waits for its reply.
    ///
    /// # Errors
    /// No reply arrives.
    pub fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>, ClientError> {
        self.try_request(request)?;
        self.reply()
    }

    /// Sends an expression, or the line to echo, as a request in the server's dialect
    /// ([`Contract::payload`](crate::contract::Contract::payload)).
    ///
    /// # Errors
    /// The request cannot be sent.
    pub fn try_request(&mut self, expression: &[u8]) -> Result<(), ClientError> {
        self.try_raw_request(&self.ctx.contract.payload(expression))
    }

    /// Sends a request with exactly this payload: a line that is malformed, or whose length or
    /// spaces matter.
    ///
    /// # Errors
    /// The request cannot be sent.
    pub fn try_raw_request(&mut self, payload: &[u8]) -> Result<(), ClientError> {
        self.try_send(&self.ctx.contract.wire.sent(payload))?;
        self.requests += 1;
        Ok(())
    }

    /// Returns whether the connection has carried all requests that the contract permits.
    fn is_used_up(&self) -> bool {
        self.ctx.contract.wire.requests().is_some_and(|limit| self.requests >= limit)
    }

    /// Sends bytes, after the greeting and the handshake. First replaces the connection if it has
    /// carried all requests that the contract permits.
    ///
    /// # Errors
    /// The bytes cannot be sent, or the greeting or handshake fails.
    pub fn try_send(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        if self.is_used_up() {
            self.reconnect()?;
        }
        self.complete_handshake()?;
        self.client.send(bytes)
    }

    /// Sends bytes, and requires that the server accepts them.
    ///
    /// # Errors
    /// The bytes cannot be sent.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.try_send(bytes).map_err(|error| {
            Failure::client_error(
                format!("the server accepts the bytes {}", printable(bytes)),
                &error,
            )
        })
    }

    /// Sends an expression as [`try_request`](Self::try_request) does, and requires that the server
    /// accepts it.
    ///
    /// # Errors
    /// The request cannot be sent.
    pub fn request(&mut self, expression: &[u8]) -> Result<(), Failure> {
        self.raw_request(&self.ctx.contract.payload(expression))
    }

    /// Sends a request with exactly this payload, and requires that the server accepts it.
    ///
    /// # Errors
    /// The request cannot be sent.
    pub fn raw_request(&mut self, payload: &[u8]) -> Result<(), Failure> {
        self.try_raw_request(payload).map_err(|error| {
            Failure::client_error(
                format!("the server accepts the request {}", printable(payload)),
                &error,
            )
        })
    }

    /// Reads the greeting and completes the handshake, if this connection has not done so yet.
    ///
    /// # Errors
    /// The greeting or the handshake fails.
    pub fn complete_handshake(&mut self) -> Result<(), ClientError> {
        let timeout = self.ctx.time_left()?;
        self.complete_handshake_within(timeout)
    }

    fn complete_handshake_within(&mut self, timeout: Duration) -> Result<(), ClientError> {
        if self.is_greeted {
            return Ok(());
        }
        let wire = &self.ctx.contract.wire;
        if let Some(greeting) = &wire.greeting {
            let received = self.client.greeting(greeting, timeout);
            // After a timeout, the greeting may still arrive, so the next call waits again.
            self.is_greeted = !matches!(received, Err(ClientError::Silent(..)));
            let received = received?;
            if self.ctx.contract.is_busy(&received) {
                self.client.unread(received);
                return Ok(());
            }
        }
        self.is_greeted = true;
        for step in &wire.handshake {
            self.client.send(&step.send)?;
            self.client.discard_until(&step.expect, timeout)?;
        }
        Ok(())
    }

    /// Sends the quit command, if the contract declares one.
    ///
    /// # Errors
    /// The command cannot be sent.
    pub fn quit(&mut self) -> Result<(), ClientError> {
        match &self.ctx.contract.wire.quit {
            Some(command) => self.try_send(command),
            None => Ok(()),
        }
    }

    /// Reads for `duration` and returns the received bytes, without prompts.
    ///
    /// # Errors
    /// The server closes the connection.
    pub fn read_for(&mut self, duration: Duration) -> Result<Vec<u8>, ClientError> {
        let received = self.client.read_for(duration)?;
        Ok(self.ctx.contract.wire.without_prompt(received))
    }

    /// Returns whether the server has accepted the connection. If not, the connection is still in
    /// the kernel's accept queue.
    pub fn is_accepted(&self) -> bool {
        self.client.addresses().is_some_and(|(client, server)| diag::is_accepted(server, client))
    }

    /// Waits for `pause`, and then until the server has read all bytes of this client, or a timeout
    /// expires. The server thus needs another read for the next bytes, even if it lacks CPU time.
    pub fn pause_until_read(&self, pause: Duration) {
        thread::sleep(pause);
        let has_unread = |end: Option<ServerEnd>| end.is_some_and(|end| end.unread > 0);
        wait_while(self.client.addresses(), READ_TIMEOUT, has_unread);
    }

    /// Waits until the connection is established on the server's side, so that the client's next
    /// segment cannot overtake the end of the TCP handshake.
    pub fn wait_until_established(&self) {
        let is_connecting = |end: Option<ServerEnd>| end.is_some_and(|end| end.is_connecting);
        wait_while(self.client.addresses(), SHORT_TIMEOUT, is_connecting);
    }

    /// Returns whether all bytes sent in both directions have been delivered.
    pub(super) fn is_delivered(&self) -> bool {
        self.client.addresses().is_some_and(|(client, server)| diag::is_delivered(server, client))
    }

    /// Returns the state of both ends of the connection: the client's, then the server's. `None` if
    /// the kernel does not report it.
    pub(super) fn ends(&self) -> Option<(ServerEnd, ServerEnd)> {
        let (client, server) = self.client.addresses()?;
        Some((diag::server_end(client, server)?, diag::server_end(server, client)?))
    }

    /// Shuts down the sending direction (half-close).
    ///
    /// # Errors
    /// The connection is already closed.
    pub fn half_close(&mut self) -> Result<(), Failure> {
        self.client.half_close().map_err(|error| {
            Failure::client_error("the connection stays open until the client closes it", &error)
        })
    }

    /// Resets the connection, and waits until the server's kernel has processed the reset.
    pub fn reset(self) {
        let ends = self.client.addresses();
        self.client.reset();
        wait_while(ends, SHORT_TIMEOUT, |end| end.is_some());
    }

    /// Closes the connection. The kernel sends a FIN, or a reset if received bytes are unread.
    pub fn close(self) {}
}

/// Waits while the server's end of a local connection, or its absence, meets `condition`, at most
/// `timeout`. `ends` are the addresses of the client and the server.
fn wait_while(
    ends: Option<(SocketAddr, SocketAddr)>,
    timeout: Duration,
    condition: impl Fn(Option<ServerEnd>) -> bool,
) {
    let Some((client, server)) = ends else { return };
    let deadline = Instant::now() + timeout;
    while condition(diag::server_end(server, client)) && Instant::now() < deadline {
        thread::sleep(POLL_INTERVAL);
    }
}
