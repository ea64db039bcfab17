//! Finds the smallest client behaviour that makes a server exit.
//!
//! Cases run in parallel, and a server that exits, for example, when any client closes fails most
//! of them. Which case it is does not show the cause. So after the cases, small provocations are
//! tried in a fixed order, each on a new server.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::context::{EXIT_GRACE, ServerEnd, TestContext};
use super::precondition::Precondition;
use super::requests::{halves, request};
use super::settings::Runner;
use super::test_client::TestClient;
use crate::client::ClientError;
use crate::exit::Exit;
use crate::results::{CaseResult, Event, EventKind, Fault, Provocation, Provoked};
use crate::server::{LaunchSpec, NetworkLease};
use crate::text::{OutputEnd, exit_message};

/// Time limit for all provocations of a server.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// Number of clients of a provocation, one after another. The first client may be special: some
/// servers create a pool of threads for it.
const CLIENTS: usize = 2;

/// Number of requests whose replies a client does not read before it resets.
const UNREAD_REPLIES: usize = 20_000;

/// Parts of error messages of programs whose client is gone, in lower case. Which of them a server
/// prints depends on the moment.
const CLIENT_GONE: &[&str] =
    &["broken pipe", "epipe", "connection reset", "econnreset", "brokenpipe", "connectionreset"];

/// How a server exited, without the parts that vary between runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// With an error of a connection whose client is gone.
    ClientGone,
    /// With this error message, without its digits.
    Error(String),
    /// Without an error message, with this exit status.
    Status(String),
}

impl End {
    fn new(exit: Exit, log: &str) -> End {
        if exit == Exit::Signal(Signal::SIGPIPE as i32) {
            return End::ClientGone;
        }
        match exit_message(log, &[]) {
            Some(OutputEnd::Error(error)) => {
                let lower_case = error.to_lowercase();
                match CLIENT_GONE.iter().any(|part| lower_case.contains(part)) {
                    true => End::ClientGone,
                    false => End::Error(error.replace(|it: char| it.is_ascii_digit(), "")),
                }
            }
            _ => End::Status(exit.to_string()),
        }
    }

    /// Returns how the server of a case exited, if its exit is a fault.
    fn of(result: &CaseResult) -> Option<End> {
        (result.fault == Fault::Exits).then(|| Some(End::new(result.exit?, &result.log)))?
    }
}

impl Runner {
    /// Attributes each unexpected exit to the smallest provocation that makes the server exit in
    /// the same way, if there is one.
    pub(super) fn attribute_exits(&self, spec: &LaunchSpec, results: &mut [CaseResult]) {
        // A server that the harness did not launch cannot be launched again, and a replay tests one
        // input.
        if spec.running_at.is_some() || self.replay.is_some() {
            return;
        }
        let began = Instant::now();
        let mut unexplained: BTreeSet<End> = results.iter().filter_map(End::of).collect();
        for &provocation in Provocation::ALL {
            let is_late = began.elapsed() > TIME_LIMIT
                || self.deadline.is_some_and(|deadline| Instant::now() > deadline);
            if unexplained.is_empty() || is_late || self.is_stopped() {
                break;
            }
            let Some((end, provoked)) = self.provoke(spec, provocation) else { continue };
            if !unexplained.remove(&end) {
                continue;
            }
            let same = |result: &&mut CaseResult| End::of(result).as_ref() == Some(&end);
            let reproduce = reproduce(
                provocation,
                results.iter().filter(|it| End::of(it).as_ref() == Some(&end)),
            );
            let provoked = Provoked { reproduce, ..provoked };
            for result in results.iter_mut().filter(same) {
                result.provoked = Some(Box::new(provoked.clone()));
                result.hint = Some(hint(provocation).to_owned());
            }
        }
    }

    /// Tries a provocation on a new server. Returns how the server exited, or `None` if it did not.
    fn provoke(&self, spec: &LaunchSpec, provocation: Provocation) -> Option<(End, Provoked)> {
        let applies = |it: &Precondition| it.check_against(&spec.contract).is_ok();
        if !preconditions(provocation).iter().all(applies) {
            return None;
        }
        // The lease must outlive the server.
        let lease = NetworkLease::take(spec).ok()?;
        let server = self.launcher.launch(spec).ok()?;
        let ctx = TestContext::new(self, spec, server, &lease);
        for _ in 0..CLIENTS {
            // An error of the client is expected if the server exits.
            let _ = provoke_once(&ctx, provocation);
            ctx.process().wait_until_asleep();
            if ctx.process().wait_for_exit(Duration::ZERO).is_some() {
                break;
            }
        }
        let finished = ctx.finish();
        let transcript = finished.evidence.transcript().events();
        let ServerEnd { report, .. } = finished.process.end(EXIT_GRACE);
        let exit = report.exit.filter(|&exit| !spec.contract.permits_exit(exit))?;
        let provoked = Provoked {
            provocation,
            transcript: without_end_of_server(transcript),
            exit,
            log: report.log,
            reproduce: String::new(),
        };
        Some((End::new(exit, &provoked.log), provoked))
    }
}

/// Returns the likely cause of an exit on a provocation.
fn hint(provocation: Provocation) -> &'static str {
    match provocation.disconnects() {
        true => {
            "when a client has left, reads return 0 or fail, and writes fail (EPIPE, SIGPIPE): close \
             this connection, and keep serving the others"
        }
        false => {
            "an error in one request must not end the server: catch it, reply with an error line, \
             and read the next request"
        }
    }
}

/// Removes what the client observed of the exit.
fn without_end_of_server(transcript: Vec<Event>) -> Vec<Event> {
    let is_kept = |event: &Event| {
        !matches!(event.kind, EventKind::ClientError { .. } | EventKind::ReceivedReset)
    };
    transcript.into_iter().filter(is_kept).collect()
}

/// Returns what a server must declare for a provocation to apply.
fn preconditions(provocation: Provocation) -> &'static [Precondition] {
    const NONE: &[Precondition] = &[];
    const DELIMITED: &[Precondition] = &[Precondition::DelimitedRequests];
    const CALC: &[Precondition] = &[Precondition::Calc];
    match provocation {
        Provocation::ConnectAndClose
        | Provocation::ConnectAndReset
        | Provocation::Request
        | Provocation::RequestAndClose
        | Provocation::RequestAndReset
        | Provocation::InvalidUtf8 => NONE,
        Provocation::HalfRequestAndClose
        | Provocation::HalfRequestAndReset
        | Provocation::EmptyLine => DELIMITED,
        Provocation::ResetInReplies => &[Precondition::Pipelining],
        Provocation::MalformedLine => CALC,
        Provocation::DivisionByZero => &[Precondition::Calc, Precondition::Supports("1/0")],
        Provocation::Nul => &[Precondition::AcceptsByte(0)],
    }
}

/// Connects one client that behaves as the provocation describes.
fn provoke_once(ctx: &TestContext<'_>, provocation: Provocation) -> Result<(), ClientError> {
    let mut client = ctx.clients().try_connect()?;
    client.wait_until_established();
    match provocation {
        Provocation::ConnectAndClose => client.client.close(),
        Provocation::ConnectAndReset => client.reset(),
        Provocation::Request => {
            client.ask(&request(1))?;
            // The server must exit before the client disconnects.
            ctx.process().exits_soon(EXIT_GRACE);
        }
        Provocation::RequestAndClose => {
            client.ask(&request(1))?;
            client.client.close();
        }
        Provocation::RequestAndReset => {
            client.ask(&request(1))?;
            client.reset();
        }
        Provocation::HalfRequestAndClose => {
            client.try_send(&halves(ctx.contract, &request(1)).0)?;
            client.client.close();
        }
        Provocation::HalfRequestAndReset => {
            client.try_send(&halves(ctx.contract, &request(1)).0)?;
            client.reset();
        }
        Provocation::ResetInReplies => {
            client.complete_handshake()?;
            // The server may be too slow to accept all the bytes.
            let _ = client.client.send(&ctx.contract.sent(&request(1)).repeat(UNREAD_REPLIES));
            client.reset();
        }
        Provocation::EmptyLine => ask_and_stay(&mut client, b"")?,
        Provocation::MalformedLine => ask_and_stay(&mut client, b"1+*(")?,
        Provocation::DivisionByZero => ask_and_stay(&mut client, b"1/0")?,
        Provocation::Nul => ask_and_stay(&mut client, b"1\0+2")?,
        Provocation::InvalidUtf8 => ask_and_stay(&mut client, b"\xff\xfe")?,
    }
    Ok(())
}

/// Sends a request, and waits until the server has replied or exited.
fn ask_and_stay(client: &mut TestClient<'_>, line: &[u8]) -> Result<(), ClientError> {
    client.try_request(line)?;
    let _ = client.reply_until_asleep(EXIT_GRACE);
    Ok(())
}

/// The simplest cases that do what a provocation does.
const SIMPLEST_CASES: &[(Provocation, &str)] = &[
    (Provocation::ConnectAndClose, "disconnects/nothing-said"),
    (Provocation::ConnectAndReset, "disconnects/reset-before-accept"),
    (Provocation::Request, "framing/single"),
    (Provocation::RequestAndClose, "isolation/churn"),
    (Provocation::RequestAndReset, "leaks/resets"),
    (Provocation::HalfRequestAndClose, "refusal/slot-freed-in-request"),
    (Provocation::HalfRequestAndReset, "disconnects/reset-in-request"),
    (Provocation::ResetInReplies, "disconnects/reset-in-reply"),
    (Provocation::EmptyLine, "malformed/empty-line"),
    (Provocation::MalformedLine, "malformed/syntax"),
    (Provocation::DivisionByZero, "results/division-by-zero"),
    (Provocation::Nul, "malformed/nul"),
    (Provocation::InvalidUtf8, "malformed/invalid-utf8"),
];

/// Returns the command that reproduces an exit: of the simplest case, or else of the first one of
/// `results`.
fn reproduce<'r>(
    provocation: Provocation,
    results: impl Iterator<Item = &'r CaseResult>,
) -> String {
    let results: Vec<&CaseResult> = results.collect();
    let is_simplest =
        |result: &&&CaseResult| SIMPLEST_CASES.contains(&(provocation, result.name.as_str()));
    let result = results.iter().find(is_simplest).or(results.first());
    result.map(|result| result.reproduce.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::cases;

    #[test]
    fn each_provocation_has_an_existing_case() {
        for &provocation in Provocation::ALL {
            let row = SIMPLEST_CASES.iter().find(|(other, _)| *other == provocation);
            let (_, name) = row.expect("a row per provocation");
            assert!(cases().any(|case| case.name == *name), "{name}");
        }
    }

    #[test]
    fn ends_are_equal_apart_from_numbers_and_from_the_moment_of_a_disconnect() {
        let end = |log: &str| End::new(Exit::Code(1), log);
        assert_eq!(end("ValueError: byte 3"), end("ValueError: byte 17"));
        assert_ne!(end("ValueError: byte 3"), end("KeyError: 3"));
        assert_eq!(
            end("BrokenPipeError: [Errno 32] Broken pipe"),
            end("java.net.SocketException: Connection reset")
        );
        let by_sigpipe = End::new(Exit::Signal(Signal::SIGPIPE as i32), "up");
        assert_eq!(by_sigpipe, end("Error: write EPIPE"));
        assert_eq!(End::new(Exit::Code(0), "up"), End::new(Exit::Code(0), "listening on 3"));
        assert_ne!(End::new(Exit::Code(0), "up"), End::new(Exit::Code(1), "up"));
    }
}
