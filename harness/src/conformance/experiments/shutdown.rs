//! Experiment: SIGTERM while requests are in flight.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::client::ClientError;
use crate::conformance::assumptions::CONNECTION_SLOTS;
use crate::conformance::context::{POLL_INTERVAL, SHORT_TIMEOUT, TestContext};
use crate::conformance::failure::Failure;
use crate::conformance::requests::request;
use crate::conformance::test_client::{QUIET, TestClient};
use crate::contract::ShutdownPolicy;
use crate::exit::Exit;
use crate::results::{Fault, State};

/// Maximum number of requests in flight at SIGTERM.
const MAX_IN_FLIGHT: usize = 1000;

/// Maximum number of connections with a request in flight at SIGTERM.
const MAX_CONNECTIONS: usize = 4;

/// Number of requests before SIGTERM, which measure the time per request.
const WARM_UP_REQUESTS: usize = 200;

/// Time in which a server that polls for a signal exits: some do so once per second.
const MAX_SIGNAL_DELAY: Duration = Duration::from_millis(1200);

/// Time within which a server must exit, as a multiple of the timeout.
pub(in crate::conformance) const EXIT_FACTOR: u32 = 2;

/// Stops the server with SIGTERM.
///
/// # Errors
/// The server does not exit. The case is then inconclusive.
pub(in crate::conformance) fn stop(ctx: &TestContext<'_>) -> Result<(), Failure> {
    ctx.process().signal(Signal::SIGTERM);
    match ctx.process().exits_within(ctx.timeout * EXIT_FACTOR) {
        Some(_) => Ok(()),
        None => Err(Failure::assumption_failed(&["shutdown/sigterm"], "the server does not exit")),
    }
}

/// Requires that the connection of the client ends, because the server exits.
///
/// # Errors
/// The server sends more, or the connection stays open.
pub(in crate::conformance) fn expect_end_at_exit(
    ctx: &TestContext<'_>,
    client: &mut TestClient<'_>,
) -> Result<(), Failure> {
    client.expect_end().map_err(|failure| match failure.fault {
        Fault::StaysOpen => with_remaining_processes(ctx, failure),
        _ => failure,
    })
}

/// Names the cause of a failure after the exit of the server: its child processes still run.
pub(in crate::conformance) fn with_remaining_processes(
    ctx: &TestContext<'_>,
    failure: Failure,
) -> Failure {
    let (count, exit) = (ctx.process().count(), ctx.process().wait_for_exit(Duration::ZERO));
    if exit.is_none() || count == 0 {
        return failure;
    }
    let observed = format!("{count} of its processes are still running: {}", failure.observed);
    Failure { observed, state: State::Leak, ..failure }
        .fault(Fault::ProcessesRemain)
        .hint(PROCESSES_REMAIN_HINT)
}

/// Hint of a server whose child processes run after its exit.
pub(in crate::conformance) const PROCESSES_REMAIN_HINT: &str =
    "does the server terminate its child processes and wait for them?";

/// Outcome of SIGTERM.
pub(in crate::conformance) struct Shutdown {
    /// Number of requests in flight at SIGTERM.
    pub(in crate::conformance) requests: usize,
    /// Number of replies to these requests.
    pub(in crate::conformance) replies: usize,
    /// Exit status of the server; `None` if the server did not exit.
    pub(in crate::conformance) exit: Option<Exit>,
    /// Whether the server exited only after its clients had disconnected. False if the contract
    /// declares the behaviour on SIGTERM.
    pub(in crate::conformance) waits_for_clients: bool,
    /// Number of processes that still run after the server has exited, while its clients are
    /// connected. 0 if the contract declares the behaviour on SIGTERM.
    pub(in crate::conformance) processes_left: usize,
    /// Whether the server also exits if a client has not read its replies. Then it does not drain,
    /// although it may have answered all requests in flight before it handled the signal.
    pub(in crate::conformance) exits_with_unread_replies: bool,
}

impl Shutdown {
    /// Returns the policy that the server follows. `None` if not all of it exits while its clients
    /// are connected, so that neither policy applies.
    ///
    /// A server that drains answers all requests in flight, waits for clients that have not read
    /// their replies, and exits with code 0.
    pub(in crate::conformance) fn policy(&self) -> Option<ShutdownPolicy> {
        let exit = self.exit?;
        if self.waits_for_clients || self.processes_left > 0 {
            return None;
        }
        let drains = exit == Exit::Code(0)
            && self.replies == self.requests
            && !self.exits_with_unread_replies;
        Some(if drains { ShutdownPolicy::Drain } else { ShutdownPolicy::Abort })
    }

    pub(in crate::conformance) fn text(&self) -> String {
        let answered = match self.replies == self.requests {
            true => "all requests in flight are answered".to_owned(),
            false => {
                format!("{} of {} requests in flight are answered", self.replies, self.requests)
            }
        };
        match self.exit {
            Some(exit) if self.processes_left > 0 => {
                let left = match self.processes_left {
                    1 => "one of its processes is".to_owned(),
                    several => format!("{several} of its processes are"),
                };
                format!("{answered}, then {exit}, but {left} still running")
            }
            Some(exit) if self.waits_for_clients => {
                format!("{answered}, then {exit}, but only after all clients have disconnected")
            }
            Some(exit) if self.exits_with_unread_replies => {
                format!(
                    "{answered}, then {exit}, but it also exits before a client has read its replies"
                )
            }
            Some(exit) => format!("{answered}, then {exit}"),
            None => format!("{answered}, and the server does not exit"),
        }
    }
}

/// Sends SIGTERM while requests are in flight, then reads the replies and disconnects. Without
/// pipelining, several connections each have one request in flight.
///
/// # Errors
/// A plain request gets no reply, or the server cannot be launched a second time. The case is then
/// inconclusive.
pub(in crate::conformance) fn shut_down(ctx: &TestContext<'_>) -> Result<Shutdown, Failure> {
    let wire = &ctx.contract.wire;
    if !wire.is_pipelined() || wire.requests().is_some() {
        return shut_down_connections(ctx);
    }
    let shutdown = shut_down_pipelined(ctx)?;
    let may_drain = shutdown.policy() == Some(ShutdownPolicy::Drain)
        && ctx.contract.shutdown != Some(ShutdownPolicy::Abort);
    let exits_with_unread_replies = may_drain && exits_with_unread_replies(ctx)?;
    Ok(Shutdown { exits_with_unread_replies, ..shutdown })
}

/// Returns whether a new instance of the server exits on SIGTERM before its client has read the
/// replies. False, with a note, if the server keeps no unread replies.
///
/// Whether the server handles SIGTERM before the last request of many is a matter of chance. But a
/// server that drains waits for a client whose replies do not fit into the socket buffers.
fn exits_with_unread_replies(ctx: &TestContext<'_>) -> Result<bool, Failure> {
    ctx.relaunch()?;
    let mut client = ctx.clients().connect_with_small_window()?;
    client.learn_reply(&request(1))?;
    if let Err(failure) = client.fill_buffers() {
        ctx.evidence().note(format!("SIGTERM beside unread replies: {}", failure.observed));
        return Ok(false);
    }
    ctx.process().signal(Signal::SIGTERM);
    let began = Instant::now();
    // A server without any timeout waits for its client.
    let waits_for_client = || began.elapsed() > QUIET && ctx.is_quiescent_since(began);
    while began.elapsed() < MAX_SIGNAL_DELAY && !waits_for_client() {
        if ctx.process().count() == 0 {
            return Ok(true);
        }
        thread::sleep(POLL_INTERVAL);
    }
    // No longer, even if the server uses the CPU: many servers limit the time of a drain.
    Ok(false)
}

fn shut_down_connections(ctx: &TestContext<'_>) -> Result<Shutdown, Failure> {
    if ctx.contract.wire.connections_before_exit.is_some() {
        return Err(Failure::not_applicable(
            "the server exits after its clients, so its exit does not show what SIGTERM does",
        ));
    }
    let reply = ctx.clients().connect_with_retry(&request(1))?.learn_reply(&request(1))?;
    let number = ctx.contract.capacity.unwrap_or(MAX_CONNECTIONS).min(MAX_CONNECTIONS);
    let mut clients = Vec::new();
    while clients.len() < number {
        match connect_served(ctx) {
            Some(client) => clients.push(client),
            None => break,
        }
    }
    if clients.is_empty() {
        let seen = "a client is not served after another one has disconnected";
        return Err(Failure::assumption_failed(CONNECTION_SLOTS, seen));
    }
    for client in &mut clients {
        client.request(&request(1))?;
    }
    ctx.process().signal(Signal::SIGTERM);
    let quiet = ctx.deadlines().silence(SHORT_TIMEOUT);
    let is_answered = |client: &mut TestClient<'_>| {
        client.reply_until_quiescent(quiet).is_ok_and(|line| line == reply)
    };
    let requests = clients.len();
    let replies = clients.iter_mut().map(is_answered).filter(|&is_answered| is_answered).count();
    Ok(Shutdown { requests, replies, ..wait_for_end(ctx, clients) })
}

/// Connects a client that the server serves. `None` if the server does not serve another client.
fn connect_served<'s>(ctx: &'s TestContext<'_>) -> Option<TestClient<'s>> {
    if ctx.contract.wire.requests().is_none() {
        return ctx.clients().try_to_be_served(&request(1)).ok();
    }
    // A request would use the connection up.
    let mut client = ctx.clients().try_connect().ok()?;
    ctx.process().wait_until_asleep();
    let is_silent = matches!(client.received_reply(), Err(ClientError::Silent(..)));
    (client.is_accepted() && is_silent).then_some(client)
}

fn shut_down_pipelined(ctx: &TestContext<'_>) -> Result<Shutdown, Failure> {
    let mut client = ctx.clients().connect()?;
    let reply = client.learn_reply(&request(1))?;
    let began = Instant::now();
    client.check_pipelining(WARM_UP_REQUESTS)?;
    // On a busy machine, the time of a single request varies too much, so use the mean.
    let time_per_request = began.elapsed() / u32::try_from(WARM_UP_REQUESTS).unwrap_or(u32::MAX);
    let requests = ctx.deadlines().requests_in_time(time_per_request, MAX_IN_FLIGHT);
    if requests > WARM_UP_REQUESTS {
        client.check_pipelining(requests)?;
    }
    client.send(&ctx.contract.sent(&request(1)).repeat(requests))?;
    ctx.process().signal(Signal::SIGTERM);
    let mut replies = 0;
    let quiet = ctx.deadlines().silence(SHORT_TIMEOUT);
    while replies < requests && client.reply_until_quiescent(quiet).is_ok_and(|line| line == reply)
    {
        replies += 1;
    }
    Ok(Shutdown { requests, replies, ..wait_for_end(ctx, vec![client]) })
}

/// Waits for the server to exit. If the contract does not declare the behaviour on SIGTERM,
/// observes the exit while the clients are connected. Then disconnects them.
fn wait_for_end(ctx: &TestContext<'_>, clients: Vec<TestClient<'_>>) -> Shutdown {
    let mut end = Shutdown {
        requests: 0,
        replies: 0,
        exit: None,
        waits_for_clients: false,
        processes_left: 0,
        exits_with_unread_replies: false,
    };
    if ctx.contract.wire.connections_before_exit.is_some() {
        // The server exits when its last client disconnects. The client stays connected, so that
        // such an exit is not taken for the shutdown.
        end.exit = wait_for_exit(ctx);
        return end;
    }
    if ctx.contract.shutdown.is_none() {
        end.exit = wait_for_exit(ctx);
        if end.exit.is_some() {
            wait_until(ctx, || (ctx.process().count() == 0).then_some(()));
            end.processes_left = ctx.process().count();
        }
    }
    drop(clients);
    if end.exit.is_none() {
        end.exit = wait_for_exit(ctx);
        end.waits_for_clients = ctx.contract.shutdown.is_none() && end.exit.is_some();
    }
    end
}

/// Waits for the server to exit.
fn wait_for_exit(ctx: &TestContext<'_>) -> Option<Exit> {
    wait_until(ctx, || ctx.process().wait_for_exit(SHORT_TIMEOUT))
}

/// Repeats `poll` until it returns a value, within the time in which a server must exit.
///
/// If the contract does not declare the behaviour on SIGTERM, the server or its children may ignore
/// the signal. Then returns `None` early, if all of them sleep.
fn wait_until<T>(ctx: &TestContext<'_>, poll: impl Fn() -> Option<T>) -> Option<T> {
    let is_declared = ctx.contract.shutdown.is_some();
    let began = Instant::now();
    let ignores_signal = |waited: Duration| {
        waited > SHORT_TIMEOUT * 2 && ctx.is_quiescent_since(began)
            || waited > SHORT_TIMEOUT * 5 && ctx.process().is_asleep()
    };
    loop {
        let result = poll();
        let waited = began.elapsed();
        if result.is_some()
            || waited > ctx.timeout * EXIT_FACTOR
            || !is_declared && ignores_signal(waited)
        {
            return result;
        }
        thread::sleep(POLL_INTERVAL);
    }
}
