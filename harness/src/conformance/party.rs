//! A client in a case: a conversation that knows what it may expect.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::finding::Finding;
use super::subject::{Subject, beside, request};
use crate::client::{Client, Trouble, printable};

/// How long a case listens to be sure that nothing comes. A server that is slower than this can
/// pass when it should not, but none can fail when it should not.
pub(super) const QUIET: Duration = Duration::from_millis(120);

/// How long it takes to see what is there.
const LOOK: Duration = Duration::from_millis(1);

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

/// For how many times the patience a server may go on working.
pub(super) const WORKING: u32 = 3;

/// A client in a case.
pub struct Party<'s> {
    pub(super) subject: &'s Subject<'s>,
    /// Its end of the connection, for what goes wrong by intention.
    pub client: Client,
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
        if let Some(prefix) = &self.subject.contract.error_prefix
            && reply.starts_with(prefix.as_bytes())
        {
            let words = format!("the plain request {plain} was answered {}", printable(&reply));
            return Err(Finding::vacuous(words));
        }
        let mut learned = self.subject.learned.borrow_mut();
        if learned.iter().any(|(other, same)| other != request && *same == reply) {
            let words =
                format!("different plain requests are answered alike: {}", printable(&reply));
            return Err(Finding::vacuous(words));
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
        self.client.send(&[request, b"\n"].concat())?;
        self.line()
    }

    /// Waits for the next reply line. A carriage return before its end is not part of it.
    ///
    /// # Errors
    /// None comes.
    pub fn line(&mut self) -> Result<Vec<u8>, Trouble> {
        let left = self.subject.patience_left()?;
        self.hear(left)
    }

    fn line_within(&mut self, patience: Duration) -> Result<Vec<u8>, Trouble> {
        let mut line = self.client.line_within(patience)?;
        if line.last() == Some(&b'\r') {
            line.pop();
            self.subject.loosely("replies end in carriage return and line feed");
        }
        Ok(line)
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
        self.client.send(bytes).map_err(|trouble| {
            Finding::trouble(format!("the server takes {}", printable(bytes)), &trouble)
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
        let prefix = self.subject.contract.error_prefix.clone();
        let expected = match &prefix {
            Some(prefix) => format!("one line that begins with {}", printable(prefix.as_bytes())),
            None => "one line that says what is wrong".to_owned(),
        };
        match self.line() {
            Ok(line) if line.starts_with(prefix.unwrap_or_default().as_bytes()) => {
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
        match self.client.listen(QUIET) {
            Ok(bytes) if bytes.is_empty() => {
                self.subject.was_met();
                Ok(())
            }
            Ok(bytes) => Err(Finding::fail(expected, printable(&bytes))),
            Err(trouble) => Err(Finding::trouble(expected, &trouble)),
        }
    }

    /// Whatever comes until the server ends the connection.
    ///
    /// # Errors
    /// It is not ended by a FIN.
    pub fn rest(&mut self) -> Result<Vec<u8>, Trouble> {
        let left = self.subject.patience_left()?;
        self.unless_it_works(left, |party, patience| party.client.rest_within(patience))
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
        let vacuous = |seen: String| {
            Finding::vacuous(format!("even without more: {seen} (see framing/pipelined)"))
        };
        let together = [&request(1)[..], b"\n"].concat().repeat(requests);
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
        let requests = [&request(1)[..], b"\n"].concat().repeat(STUFFED_AT_ONCE);
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
                return Err(Finding::vacuous(
                    "it reads on and keeps no replies: see framing/pipelined",
                ));
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
        thread::scope(|scope| {
            beside(scope, || {
                let flood = [&request(1)[..], b"\n"].concat().repeat(1000);
                while sending.write_all(&flood).is_ok() {}
            })?;
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
