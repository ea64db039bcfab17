//! Discovery experiments: detect properties that a contract does not declare.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use servers::{OverloadPolicy, Service};

use super::context::{PROMPT, TestContext, request};
use super::failure::Failure;
use super::padding::{padded, reply_to_padded};
use super::precondition::MOST_CLIENTS;
use super::test_client::{PLACES, QUIET, TestClient};
use crate::client::{ClientError, LONGEST_REPLY};
use crate::exit::Exit;
use crate::text::printable;

/// Connections opened per round to count the clients that wait for a slot.
const AT_ONCE: usize = 16;

/// The longest request sent, in bytes.
const LONGEST_REQUEST: usize = 1024 * 1024;

/// Malformed requests for a calculator.
const MISTAKES: [&[u8]; 6] = [b"1+", b"(1", b"*", b"abc", b"'", b"1/0"];

/// Most requests in flight at SIGTERM, and least number that must be answered before.
const UNDER_WAY: usize = 1000;
const REHEARSED: usize = 200;

/// Multiple of the timeout within which a server must exit.
pub(super) const GONE: u32 = 2;

/// The clients of a server whose connection limit was reached.
pub(super) struct Crowd<'s> {
    /// Clients that the server answers.
    pub(super) served: Vec<TestClient<'s>>,
    /// Clients that the server has accepted and does not answer.
    pub(super) waiting: Vec<TestClient<'s>>,
    /// The result of the next connection; none if the case opened its maximum.
    pub(super) next: Option<Met>,
    /// Whether the kernel reports which connections were accepted.
    pub(super) is_told: bool,
}

impl<'s> Crowd<'s> {
    /// Connects clients one by one, each with a request, until one gets no reply.
    ///
    /// # Errors
    /// The first client gets no reply. The case is then inconclusive.
    pub(super) fn gather(ctx: &'s TestContext<'_>) -> Result<Crowd<'s>, Failure> {
        let mut first = ctx.connect()?;
        let reply = first.learn(&request(1))?;
        let is_told = ctx.has_accepted(&first);
        let mut crowd = Crowd { served: vec![first], waiting: Vec::new(), next: None, is_told };
        while crowd.waiting.is_empty() && crowd.next.is_none() && crowd.room() > 0 {
            crowd.admit(ctx, &reply)?;
        }
        Ok(crowd)
    }

    /// Connects one more client and sends a request.
    fn admit(&mut self, ctx: &'s TestContext<'_>, reply: &[u8]) -> Result<(), Failure> {
        let began = Instant::now();
        let answered = ctx.try_connect().map(|mut client| {
            client.client.anticipate(reply.to_vec());
            let heard = client.ask_out(&request(1), quiet(ctx));
            (client, heard)
        });
        match answered {
            // The server closed an idle client, so the new one has its connection slot.
            Ok((_, Ok(line))) if line == reply && began.elapsed() > QUIET && self.has_lost() => {
                self.next = Some(Met::Unanswered);
            }
            Ok((client, Ok(line))) if line == reply => self.served.push(client),
            Ok((client, Err(ClientError::Silent(..)))) if ctx.has_accepted(&client) => {
                self.waiting.push(client);
            }
            Ok((_, Err(ClientError::Silent(..)))) => self.next = Some(Met::Unanswered),
            Err(ClientError::NotConnected(words)) => return Err(Failure::vacuous(words)),
            // The client has sent a request, so a busy message may be lost in a reset. Another
            // client only listens.
            _ => self.next = Some(meet(ctx).0),
        }
        Ok(())
    }

    /// Connects silent clients while the server accepts them without an answer.
    ///
    /// # Errors
    /// The server never becomes idle, so it may still answer some of them.
    pub(super) fn take_in(&mut self, ctx: &'s TestContext<'_>) -> Result<(), Failure> {
        while !self.waiting.is_empty() && self.next.is_none() && self.room() > 0 {
            let mut coming = Vec::new();
            let mut turned_away = None;
            while coming.len() < AT_ONCE.min(self.room()) && turned_away.is_none() {
                match ctx.try_connect() {
                    Ok(client) => coming.push(client),
                    Err(trouble) => turned_away = Some(Met::no_connection(trouble)),
                }
            }
            ctx.let_it_be_still(&coming, quiet(ctx));
            let restless = || Failure::vacuous("the server never rests");
            ctx.wait_until(|| ctx.is_asleep(), restless)?;
            for mut client in coming {
                let met = match client.heard() {
                    Err(ClientError::Silent(..)) if ctx.has_accepted(&client) => {
                        self.waiting.push(client);
                        continue;
                    }
                    Err(ClientError::Silent(..)) => Met::Unanswered,
                    heard => end_of(ctx, &mut client, heard),
                };
                turned_away = Some(met);
                break;
            }
            self.next = turned_away;
        }
        Ok(())
    }

    /// Returns whether the first client has lost its connection.
    fn has_lost(&mut self) -> bool {
        !matches!(self.served[0].heard(), Err(ClientError::Silent(..)))
    }

    fn room(&self) -> usize {
        MOST_CLIENTS - self.served.len() - self.waiting.len()
    }
}

/// Returns the silence after which a client counts as unanswered.
///
/// A connection that may be rejected gets time for the rejection. The time stays below the idle
/// timeout, so that the server does not close the clients it serves.
fn quiet(ctx: &TestContext<'_>) -> Duration {
    let quiet = match ctx.contract.when_full {
        Some(OverloadPolicy::Wait) => QUIET * 2,
        _ => PROMPT * 2,
    };
    ctx.quiet(ctx.contract.idle_timeout.map_or(quiet, |timeout| quiet.min(timeout / 4)))
}

/// Outcome of a connection to a full server.
#[derive(Debug)]
pub(super) enum Met {
    Refused,
    Reset,
    Busy(Vec<u8>),
    Told(Vec<u8>),
    Closed,
    Unanswered,
    Served(Vec<u8>),
    Other(String),
}

/// Connects one more client, which first listens and then sends a request. Returns the outcome and
/// the time to it.
pub(super) fn meet(ctx: &TestContext<'_>) -> (Met, Duration) {
    let began = Instant::now();
    let mut client = match ctx.try_connect() {
        Ok(client) => client,
        Err(trouble) => return (Met::no_connection(trouble), began.elapsed()),
    };
    let first = client.hear_out(quiet(ctx));
    let after = began.elapsed();
    let met = match first {
        Err(ClientError::Silent(..)) => match client.ask_out(&request(7), ctx.quiet(QUIET * 2)) {
            Err(ClientError::Silent(..)) => Met::Unanswered,
            Ok(line) if !ctx.contract.is_busy(&line) => Met::Served(line),
            other => end_of(ctx, &mut client, other),
        },
        other => end_of(ctx, &mut client, other),
    };
    (met, after)
}

/// Returns the outcome for a client that received a line or a client error.
fn end_of(
    ctx: &TestContext<'_>,
    client: &mut TestClient<'_>,
    heard: Result<Vec<u8>, ClientError>,
) -> Met {
    match heard {
        Ok(line) => match client.rest() {
            Ok(rest) if !rest.is_empty() => {
                Met::Other(format!("{}, then {}", printable(&line), printable(&rest)))
            }
            Ok(_) if ctx.contract.is_busy(&line) => Met::Busy(line),
            Ok(_) => Met::Told(line),
            Err(trouble) => Met::Other(format!("{}, then {trouble}", printable(&line))),
        },
        Err(ClientError::Reset) => Met::Reset,
        Err(ClientError::Closed(bytes)) if bytes.is_empty() => Met::Closed,
        Err(trouble) => Met::Other(trouble.to_string()),
    }
}

impl Met {
    fn no_connection(trouble: ClientError) -> Met {
        match trouble {
            ClientError::Refused => Met::Refused,
            ClientError::Reset => Met::Reset,
            other => Met::Other(other.to_string()),
        }
    }

    pub(super) fn kind(&self) -> Option<OverloadPolicy> {
        match self {
            Met::Refused => Some(OverloadPolicy::Refuse),
            Met::Reset => Some(OverloadPolicy::Reset),
            Met::Busy(_) => Some(OverloadPolicy::Busy),
            Met::Unanswered => Some(OverloadPolicy::Wait),
            Met::Told(_) | Met::Closed | Met::Served(_) | Met::Other(_) => None,
        }
    }

    pub(super) fn words(&self) -> String {
        match self {
            Met::Refused => "connection refused".to_owned(),
            Met::Reset => "connected, then reset".to_owned(),
            Met::Busy(line) | Met::Told(line) => format!("{}, then a clean end", printable(line)),
            Met::Closed => "connected, then closed without a word".to_owned(),
            Met::Unanswered => "connected, and left without an answer".to_owned(),
            Met::Served(reply) => format!("served: {}", printable(reply)),
            Met::Other(words) => words.clone(),
        }
    }

    pub(super) fn hint(&self, declared: OverloadPolicy) -> Option<String> {
        let words = match (self, declared) {
            (Met::Served(_), _) => {
                "it serves more clients than it declares: is anything counted before a client is taken on?"
            }
            (Met::Unanswered, _) => {
                "the client was accepted, by the server or by the kernel's queue, and never read: \
                 this queues, it does not refuse. listen(0) does not refuse either; to refuse, \
                 close the listening socket or shut it down while clients are served"
            }
            (Met::Told(_), OverloadPolicy::Busy) => {
                "is this its busy line? --busy-prefix declares it"
            }
            (Met::Closed, OverloadPolicy::Busy | OverloadPolicy::Reset) => {
                "accept and close alone give a silent client an end of file"
            }
            (Met::Reset, OverloadPolicy::Busy) => {
                "the busy line was overtaken by a reset: was there input that nobody read?"
            }
            (Met::Refused, OverloadPolicy::Wait) => {
                "does it close the listening socket while it serves?"
            }
            _ => return None,
        };
        Some(words.to_owned())
    }
}

pub(super) fn words_for(declared: OverloadPolicy) -> &'static str {
    match declared {
        OverloadPolicy::Wait => "connected, and answered only when a place is free",
        OverloadPolicy::Refuse => "connection refused",
        OverloadPolicy::Reset => "connected, then reset",
        OverloadPolicy::Busy => "one line that says so (--busy-prefix), then a clean end",
    }
}

/// The longest line that a server answers.
pub(super) struct Longest {
    /// The longest line with the expected reply, in bytes.
    pub(super) answered: usize,
    /// The shortest line without the expected reply, in bytes, and its outcome.
    pub(super) not: Option<(usize, NotAnswered)>,
}

/// Outcome of a line that is too long.
pub(super) enum NotAnswered {
    Otherwise(Vec<u8>),
    ClientError(ClientError),
}

/// Doubles the line length, then bisects for the first length without the expected reply. Stops if
/// the server hangs or crashes.
///
/// # Errors
/// A short line gets no reply. The case is then inconclusive.
pub(super) fn longest_line(ctx: &TestContext<'_>) -> Result<Longest, Failure> {
    let mut client = ctx.connect()?;
    let short = client.learn(&request(1))?;
    let next = client.learn(&request(2))?;
    let most = match ctx.contract.service {
        Service::Calc => LONGEST_REQUEST,
        Service::Echo => LONGEST_REPLY,
    };
    let mut found = Longest { answered: request(1).len(), not: None };
    while let Some(size) = found.next_size(most) {
        let line = padded(ctx, &request(1), size);
        let not = match client.ask_out(&line, PROMPT) {
            Ok(reply) if reply == reply_to_padded(ctx, &short, &line) => {
                if client.ask(&request(2)).is_ok_and(|reply| reply != next) {
                    let seen = format!("a line of {size} bytes gets more than one reply");
                    return Err(Failure::blocked(&["framing/sizes"], seen));
                }
                found.answered = size;
                continue;
            }
            Ok(other) => NotAnswered::Otherwise(other),
            Err(trouble) => NotAnswered::ClientError(trouble),
        };
        let hangs = matches!(not, NotAnswered::ClientError(ClientError::Silent(..)));
        found.not = Some((size, not));
        if hangs {
            break;
        }
        // The server may also answer the rest of the line, so a new client continues.
        client.close();
        match ctx.connect_soon(&request(1)) {
            Ok(fresh) => client = fresh,
            Err(turned_away) if turned_away.verdict.is_none() => {
                let seen = turned_away.observed;
                return Err(Failure::blocked(PLACES, format!("after another has left: {seen}")));
            }
            Err(_) => break,
        }
    }
    Ok(found)
}

impl Longest {
    fn next_size(&self, most: usize) -> Option<usize> {
        let (known, size) = match &self.not {
            None => (most, (self.answered * 2).min(most)),
            Some((over, _)) => (over - 1, self.answered.midpoint(*over)),
        };
        (self.answered < known).then_some(size)
    }

    /// Describes the outcome of the line that is too long, with its size if the limit is not exact.
    pub(super) fn then(&self) -> Option<String> {
        let (size, not) = self.not.as_ref()?;
        let words = match not {
            NotAnswered::Otherwise(line) => printable(line),
            NotAnswered::ClientError(trouble) => trouble.to_string(),
        };
        Some(match self.is_exact() {
            true => words,
            false => format!("at {size} bytes: {words}"),
        })
    }

    /// Returns whether one more byte was too long.
    pub(super) fn is_exact(&self) -> bool {
        self.not.as_ref().is_some_and(|(size, _)| *size == self.answered + 1)
    }
}

/// A malformed request and the reply to it.
pub(super) struct Erroneous {
    pub(super) request: Vec<u8>,
    pub(super) reply: Vec<u8>,
}

/// Collects the replies to malformed requests.
///
/// Other cases test requests without a reply and requests with a number as reply.
///
/// # Errors
/// A plain request gets no reply. The case is then inconclusive.
pub(super) fn error_lines(ctx: &TestContext<'_>) -> Result<Vec<Erroneous>, Failure> {
    let plain = request(1);
    let mistakes = match ctx.contract.service {
        Service::Calc => MISTAKES.map(<[u8]>::to_vec).to_vec(),
        Service::Echo => {
            let limit = ctx.contract.max_line.unwrap_or_default();
            [limit + 1, 2 * limit].map(|size| padded(ctx, &plain, size)).to_vec()
        }
    };
    // A declared error prefix means that each reply must arrive, so each gets the full timeout.
    let quiet = match ctx.contract.error_prefix {
        Some(_) => ctx.patience,
        None => ctx.quiet(PROMPT),
    };
    let mut lines = Vec::new();
    let mut held = Vec::new();
    for request in mistakes {
        let mut client = match one_more(ctx, &mut held, &plain) {
            Err(_) if !lines.is_empty() => break,
            client => client?,
        };
        if let Ok(reply) = client.ask_out(&request, quiet)
            && !is_answer(&request, &reply)
        {
            lines.push(Erroneous { request, reply });
        }
        held.push(client);
    }
    Ok(lines)
}

/// Connects one more served client while the earlier ones stay open.
///
/// Values that differ between concurrent connections, such as a thread id, then differ in the
/// replies. If the server does not serve it, closes the earlier clients first.
fn one_more<'s>(
    ctx: &'s TestContext<'_>,
    held: &mut Vec<TestClient<'s>>,
    plain: &[u8],
) -> Result<TestClient<'s>, Failure> {
    if !held.is_empty() {
        let served = ctx.try_connect().and_then(|mut client| {
            let reply = client.ask_out(plain, quiet(ctx))?;
            Ok((client, reply))
        });
        match served {
            Ok((client, reply)) if client.is_as_learned(plain, &reply).is_ok() => {
                return Ok(client);
            }
            _ => held.clear(),
        }
    }
    ctx.connect_soon(plain)
}

/// Returns whether a reply is a number or repeats the request, so it is no error.
fn is_answer(request: &[u8], reply: &[u8]) -> bool {
    let is_number = std::str::from_utf8(reply).is_ok_and(|text| text.trim().parse::<f64>().is_ok());
    is_number || request.starts_with(reply)
}

/// Returns the common prefix of the lines, cut after a colon or after a whole word.
pub(super) fn common_prefix<'l>(lines: impl IntoIterator<Item = &'l [u8]>) -> &'l [u8] {
    let common = |one: &'l [u8], other: &[u8]| {
        let same = one.iter().zip(other).take_while(|(one, other)| one == other).count();
        &one[..same]
    };
    let lines: Vec<&[u8]> = lines.into_iter().collect();
    let common = lines.iter().copied().reduce(common).unwrap_or_default();
    // If the lines start to differ within a number, the prefix excludes the digits before.
    let goes_on = |line: &&[u8]| line.get(common.len()).is_some_and(u8::is_ascii_alphanumeric);
    let run = common.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric());
    let number = match lines.iter().any(goes_on) && run.clone().any(u8::is_ascii_digit) {
        true => run.count(),
        false => 0,
    };
    let colon = common.windows(2).position(|two| two == b": ").map(|at| at + 2);
    let space = || common.iter().rposition(|&byte| byte == b' ').map(|at| at + 1);
    &common[..colon.or_else(space).unwrap_or(common.len() - number)]
}

/// Outcome of a client that was served and then stayed idle.
pub(super) struct Idle {
    /// How the server closed the connection; silence if it did not.
    pub(super) ended: Result<Vec<u8>, ClientError>,
    /// Upper bound of the idle time.
    pub(super) at_most: Duration,
}

/// Connects a client that sends one request and then stays idle for `until`.
///
/// It waits longer only if a busy machine may have kept the server from closing the connection.
///
/// # Errors
/// The request gets no reply. The case is then inconclusive.
pub(super) fn idle(ctx: &TestContext<'_>, until: Duration) -> Result<Idle, Failure> {
    let mut client = ctx.connect()?;
    // The server's idle time starts after this, so a timeout cannot seem to be too early.
    let began = Instant::now();
    client.learn(&request(1))?;
    let ended = match client.line_within(until) {
        Err(ClientError::Silent(..)) => client.hear(QUIET),
        ended => ended,
    };
    let ended = ended.map_err(|trouble| match trouble {
        ClientError::Silent(_, bytes) => ClientError::Silent(began.elapsed(), bytes),
        other => other,
    });
    Ok(Idle { ended, at_most: began.elapsed() })
}

impl Idle {
    /// Returns whether the server closed or reset the connection.
    pub(super) fn is_ended(&self) -> bool {
        matches!(self.ended, Err(ClientError::Closed(_) | ClientError::Reset))
    }
}

/// Outcome of SIGTERM.
pub(super) struct Ended {
    /// Number of requests in flight, and number of replies to them.
    pub(super) asked: usize,
    pub(super) answered: usize,
    /// How the server exited, if it did.
    pub(super) exit: Option<Exit>,
}

/// Sends SIGTERM while requests are in flight, then reads the replies and leaves.
///
/// # Errors
/// A plain request gets no reply. The case is then inconclusive.
pub(super) fn ending(ctx: &TestContext<'_>) -> Result<Ended, Failure> {
    let mut client = ctx.connect()?;
    let reply = client.learn(&request(1))?;
    let began = Instant::now();
    client.rehearse(REHEARSED)?;
    // The time to a single reply says more about a busy machine than about the server.
    let each = began.elapsed() / u32::try_from(REHEARSED).unwrap_or(u32::MAX);
    let asked = ctx.asked_in_time(each, UNDER_WAY);
    if asked > REHEARSED {
        client.rehearse(asked)?;
    }
    client.send(&ctx.sent(&request(1)).repeat(asked))?;
    ctx.signal(Signal::SIGTERM);
    let mut answered = 0;
    let quiet = ctx.quiet(PROMPT);
    while answered < asked && client.hear_out(quiet).is_ok_and(|line| line == reply) {
        answered += 1;
    }
    // A server with a client limit exits when its last client leaves. This client stays open, so
    // that such an exit is not taken for the shutdown.
    let stays = ctx.contract.wire.clients_per_life.map(|_| client);
    // A server without a declared shutdown may ignore SIGTERM. If it is idle, it is not waited for.
    let declared = ctx.contract.ending.is_some();
    let began = Instant::now();
    let exit = loop {
        let exit = ctx.wait_for_exit(PROMPT);
        let goes_on = || {
            let waited = began.elapsed();
            let rests = waited > PROMPT * 2 && ctx.is_still_since(began)
                || waited > PROMPT * 5 && ctx.is_asleep();
            waited > ctx.patience * GONE || !declared && rests
        };
        if exit.is_some() || goes_on() {
            break exit;
        }
    };
    drop(stays);
    Ok(Ended { asked, answered, exit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_prefix_ends_where_a_mark_does() {
        for (lines, prefix) in [
            (&["error: a b", "error: a c"][..], "error: "),
            (&["ERR bad request", "ERR bad value"], "ERR bad "),
            (&["?", "?"], "?"),
            (&["one", "two"], ""),
            (&["[Thread-140326] ?", "[Thread-140781] ?"], "[Thread-"),
            (&["E1", "E2"], "E"),
            (&["-ERR", "-ERR"], "-ERR"),
            (&[], ""),
        ] {
            let found = common_prefix(lines.iter().map(|line| line.as_bytes()));
            assert_eq!(found, prefix.as_bytes(), "{lines:?}");
        }
    }

    #[test]
    fn every_limit_is_found_by_doubling_and_halving() {
        for limit in [5, 6, 100, 4096, 65_535, LONGEST_REQUEST - 1, LONGEST_REQUEST] {
            let mut found = Longest { answered: 5, not: None };
            let mut asked = 0;
            while let Some(size) = found.next_size(LONGEST_REQUEST) {
                asked += 1;
                match size <= limit {
                    true => found.answered = size,
                    false => found.not = Some((size, NotAnswered::Otherwise(Vec::new()))),
                }
            }
            assert_eq!(found.answered, limit);
            assert_eq!(found.is_exact(), limit < LONGEST_REQUEST);
            assert!(asked <= 40, "{asked} lines were sent");
        }
    }
}
