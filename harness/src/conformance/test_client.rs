//! A client in a case: a conversation that knows what it may expect.

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

/// How long a case listens to be sure that nothing comes. A server that is slower than this can
/// pass when it should not, but none can fail when it should not.
pub(super) const QUIET: Duration = Duration::from_millis(120);

/// How long it takes to see what is there.
const LOOK: Duration = Duration::from_millis(1);

/// Pauses between two looks at whether a server is still.
const FIRST_PAUSE: Duration = Duration::from_millis(4);
const LONGEST_PAUSE: Duration = Duration::from_millis(64);

/// Requests sent between two looks at the memory of a server that is stuffed: a look at each of
/// many processes takes longer than the sending.
const STUFFED_AT_ONCE: usize = 10_000;

/// Requests that are answered before more are sent than can be.
const REHEARSED: usize = 20;

/// How much a server's memory may grow for what it will not need, in bytes.
pub(super) const GROWTH: u64 = 4 * 1024 * 1024;

/// What a server is sent that should stop reading, in bytes: more than the kernel keeps for both
/// sides (`tcp_rmem`, `tcp_wmem`).
const MOST_STUFFED: usize = 64 * 1024 * 1024;

/// The cases that judge whether a plain request gets the right reply.
const VALUES: &[&str] = &["results/arithmetic", "results/echo-is-identical"];

/// The case that judges requests that are sent together.
pub(super) const PIPELINED: &[&str] = &["framing/pipelined"];

/// The cases that judge whether a client finds a place: as many as are declared, and those of
/// clients that have left.
pub(super) const PLACES: &[&str] = &[
    "contract/capacity",
    "isolation/churn",
    "refusal/place-freed-by-fin",
    "refusal/place-freed-by-rst",
    "refusal/place-freed-in-request",
];

/// A client in a case.
pub struct TestClient<'s> {
    pub(super) ctx: &'s TestContext<'s>,
    /// Its end of the connection, for what goes wrong by intention.
    pub client: Client,
    /// The greeting was read, and the handshake made.
    pub(super) is_greeted: bool,
    /// Requests that were sent on this connection.
    pub(super) asked: u32,
}

/// What became of a server whose client sends and does not read.
#[derive(Clone, Copy, Debug)]
pub enum Stuffed {
    /// It reads no more until the client does.
    Waits {
        /// By how much its memory has grown, in bytes.
        grown: u64,
    },
    /// It goes on reading.
    Hoards {
        /// What it was sent, in bytes.
        sent: usize,
        /// By how much its memory has grown, in bytes.
        grown: u64,
    },
}

impl TestClient<'_> {
    /// Learns what the server answers to a plain request, to compare with later.
    ///
    /// # Errors
    /// There is no answer, or none that tells requests apart: then nothing can be exercised.
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
    /// There is none.
    pub fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>, ClientError> {
        self.tell(request)?;
        self.line()
    }

    /// Sends a request.
    ///
    /// # Errors
    /// The server does not take it.
    pub fn tell(&mut self, request: &[u8]) -> Result<(), ClientError> {
        self.transmit(&self.ctx.sent(request))?;
        self.asked += 1;
        Ok(())
    }

    /// Whether the connection was for as many requests as were sent.
    fn is_used_up(&self) -> bool {
        self.ctx.contract.wire.requests().is_some_and(|most| self.asked >= most)
    }

    /// Sends bytes, after what the server and its clients say first. A connection that was for as
    /// many requests as were sent is replaced by another one.
    ///
    /// # Errors
    /// The server does not take them, or does not say its part.
    pub fn transmit(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        if self.is_used_up() {
            let TestClient { client, .. } = self.ctx.try_connect()?;
            (self.client, self.is_greeted, self.asked) = (client, false, 0);
        }
        self.be_greeted()?;
        self.client.send(bytes)
    }

    /// Reads the greeting and makes the handshake, if that was not done yet.
    ///
    /// # Errors
    /// The server does not say its part.
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
            // One that is silent may be greeted later.
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

    /// Says the word at which the server ends the connection, if there is one.
    ///
    /// # Errors
    /// The server does not take it.
    pub fn quit(&mut self) -> Result<(), ClientError> {
        match &self.ctx.contract.wire.quit {
            Some(word) => self.transmit(word),
            None => Ok(()),
        }
    }

    /// Waits for the next reply line. A carriage return before its end is not part of it.
    ///
    /// # Errors
    /// None comes.
    pub fn line(&mut self) -> Result<Vec<u8>, ClientError> {
        let left = self.ctx.patience_left()?;
        self.hear(left)
    }

    /// Waits for the next reply for so long.
    ///
    /// # Errors
    /// None comes.
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

    /// What has come already.
    ///
    /// # Errors
    /// No whole line has.
    pub fn heard(&mut self) -> Result<Vec<u8>, ClientError> {
        self.line_within(LOOK)
    }

    /// Waits for the next reply line. Silence is believed after `quiet`, of a server that rests:
    /// one that works may only lack a processor, and is waited for.
    ///
    /// # Errors
    /// None comes.
    pub fn hear(&mut self, quiet: Duration) -> Result<Vec<u8>, ClientError> {
        self.unless_it_works(quiet, Self::line_within)
    }

    /// Sends a request and waits for its reply, as an experiment does on a server that has answered a
    /// plain request: after `quiet` as [`hear`](Self::hear), and before that as soon as the server
    /// can say nothing more ([`mechanism::is_still`](crate::concurrency::is_still)).
    ///
    /// # Errors
    /// The server does not take it, or there is no reply.
    pub(super) fn ask_out(
        &mut self,
        request: &[u8],
        quiet: Duration,
    ) -> Result<Vec<u8>, ClientError> {
        self.until_still(quiet, |party, pause| party.be_greeted_within(pause))?;
        self.tell(request)?;
        self.hear_out(quiet)
    }

    /// As [`ask_out`](Self::ask_out), of a request that was sent.
    ///
    /// # Errors
    /// There is no reply.
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
                // What it wrote before it came to rest is there now.
                return wait(self, LOOK).map_err(|trouble| match trouble {
                    ClientError::Silent(_, bytes) => ClientError::Silent(began.elapsed(), bytes),
                    other => other,
                });
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.unless_it_works(quiet.saturating_sub(began.elapsed()).max(LOOK), wait)
    }

    /// Whether all that it and the server have sent has arrived.
    pub(super) fn is_delivered(&self) -> bool {
        self.client.ends().is_some_and(|(client, server)| diag::is_delivered(server, client))
    }

    /// Waits for something with `wait`, which is told for how long. It is called again while it
    /// finds silence and the server works, and once more when the server has come to rest.
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
                // What it wrote before it came to rest is there now.
                Err(ClientError::Silent(..)) if self.ctx.is_asleep() => break wait(self, LOOK),
                Err(ClientError::Silent(..)) if began.elapsed() < left * WORKING => {}
                found => break found,
            }
        };
        found.map_err(|trouble| match trouble {
            // Silence for less than the patience of one wait is the end of that of the whole case.
            ClientError::Silent(..) if left <= waited && left < self.ctx.patience => {
                ClientError::OutOfTime
            }
            ClientError::Silent(_, bytes) => ClientError::Silent(waited, bytes),
            other => other,
        })
    }

    /// The reply is the one that was learned.
    ///
    /// # Errors
    /// It is another.
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

    /// Sends bytes that the server should take.
    ///
    /// # Errors
    /// It does not.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.transmit(bytes).map_err(|trouble| {
            Failure::trouble(format!("the server takes {}", printable(bytes)), &trouble)
        })
    }

    /// Sends a request that the server should take.
    ///
    /// # Errors
    /// It does not.
    pub fn request(&mut self, request: &[u8]) -> Result<(), Failure> {
        self.tell(request).map_err(|trouble| {
            Failure::trouble(format!("the server takes {}", printable(request)), &trouble)
        })
    }

    /// The next line is this reply.
    ///
    /// # Errors
    /// It is another, or none comes.
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

    /// The next line is an error reply, as far as the contract says what that is.
    ///
    /// # Errors
    /// It is something else, or none comes.
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

    /// Some line comes.
    ///
    /// # Errors
    /// None does.
    pub fn expect_any_line(&mut self) -> Result<(), Failure> {
        self.line().map_err(|trouble| Failure::trouble("one reply line", &trouble))?;
        self.ctx.was_met();
        Ok(())
    }

    /// Nothing comes for a while.
    ///
    /// # Errors
    /// Something does.
    pub fn expect_silence(&mut self, while_what: &str) -> Result<(), Failure> {
        let expected = format!("nothing is sent {while_what}");
        match self.listen(QUIET) {
            Ok(bytes) if bytes.is_empty() => {
                self.ctx.was_met();
                Ok(())
            }
            Ok(bytes) => Err(Failure::fail(expected, printable(&bytes))),
            // That was all that the connection was for.
            Err(ClientError::Closed(rest)) if rest.is_empty() && self.is_used_up() => Ok(()),
            Err(trouble) => Err(Failure::trouble(expected, &trouble)),
        }
    }

    /// What comes within so long, but for a prompt.
    ///
    /// # Errors
    /// The server ends the connection.
    pub fn listen(&mut self, quiet: Duration) -> Result<Vec<u8>, ClientError> {
        let came = self.client.listen(quiet)?;
        Ok(self.ctx.contract.wire.without_prompt(came))
    }

    /// Whatever comes until the server ends the connection.
    ///
    /// # Errors
    /// It is not ended by a FIN.
    pub fn rest(&mut self) -> Result<Vec<u8>, ClientError> {
        let left = self.ctx.patience_left()?;
        let rest =
            self.unless_it_works(left, |party, patience| party.client.rest_within(patience))?;
        Ok(self.ctx.contract.wire.without_prompt(rest))
    }

    /// The server sends nothing more and ends the connection with a FIN.
    ///
    /// # Errors
    /// It sends more, resets, or does not end it.
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

    /// Requests that are sent together are answered: what cases of many requests take for granted.
    /// It has learned the reply to `request(1)`.
    ///
    /// # Errors
    /// They are not: then nothing can be exercised.
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

    /// Sends requests and reads no reply, until the server waits for this client to read, or has
    /// taken in more than it should.
    ///
    /// # Errors
    /// The server goes on working, or ends the connection.
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
                // It is larger than what it was sent if it owes the replies.
                return Err(Failure::blocked(PIPELINED, "it reads on and keeps no replies"));
            } else if blocked && self.ctx.is_asleep() {
                stuffed = Some(Stuffed::Waits { grown: grown() });
            }
        }
        self.client.set_patience(self.ctx.patience);
        stuffed
            .ok_or_else(|| Failure::vacuous("the server never came to wait for its client to read"))
    }

    /// Sends requests without end, and reads the replies, for as long as `meanwhile` takes. The
    /// connection is cut then.
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
            // Before the flood is there nothing could be seen of it.
            let _ = first_answer.recv_timeout(self.ctx.patience);
            let seen = meanwhile();
            // Both threads end with the connection.
            self.client.cut();
            Ok(seen)
        })
    }

    /// Ends the sending side.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn half_close(&mut self) -> Result<(), Failure> {
        self.client.half_close().map_err(|trouble| {
            Failure::trouble("the connection lives until the client ends it", &trouble)
        })
    }

    /// Ends the connection by a reset.
    pub fn reset(self) {
        self.client.reset();
    }

    /// Ends the connection, as a client does that has read all that it was owed.
    pub fn close(self) {}
}
