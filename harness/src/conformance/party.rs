//! A client in a case: a conversation that knows what it may expect.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::finding::Finding;
use super::subject::{Subject, WORKING, beside, request};
use crate::client::{Client, Trouble};
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
pub struct Party<'s> {
    pub(super) subject: &'s Subject<'s>,
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

impl Party<'_> {
    /// Learns what the server answers to a plain request, to compare with later.
    ///
    /// # Errors
    /// There is no answer, or none that tells requests apart: then nothing can be exercised.
    pub fn learn(&mut self, request: &[u8]) -> Result<Vec<u8>, Finding> {
        let plain = printable(request);
        let asked = Instant::now();
        let reply = self.ask(request).map_err(|trouble| {
            self.subject.not_served(&format!("the plain request {plain} is answered"), &trouble)
        })?;
        self.subject.answered_within(asked.elapsed());
        if self.subject.contract.is_error(&reply) == Some(true) {
            let words = format!("the plain request {plain} was answered {}", printable(&reply));
            let by = if self.subject.contract.is_busy(&reply) { PLACES } else { VALUES };
            return Err(Finding::blocked(by, words));
        }
        if self.subject.contract.is_busy(&reply) {
            let words = format!("instead of a reply to {plain}: {}", printable(&reply));
            return Err(Finding::vacuous(words));
        }
        let mut learned = self.subject.learned.borrow_mut();
        if learned.iter().any(|(other, same)| other != request && *same == reply) {
            let words =
                format!("different plain requests are answered alike: {}", printable(&reply));
            return Err(Finding::blocked(VALUES, words));
        }
        learned.insert(request.to_vec(), reply.clone());
        self.subject.served.set(true);
        Ok(reply)
    }

    /// Sends a request and waits for its reply.
    ///
    /// # Errors
    /// There is none.
    pub fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>, Trouble> {
        self.tell(request)?;
        self.line()
    }

    /// Sends a request.
    ///
    /// # Errors
    /// The server does not take it.
    pub fn tell(&mut self, request: &[u8]) -> Result<(), Trouble> {
        self.transmit(&self.subject.sent(request))?;
        self.asked += 1;
        Ok(())
    }

    /// Whether the connection was for as many requests as were sent.
    fn is_used_up(&self) -> bool {
        self.subject.contract.wire.requests().is_some_and(|most| self.asked >= most)
    }

    /// Sends bytes, after what the server and its clients say first. A connection that was for as
    /// many requests as were sent is replaced by another one.
    ///
    /// # Errors
    /// The server does not take them, or does not say its part.
    pub fn transmit(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        if self.is_used_up() {
            let Party { client, .. } = self.subject.try_connect()?;
            (self.client, self.is_greeted, self.asked) = (client, false, 0);
        }
        self.be_greeted()?;
        self.client.send(bytes)
    }

    /// Reads the greeting and makes the handshake, if that was not done yet.
    ///
    /// # Errors
    /// The server does not say its part.
    pub fn be_greeted(&mut self) -> Result<(), Trouble> {
        let patience = self.subject.patience_left()?;
        self.be_greeted_within(patience)
    }

    fn be_greeted_within(&mut self, patience: Duration) -> Result<(), Trouble> {
        if self.is_greeted {
            return Ok(());
        }
        let wire = &self.subject.contract.wire;
        if let Some(greeting) = &wire.greeting {
            let said = self.client.greeting(greeting, patience);
            // One that is silent may be greeted later.
            self.is_greeted = !matches!(said, Err(Trouble::Silent(..)));
            let said = said?;
            if self.subject.contract.is_busy(&said) {
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
    pub fn quit(&mut self) -> Result<(), Trouble> {
        match &self.subject.contract.wire.quit {
            Some(word) => self.transmit(word),
            None => Ok(()),
        }
    }

    /// Waits for the next reply line. A carriage return before its end is not part of it.
    ///
    /// # Errors
    /// None comes.
    pub fn line(&mut self) -> Result<Vec<u8>, Trouble> {
        let left = self.subject.patience_left()?;
        self.hear(left)
    }

    /// Waits for the next reply for so long.
    ///
    /// # Errors
    /// None comes.
    pub fn line_within(&mut self, patience: Duration) -> Result<Vec<u8>, Trouble> {
        let wire = &self.subject.contract.wire;
        self.be_greeted()?;
        let mut line = self.client.reply_within(wire, patience)?;
        if line.last() == Some(&b'\r') && wire.reply_end == ReplyEnd::default() {
            line.pop();
            self.subject.loosely("replies end in carriage return and line feed");
        }
        Ok(wire.value_of(line))
    }

    /// What has come already.
    ///
    /// # Errors
    /// No whole line has.
    pub fn heard(&mut self) -> Result<Vec<u8>, Trouble> {
        self.line_within(LOOK)
    }

    /// Waits for the next reply line. Silence is believed after `quiet`, of a server that rests:
    /// one that works may only lack a processor, and is waited for.
    ///
    /// # Errors
    /// None comes.
    pub fn hear(&mut self, quiet: Duration) -> Result<Vec<u8>, Trouble> {
        self.unless_it_works(quiet, Self::line_within)
    }

    /// Sends a request and waits for its reply, as an experiment does on a server that has answered a
    /// plain request: after `quiet` as [`hear`](Self::hear), and before that as soon as the server
    /// can say nothing more ([`mechanism::is_still`](crate::concurrency::is_still)).
    ///
    /// # Errors
    /// The server does not take it, or there is no reply.
    pub(super) fn ask_out(&mut self, request: &[u8], quiet: Duration) -> Result<Vec<u8>, Trouble> {
        self.until_still(quiet, |party, pause| party.be_greeted_within(pause))?;
        self.tell(request)?;
        self.hear_out(quiet)
    }

    /// As [`ask_out`](Self::ask_out), of a request that was sent.
    ///
    /// # Errors
    /// There is no reply.
    pub(super) fn hear_out(&mut self, quiet: Duration) -> Result<Vec<u8>, Trouble> {
        self.until_still(quiet, |party, pause| {
            party.be_greeted_within(pause)?;
            party.line_within(pause)
        })
    }

    fn until_still<T>(
        &mut self,
        quiet: Duration,
        mut wait: impl FnMut(&mut Self, Duration) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        while began.elapsed() + pause < quiet {
            match wait(self, pause) {
                Err(Trouble::Silent(..)) => {}
                found => return found,
            }
            if self.subject.is_still_since(began) && self.is_delivered() {
                // What it wrote before it came to rest is there now.
                return wait(self, LOOK).map_err(|trouble| match trouble {
                    Trouble::Silent(_, bytes) => Trouble::Silent(began.elapsed(), bytes),
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
        mut wait: impl FnMut(&mut Self, Duration) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let left = self.subject.patience_left()?;
        let (began, mut waited) = (Instant::now(), Duration::ZERO);
        let found = loop {
            waited += quiet;
            match wait(self, quiet) {
                // What it wrote before it came to rest is there now.
                Err(Trouble::Silent(..)) if self.subject.is_asleep() => break wait(self, LOOK),
                Err(Trouble::Silent(..)) if began.elapsed() < left * WORKING => {}
                found => break found,
            }
        };
        found.map_err(|trouble| match trouble {
            // Silence for less than the patience of one wait is the end of that of the whole case.
            Trouble::Silent(..) if left <= waited && left < self.subject.patience => {
                Trouble::OutOfTime
            }
            Trouble::Silent(_, bytes) => Trouble::Silent(waited, bytes),
            other => other,
        })
    }

    /// The reply is the one that was learned.
    ///
    /// # Errors
    /// It is another.
    pub fn is_as_learned(&self, request: &[u8], reply: &[u8]) -> Result<(), Finding> {
        match self.subject.learned.borrow().get(request) {
            Some(learned) if learned == reply => {
                self.subject.was_met();
                Ok(())
            }
            Some(learned) => Err(Finding::fail(printable(learned), printable(reply))),
            None => Err(Finding::vacuous("nothing was learned to compare with")),
        }
    }

    /// Sends bytes that the server should take.
    ///
    /// # Errors
    /// It does not.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Finding> {
        self.transmit(bytes).map_err(|trouble| {
            Finding::trouble(format!("the server takes {}", printable(bytes)), &trouble)
        })
    }

    /// Sends a request that the server should take.
    ///
    /// # Errors
    /// It does not.
    pub fn request(&mut self, request: &[u8]) -> Result<(), Finding> {
        self.tell(request).map_err(|trouble| {
            Finding::trouble(format!("the server takes {}", printable(request)), &trouble)
        })
    }

    /// The next line is this reply.
    ///
    /// # Errors
    /// It is another, or none comes.
    pub fn expect(&mut self, reply: &[u8]) -> Result<(), Finding> {
        let expected = format!("the reply {}", printable(reply));
        match self.line() {
            Ok(line) if line == reply => {
                self.subject.was_met();
                Ok(())
            }
            Ok(line) => Err(Finding::fail(expected, printable(&line))),
            Err(trouble) => Err(Finding::trouble(expected, &trouble)),
        }
    }

    /// The next line is an error reply, as far as the contract says what that is.
    ///
    /// # Errors
    /// It is something else, or none comes.
    pub fn expect_error(&mut self) -> Result<Vec<u8>, Finding> {
        let contract = self.subject.contract;
        let expected = match (&contract.error_prefix, &contract.wire.error) {
            (Some(prefix), _) => {
                format!("one line that begins with {}", printable(prefix.as_bytes()))
            }
            (None, Some(error)) => format!("a reply that looks like an error ({})", error.as_str()),
            (None, None) => "one line that says what is wrong".to_owned(),
        };
        match self.line() {
            Ok(line) if contract.is_error(&line).unwrap_or(true) => {
                self.subject.was_met();
                Ok(line)
            }
            Ok(line) => Err(Finding::fail(expected, printable(&line))),
            Err(trouble) => Err(Finding::trouble(expected, &trouble)),
        }
    }

    /// Some line comes.
    ///
    /// # Errors
    /// None does.
    pub fn expect_any_line(&mut self) -> Result<(), Finding> {
        self.line().map_err(|trouble| Finding::trouble("one reply line", &trouble))?;
        self.subject.was_met();
        Ok(())
    }

    /// Nothing comes for a while.
    ///
    /// # Errors
    /// Something does.
    pub fn expect_silence(&mut self, while_what: &str) -> Result<(), Finding> {
        let expected = format!("nothing is sent {while_what}");
        match self.listen(QUIET) {
            Ok(bytes) if bytes.is_empty() => {
                self.subject.was_met();
                Ok(())
            }
            Ok(bytes) => Err(Finding::fail(expected, printable(&bytes))),
            // That was all that the connection was for.
            Err(Trouble::Closed(rest)) if rest.is_empty() && self.is_used_up() => Ok(()),
            Err(trouble) => Err(Finding::trouble(expected, &trouble)),
        }
    }

    /// What comes within so long, but for a prompt.
    ///
    /// # Errors
    /// The server ends the connection.
    pub fn listen(&mut self, quiet: Duration) -> Result<Vec<u8>, Trouble> {
        let came = self.client.listen(quiet)?;
        Ok(self.subject.contract.wire.without_prompt(came))
    }

    /// Whatever comes until the server ends the connection.
    ///
    /// # Errors
    /// It is not ended by a FIN.
    pub fn rest(&mut self) -> Result<Vec<u8>, Trouble> {
        let left = self.subject.patience_left()?;
        let rest =
            self.unless_it_works(left, |party, patience| party.client.rest_within(patience))?;
        Ok(self.subject.contract.wire.without_prompt(rest))
    }

    /// The server sends nothing more and ends the connection with a FIN.
    ///
    /// # Errors
    /// It sends more, resets, or does not end it.
    pub fn expect_end(&mut self) -> Result<(), Finding> {
        let expected = "the server closes cleanly (FIN), with nothing more to say";
        match self.rest() {
            Ok(rest) if rest.is_empty() => {
                self.subject.was_met();
                Ok(())
            }
            Ok(rest) => Err(Finding::fail(expected, printable(&rest))),
            Err(trouble) => Err(Finding::trouble(expected, &trouble)),
        }
    }

    /// Requests that are sent together are answered: what cases of many requests take for granted.
    /// It has learned the reply to `request(1)`.
    ///
    /// # Errors
    /// They are not: then nothing can be exercised.
    pub fn rehearse(&mut self, requests: usize) -> Result<(), Finding> {
        let vacuous =
            |seen: String| Finding::blocked(PIPELINED, format!("even without more: {seen}"));
        let together = self.subject.sent(&request(1)).repeat(requests);
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
    pub fn stuff(&mut self) -> Result<Stuffed, Finding> {
        self.rehearse(REHEARSED)?;
        let requests = self.subject.sent(&request(1)).repeat(STUFFED_AT_ONCE);
        self.subject.let_it_rest();
        let before = self.subject.holdings().anonymous_bytes;
        let grown = || self.subject.holdings().anonymous_bytes.saturating_sub(before);
        let (mut sent, mut stuffed) = (0, None);
        self.client.set_patience(QUIET);
        let deadline = Instant::now() + self.subject.patience * WORKING;
        while stuffed.is_none() && Instant::now() < deadline {
            let blocked = self.client.send(&requests).is_err();
            sent += requests.len();
            if grown() > GROWTH {
                stuffed = Some(Stuffed::Hoards { sent, grown: grown() });
            } else if sent > MOST_STUFFED {
                // It is larger than what it was sent if it owes the replies.
                return Err(Finding::blocked(PIPELINED, "it reads on and keeps no replies"));
            } else if blocked && self.subject.is_asleep() {
                stuffed = Some(Stuffed::Waits { grown: grown() });
            }
        }
        self.client.set_patience(self.subject.patience);
        stuffed
            .ok_or_else(|| Finding::vacuous("the server never came to wait for its client to read"))
    }

    /// Sends requests without end, and reads the replies, for as long as `meanwhile` takes. The
    /// connection is cut then.
    ///
    /// # Errors
    /// The harness has no descriptor or thread left.
    pub fn while_it_floods<T>(&mut self, meanwhile: impl FnOnce() -> T) -> Result<T, Finding> {
        let stream =
            || self.client.stream().map_err(|trouble| Finding::trouble("a clone", &trouble));
        let (mut sending, mut receiving) = (stream()?, stream()?);
        let (answered, first_answer) = mpsc::sync_channel(1);
        let flood = self.subject.sent(&request(1)).repeat(1000);
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
            let _ = first_answer.recv_timeout(self.subject.patience);
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
    pub fn half_close(&mut self) -> Result<(), Finding> {
        self.client.half_close().map_err(|trouble| {
            Finding::trouble("the connection lives until the client ends it", &trouble)
        })
    }

    /// Ends the connection by a reset.
    pub fn reset(self) {
        self.client.reset();
    }

    /// Ends the connection, as a client does that has read all that it was owed.
    pub fn close(self) {}
}
