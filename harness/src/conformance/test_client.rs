//! Test client: one connection of a case, with deadlines and expectations.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::context::{TestContext, WORKING, beside, request};
use super::failure::Failure;
use crate::client::{Client, ClientError};
use crate::server::diag;
use crate::text::printable;
use crate::wire::ReplyEnd;

/// Silence after which a case concludes that the server sends nothing. A server slower than this
/// may pass wrongly, but no server can fail wrongly.
pub(super) const QUIET: Duration = Duration::from_millis(120);

/// Timeout for reading bytes that have already arrived.
const LOOK: Duration = Duration::from_millis(1);

/// Shortest and longest interval between two checks for whether a server can make progress.
const FIRST_PAUSE: Duration = Duration::from_millis(4);
const LONGEST_PAUSE: Duration = Duration::from_millis(64);

/// Requests sent between two measurements of the server's memory. With many processes, a
/// measurement takes longer than the sending.
const STUFFED_AT_ONCE: usize = 10_000;

/// Requests that must be answered before the server is sent more than it can buffer.
const REHEARSED: usize = 20;

/// Permitted growth of a server's memory while it should buffer nothing, in bytes.
pub(super) const GROWTH: u64 = 4 * 1024 * 1024;

/// Bytes sent at most to a server that should stop reading. This exceeds the socket buffers of both
/// sides (`tcp_rmem`, `tcp_wmem`).
const MOST_STUFFED: usize = 64 * 1024 * 1024;

/// The cases that test whether a plain request gets the right reply.
const VALUES: &[&str] = &["results/arithmetic", "results/echo-is-identical"];

/// The case that tests pipelined requests.
pub(super) const PIPELINED: &[&str] = &["framing/pipelined"];

/// The cases that test whether a client gets a connection slot: up to the declared limit, and after
/// other clients have left.
pub(super) const PLACES: &[&str] = &[
    "contract/capacity",
    "isolation/churn",
    "refusal/place-freed-by-fin",
    "refusal/place-freed-by-rst",
    "refusal/place-freed-in-request",
];

/// A client connection of a case.
pub struct TestClient<'s> {
    pub(super) ctx: &'s TestContext<'s>,
    /// The underlying client, for deliberate protocol violations.
    pub client: Client,
    /// Whether the greeting was read and the handshake is complete.
    pub(super) is_greeted: bool,
    /// Number of requests sent on this connection.
    pub(super) asked: u32,
}

/// How a server behaves if its client sends requests and reads no replies.
#[derive(Clone, Copy, Debug)]
pub enum Stuffed {
    /// It stops reading until the client reads (back-pressure).
    Waits {
        /// Growth of its memory, in bytes.
        grown: u64,
    },
    /// It goes on reading and buffers without bound.
    Hoards {
        /// Bytes sent to it.
        sent: usize,
        /// Growth of its memory, in bytes.
        grown: u64,
    },
}

impl TestClient<'_> {
    /// Learns the server's reply to a plain request, to compare later replies with it.
    ///
    /// # Errors
    /// The server does not answer, or answers different requests alike. The case is then
    /// inconclusive.
    pub fn learn(&mut self, request: &[u8]) -> Result<Vec<u8>, Failure> {
        let plain = printable(request);
        let asked = Instant::now();
        let reply = self.ask(request).map_err(|trouble| {
            self.ctx.not_served(&format!("the plain request {plain} is answered"), &trouble)
        })?;
        self.ctx.answered_within(asked.elapsed());
        if self.ctx.contract.is_error(&reply) == Some(true) {
            let words = format!("the plain request {plain} was answered {}", printable(&reply));
            let by = if self.ctx.contract.is_busy(&reply) { PLACES } else { VALUES };
            return Err(Failure::blocked(by, words));
        }
        if self.ctx.contract.is_busy(&reply) {
            let words = format!("instead of a reply to {plain}: {}", printable(&reply));
            return Err(Failure::vacuous(words));
        }
        let mut learned = self.ctx.learned.borrow_mut();
        if learned.iter().any(|(other, same)| other != request && *same == reply) {
            let words =
                format!("different plain requests are answered alike: {}", printable(&reply));
            return Err(Failure::blocked(VALUES, words));
        }
        learned.insert(request.to_vec(), reply.clone());
        self.ctx.served.set(true);
        Ok(reply)
    }

    /// Sends a request and waits for its reply.
    ///
    /// # Errors
    /// No reply arrives.
    pub fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>, ClientError> {
        self.tell(request)?;
        self.line()
    }

    /// Sends a request.
    ///
    /// # Errors
    /// The server does not accept it.
    pub fn tell(&mut self, request: &[u8]) -> Result<(), ClientError> {
        self.transmit(&self.ctx.sent(request))?;
        self.asked += 1;
        Ok(())
    }

    /// Returns whether the connection has carried as many requests as the contract allows.
    fn is_used_up(&self) -> bool {
        self.ctx.contract.wire.requests().is_some_and(|most| self.asked >= most)
    }

    /// Sends bytes, after the greeting and the handshake. Replaces a connection that has carried
    /// all the requests that the contract allows.
    ///
    /// # Errors
    /// The bytes cannot be sent, or the greeting or handshake fails.
    pub fn transmit(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        if self.is_used_up() {
            let TestClient { client, .. } = self.ctx.try_connect()?;
            (self.client, self.is_greeted, self.asked) = (client, false, 0);
        }
        self.be_greeted()?;
        self.client.send(bytes)
    }

    /// Reads the greeting and completes the handshake, unless already done.
    ///
    /// # Errors
    /// The greeting or the handshake fails.
    pub fn be_greeted(&mut self) -> Result<(), ClientError> {
        let patience = self.ctx.patience_left()?;
        self.be_greeted_within(patience)
    }

    fn be_greeted_within(&mut self, patience: Duration) -> Result<(), ClientError> {
        if self.is_greeted {
            return Ok(());
        }
        let wire = &self.ctx.contract.wire;
        if let Some(greeting) = &wire.greeting {
            let said = self.client.greeting(greeting, patience);
            // After a timeout the greeting may still arrive, so the next call waits for it again.
            self.is_greeted = !matches!(said, Err(ClientError::Silent(..)));
            let said = said?;
            if self.ctx.contract.is_busy(&said) {
                self.client.unread(said);
                return Ok(());
            }
        }
        self.is_greeted = true;
        for step in &wire.handshake {
            self.client.send(&step.send)?;
            self.client.until(&step.expect)?;
        }
        Ok(())
    }

    /// Sends the quit command, if the contract declares one.
    ///
    /// # Errors
    /// It cannot be sent.
    pub fn quit(&mut self) -> Result<(), ClientError> {
        match &self.ctx.contract.wire.quit {
            Some(word) => self.transmit(word),
            None => Ok(()),
        }
    }

    /// Waits for the next reply line. A carriage return before the line feed is stripped.
    ///
    /// # Errors
    /// No line arrives.
    pub fn line(&mut self) -> Result<Vec<u8>, ClientError> {
        let left = self.ctx.patience_left()?;
        self.hear(left)
    }

    /// Waits up to `patience` for the next reply.
    ///
    /// # Errors
    /// No reply arrives.
    pub fn line_within(&mut self, patience: Duration) -> Result<Vec<u8>, ClientError> {
        let wire = &self.ctx.contract.wire;
        self.be_greeted()?;
        let mut line = self.client.reply_within(wire, patience)?;
        if line.last() == Some(&b'\r') && wire.reply_end == ReplyEnd::default() {
            line.pop();
            self.ctx.loosely("replies end in carriage return and line feed");
        }
        Ok(wire.value_of(line))
    }

    /// Returns a reply that has already arrived.
    ///
    /// # Errors
    /// No complete line has arrived.
    pub fn heard(&mut self) -> Result<Vec<u8>, ClientError> {
        self.line_within(LOOK)
    }

    /// Waits at least `quiet` for the next reply line.
    ///
    /// Reports silence only when the server is asleep. A server that uses the CPU may only lack CPU
    /// time, so it gets longer.
    ///
    /// # Errors
    /// No line arrives.
    pub fn hear(&mut self, quiet: Duration) -> Result<Vec<u8>, ClientError> {
        self.unless_it_works(quiet, Self::line_within)
    }

    /// Sends a request in an experiment and waits for its reply.
    ///
    /// The server has already answered a plain request. Gives up after `quiet`, as
    /// [`hear`](Self::hear) does. Gives up earlier if the server can make no progress
    /// ([`concurrency::is_still`](crate::concurrency::is_still)).
    ///
    /// # Errors
    /// The request cannot be sent, or no reply arrives.
    pub(super) fn ask_out(
        &mut self,
        request: &[u8],
        quiet: Duration,
    ) -> Result<Vec<u8>, ClientError> {
        self.until_still(quiet, |party, pause| party.be_greeted_within(pause))?;
        self.tell(request)?;
        self.hear_out(quiet)
    }

    /// Waits for a reply as [`ask_out`](Self::ask_out) does, after the request was sent.
    ///
    /// # Errors
    /// No reply arrives.
    pub(super) fn hear_out(&mut self, quiet: Duration) -> Result<Vec<u8>, ClientError> {
        self.until_still(quiet, |party, pause| {
            party.be_greeted_within(pause)?;
            party.line_within(pause)
        })
    }

    fn until_still<T>(
        &mut self,
        quiet: Duration,
        mut wait: impl FnMut(&mut Self, Duration) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        while began.elapsed() + pause < quiet {
            match wait(self, pause) {
                Err(ClientError::Silent(..)) => {}
                found => return found,
            }
            if self.ctx.is_still_since(began) && self.is_delivered() {
                // The reply may have arrived after the last wait, just before the server fell
                // asleep.
                return wait(self, LOOK).map_err(|trouble| match trouble {
                    ClientError::Silent(_, bytes) => ClientError::Silent(began.elapsed(), bytes),
                    other => other,
                });
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.unless_it_works(quiet.saturating_sub(began.elapsed()).max(LOOK), wait)
    }

    /// Returns whether all bytes that this client and the server have sent have arrived.
    pub(super) fn is_delivered(&self) -> bool {
        self.client.ends().is_some_and(|(client, server)| diag::is_delivered(server, client))
    }

    /// Calls `wait` with a timeout, repeatedly while it times out and the server uses the CPU.
    /// Calls it once more when the server is asleep.
    fn unless_it_works<T>(
        &mut self,
        quiet: Duration,
        mut wait: impl FnMut(&mut Self, Duration) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let left = self.ctx.patience_left()?;
        let (began, mut waited) = (Instant::now(), Duration::ZERO);
        let found = loop {
            waited += quiet;
            match wait(self, quiet) {
                // The reply may have arrived after the last wait, just before the server fell
                // asleep.
                Err(ClientError::Silent(..)) if self.ctx.is_asleep() => break wait(self, LOOK),
                Err(ClientError::Silent(..)) if began.elapsed() < left * WORKING => {}
                found => break found,
            }
        };
        found.map_err(|trouble| match trouble {
            // The wait was shorter than a usual timeout, so the deadline of the case has passed.
            ClientError::Silent(..) if left <= waited && left < self.ctx.patience => {
                ClientError::OutOfTime
            }
            ClientError::Silent(_, bytes) => ClientError::Silent(waited, bytes),
            other => other,
        })
    }

    /// Requires the reply that was learned for this request.
    ///
    /// # Errors
    /// The reply differs.
    pub fn is_as_learned(&self, request: &[u8], reply: &[u8]) -> Result<(), Failure> {
        match self.ctx.learned.borrow().get(request) {
            Some(learned) if learned == reply => {
                self.ctx.was_met();
                Ok(())
            }
            Some(learned) => Err(Failure::fail(printable(learned), printable(reply))),
            None => Err(Failure::vacuous("nothing was learned to compare with")),
        }
    }

    /// Sends bytes that the server must accept.
    ///
    /// # Errors
    /// It does not.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.transmit(bytes).map_err(|trouble| {
            Failure::trouble(format!("the server takes {}", printable(bytes)), &trouble)
        })
    }

    /// Sends a request that the server must accept.
    ///
    /// # Errors
    /// It does not.
    pub fn request(&mut self, request: &[u8]) -> Result<(), Failure> {
        self.tell(request).map_err(|trouble| {
            Failure::trouble(format!("the server takes {}", printable(request)), &trouble)
        })
    }

    /// Requires that the next line is this reply.
    ///
    /// # Errors
    /// It is another reply, or none arrives.
    pub fn expect(&mut self, reply: &[u8]) -> Result<(), Failure> {
        let expected = format!("the reply {}", printable(reply));
        match self.line() {
            Ok(line) if line == reply => {
                self.ctx.was_met();
                Ok(())
            }
            Ok(line) => Err(Failure::fail(expected, printable(&line))),
            Err(trouble) => Err(Failure::trouble(expected, &trouble)),
        }
    }

    /// Requires that the next line is an error reply, as far as the contract defines one.
    ///
    /// # Errors
    /// It is another reply, or none arrives.
    pub fn expect_error(&mut self) -> Result<Vec<u8>, Failure> {
        let contract = self.ctx.contract;
        let expected = match (&contract.error_prefix, &contract.wire.error) {
            (Some(prefix), _) => {
                format!("one line that begins with {}", printable(prefix.as_bytes()))
            }
            (None, Some(error)) => format!("a reply that looks like an error ({})", error.as_str()),
            (None, None) => "one line that says what is wrong".to_owned(),
        };
        match self.line() {
            Ok(line) if contract.is_error(&line).unwrap_or(true) => {
                self.ctx.was_met();
                Ok(line)
            }
            Ok(line) => Err(Failure::fail(expected, printable(&line))),
            Err(trouble) => Err(Failure::trouble(expected, &trouble)),
        }
    }

    /// Requires any reply line.
    ///
    /// # Errors
    /// No line arrives.
    pub fn expect_any_line(&mut self) -> Result<(), Failure> {
        self.line().map_err(|trouble| Failure::trouble("one reply line", &trouble))?;
        self.ctx.was_met();
        Ok(())
    }

    /// Requires that the server sends nothing for 120 ms.
    ///
    /// # Errors
    /// It sends something.
    pub fn expect_silence(&mut self, while_what: &str) -> Result<(), Failure> {
        let expected = format!("nothing is sent {while_what}");
        match self.listen(QUIET) {
            Ok(bytes) if bytes.is_empty() => {
                self.ctx.was_met();
                Ok(())
            }
            Ok(bytes) => Err(Failure::fail(expected, printable(&bytes))),
            // The server closes a connection that has carried all its requests.
            Err(ClientError::Closed(rest)) if rest.is_empty() && self.is_used_up() => Ok(()),
            Err(trouble) => Err(Failure::trouble(expected, &trouble)),
        }
    }

    /// Returns the bytes that arrive within `quiet`, without prompts.
    ///
    /// # Errors
    /// The server closes the connection.
    pub fn listen(&mut self, quiet: Duration) -> Result<Vec<u8>, ClientError> {
        let came = self.client.listen(quiet)?;
        Ok(self.ctx.contract.wire.without_prompt(came))
    }

    /// Returns all bytes until the server closes the connection.
    ///
    /// # Errors
    /// The connection does not end with a FIN.
    pub fn rest(&mut self) -> Result<Vec<u8>, ClientError> {
        let left = self.ctx.patience_left()?;
        let rest =
            self.unless_it_works(left, |party, patience| party.client.rest_within(patience))?;
        Ok(self.ctx.contract.wire.without_prompt(rest))
    }

    /// Requires that the server sends nothing more and closes with a FIN.
    ///
    /// # Errors
    /// It sends more, resets the connection, or leaves it open.
    pub fn expect_end(&mut self) -> Result<(), Failure> {
        let expected = "the server closes cleanly (FIN), with nothing more to say";
        match self.rest() {
            Ok(rest) if rest.is_empty() => {
                self.ctx.was_met();
                Ok(())
            }
            Ok(rest) => Err(Failure::fail(expected, printable(&rest))),
            Err(trouble) => Err(Failure::trouble(expected, &trouble)),
        }
    }

    /// Requires replies to pipelined requests, which cases with many requests assume.
    ///
    /// The client must have learned the reply to `request(1)`.
    ///
    /// # Errors
    /// A reply is missing or differs. The case is then inconclusive.
    pub fn rehearse(&mut self, requests: usize) -> Result<(), Failure> {
        let vacuous =
            |seen: String| Failure::blocked(PIPELINED, format!("even without more: {seen}"));
        let together = self.ctx.sent(&request(1)).repeat(requests);
        self.client.send(&together).map_err(|trouble| vacuous(trouble.to_string()))?;
        for _ in 0..requests {
            let reply = self.line().map_err(|trouble| vacuous(trouble.to_string()))?;
            self.is_as_learned(&request(1), &reply).map_err(|finding| vacuous(finding.observed))?;
        }
        Ok(())
    }

    /// Sends requests and reads no replies, until the server stops reading or has buffered too
    /// much.
    ///
    /// # Errors
    /// The server neither stops reading nor buffers, or never becomes idle.
    pub fn stuff(&mut self) -> Result<Stuffed, Failure> {
        self.rehearse(REHEARSED)?;
        let requests = self.ctx.sent(&request(1)).repeat(STUFFED_AT_ONCE);
        self.ctx.let_it_rest();
        let before = self.ctx.holdings().anonymous_bytes;
        let grown = || self.ctx.holdings().anonymous_bytes.saturating_sub(before);
        let (mut sent, mut stuffed) = (0, None);
        self.client.set_patience(QUIET);
        let deadline = Instant::now() + self.ctx.patience * WORKING;
        while stuffed.is_none() && Instant::now() < deadline {
            let blocked = self.client.send(&requests).is_err();
            sent += requests.len();
            if grown() > GROWTH {
                stuffed = Some(Stuffed::Hoards { sent, grown: grown() });
            } else if sent > MOST_STUFFED {
                // If it kept the replies, its memory would have grown by more than the bytes sent.
                return Err(Failure::blocked(PIPELINED, "it reads on and keeps no replies"));
            } else if blocked && self.ctx.is_asleep() {
                stuffed = Some(Stuffed::Waits { grown: grown() });
            }
        }
        self.client.set_patience(self.ctx.patience);
        stuffed
            .ok_or_else(|| Failure::vacuous("the server never came to wait for its client to read"))
    }

    /// Sends requests without pause and reads the replies while `meanwhile` runs. Then shuts the
    /// connection down.
    ///
    /// # Errors
    /// The harness has no descriptor or thread left.
    pub fn while_it_floods<T>(&mut self, meanwhile: impl FnOnce() -> T) -> Result<T, Failure> {
        let stream =
            || self.client.stream().map_err(|trouble| Failure::trouble("a clone", &trouble));
        let (mut sending, mut receiving) = (stream()?, stream()?);
        let (answered, first_answer) = mpsc::sync_channel(1);
        let flood = self.ctx.sent(&request(1)).repeat(1000);
        thread::scope(|scope| {
            beside(scope, || while sending.write_all(&flood).is_ok() {})?;
            beside(scope, || {
                let mut replies = vec![0; 64 * 1024];
                while matches!(receiving.read(&mut replies), Ok(1..)) {
                    let _ = answered.try_send(());
                }
            })
            .inspect_err(|_| self.client.cut())?;
            // `meanwhile` must not start before the flood does.
            let _ = first_answer.recv_timeout(self.ctx.patience);
            let seen = meanwhile();
            // Both threads end with the connection.
            self.client.cut();
            Ok(seen)
        })
    }

    /// Shuts down the sending side (half-close).
    ///
    /// # Errors
    /// The connection is already closed.
    pub fn half_close(&mut self) -> Result<(), Failure> {
        self.client.half_close().map_err(|trouble| {
            Failure::trouble("the connection lives until the client ends it", &trouble)
        })
    }

    /// Resets the connection.
    pub fn reset(self) {
        self.client.reset();
    }

    /// Closes the connection normally: with a FIN, if all replies were read.
    pub fn close(self) {}
}
