//! Cases for connections over the limit.

use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};
use servers::OverloadPolicy;
use socket2::{Domain, Socket, Type};

use crate::client::ClientError;
use crate::conformance::case::Case;
use crate::conformance::context::SHORT_TIMEOUT;
use crate::conformance::experiments::{connect_over_limit, expected_outcome};
use crate::conformance::failure::Failure;
use crate::conformance::precondition::Precondition;
use crate::conformance::requests::{halves, request};
use crate::conformance::test_client::{QUIET, TestClient};
use crate::conformance::threads::spawn_scoped;
use crate::figures::counted;
use crate::results::{Fault, Level};
use crate::text::printable;

/// The case that tests the overload policy.
const OVERLOAD_POLICY: &[&str] = &["refusal/as-declared"];

/// Number of successive connections over the limit.
const REJECTED_CONNECTIONS: usize = 50;

/// Maximum number of timed rejections. The case fails only if all of them are late.
const MAX_ATTEMPTS: usize = 10;

/// Number of new connections. Each one races with a client that disconnects.
const RACING_CONNECTIONS: usize = 30;

/// Maximum number of connections opened to fill the accept queue.
const MAX_QUEUED: usize = 64;

/// Maximum number of connections opened at once: more than the descriptors that select(2) can
/// handle.
const MAX_STORM: usize = 1_100;

/// Maximum number of connections opened at once beyond a declared limit.
const MAX_STORM_OVER_LIMIT: usize = 300;

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "refusal/as-declared",
        requirement: "a connection over the limit is handled by the declared overload policy without delay",
        source: "the contract: connection limit, overload policy",
        preconditions: &[Precondition::Full],
        level: Level::Required,
        check: |ctx| {
            let _filled = ctx.clients().fill_slots()?;
            let declared = ctx.contract.when_full.unwrap_or(OverloadPolicy::Wait);
            let in_time = ctx.with_round_trips(SHORT_TIMEOUT);
            let (mut outcome, mut after) = connect_over_limit(ctx);
            // A busy machine may delay one rejection; a server that delays rejections delays all.
            for _ in 1..MAX_ATTEMPTS {
                if outcome.policy() != Some(declared)
                    || declared == OverloadPolicy::Wait
                    || after <= in_time
                {
                    break;
                }
                (outcome, after) = connect_over_limit(ctx);
            }
            ctx.evidence().record_verified();
            ctx.evidence().record_overload(outcome.observed(after));
            ctx.evidence().observe(format!("{}, after {} µs", outcome.text(), after.as_micros()));
            let expected =
                format!("for a connection over the limit: {}", expected_outcome(declared));
            if outcome.policy() != Some(declared) {
                return Err(Failure {
                    hint: outcome.hint(declared),
                    ..Failure::fail(expected, outcome.text()).with_connection_end()
                });
            }
            if declared != OverloadPolicy::Wait && after > in_time {
                let expected = format!("{expected}, within {} ms", in_time.as_millis());
                let seen = format!("{}, after {} ms", outcome.text(), after.as_millis());
                return Err(Failure::fail(expected, seen)
                    .fault(Fault::TooLate)
                    .with_connection_end());
            }
            Ok(())
        },
    },
    Case {
        name: "refusal/busy-line-is-whole",
        requirement: "a rejected client that has already sent data still gets the whole busy line and a clean close",
        source: "the contract: overload policy; RFC 1122 section 4.2.2.13 (closing over unread data resets)",
        preconditions: &[Precondition::Full, Precondition::WhenFull(OverloadPolicy::Busy)],
        level: Level::Required,
        check: |ctx| {
            let _filled = ctx.clients().fill_slots()?;
            for _ in 0..20 {
                let expected = "the busy line, then a clean close (FIN)";
                let failure = |error: ClientError| {
                    let failure = Failure::client_error(expected, &error);
                    let fault = match failure.fault {
                        Fault::NoReply => Fault::DoesNotReject,
                        fault => fault,
                    };
                    failure.fault(fault).hint_if(
                        |fault| fault == Fault::Resets,
                        "a close with unread input sends RST, which discards the reply: shut down the \
                         sending side, read until the client closes, then close",
                    )
                };
                // A server that closes a socket with unread input resets the connection. The input
                // arrives before the server accepts, unless this thread gets no CPU for 200 ms
                // between the two calls. A faulty server passes only if this happens 20 times.
                let mut client = ctx.clients().try_connect_with_data().map_err(failure)?;
                let _ = client.client.send(&ctx.contract.sent(b"1+2").repeat(2));
                let line = client.reply().map_err(failure)?;
                if !ctx.contract.is_busy(&line) {
                    let seen = format!("a connection over the limit got {}", printable(&line));
                    return Err(Failure::assumption_failed(OVERLOAD_POLICY, seen));
                }
                let rest = client.rest().map_err(|error| match error {
                    ClientError::Silent(..) => Failure::not_closed(expected, &error),
                    other => failure(other),
                })?;
                if !rest.is_empty() {
                    return Err(Failure::fail(expected, printable(&rest)).fault(Fault::ExtraBytes));
                }
                ctx.evidence().record_verified();
            }
            Ok(())
        },
    },
    Case {
        name: "refusal/connected-clients-unaffected",
        requirement: "rejected clients do not affect the clients that are served",
        source: "the contract: connection limit, overload policy",
        preconditions: &[Precondition::Full, Precondition::RejectsOverLimit],
        level: Level::Required,
        check: |ctx| {
            let mut filled = ctx.clients().fill_slots()?;
            for _ in 0..ctx.repetitions(REJECTED_CONNECTIONS, 4) {
                // Another case tests the kind of rejection. Wait for the rejection, so that it
                // happens before the served client sends its request: an accepting thread may run
                // late.
                let outcome = ctx.clients().try_connect().and_then(|mut client| {
                    client.client.send(&ctx.contract.sent(b"1+2"))?;
                    let _ = client.reply_until_quiescent(QUIET + ctx.round_trip());
                    Ok(())
                });
                if let Err(error @ (ClientError::ConnectTimedOut(_) | ClientError::OutOfTime)) =
                    outcome
                {
                    let seen = format!("connections over the limit are not rejected: {error}");
                    return Err(Failure::assumption_failed(OVERLOAD_POLICY, seen));
                }
                let connected = filled.served.first_mut().expect("at least one served client");
                let reply = connected.ask(&request(0)).map_err(|error| {
                    Failure::client_error("the served client gets its reply", &error)
                })?;
                connected.expect_learned_reply(&request(0), &reply)?;
            }
            Ok(())
        },
    },
    Case {
        name: "refusal/queued-is-served-later",
        requirement: "a client that waits in the accept queue is served when a slot is free, including the requests it has already sent",
        source: "the contract: overload policy; listen(2)",
        preconditions: &[Precondition::Full, Precondition::WhenFull(OverloadPolicy::Wait)],
        level: Level::Required,
        check: |ctx| {
            let mut filled = ctx.clients().fill_slots()?;
            let reply = filled.served[0].learn_reply(&request(0))?;
            let mut queued = ctx.clients().connect()?;
            queued.request(&request(0))?;
            queued.expect_silence("while another client is served").map_err(served_too_early)?;
            filled.make_room().close();
            queued.expect(&reply)
        },
    },
    Case {
        name: "refusal/accepted-is-served-later",
        requirement: "queued clients are served in the order of their arrival, including the requests they have already sent",
        source: "the contract: connection limit, queue",
        preconditions: &[Precondition::Full, Precondition::Queue],
        level: Level::Required,
        check: |ctx| {
            let mut filled = ctx.clients().fill_slots()?;
            let reply = filled.served[0].learn_reply(&request(0))?;
            let mut waiting = std::mem::take(&mut filled.waiting);
            for client in &mut waiting {
                client.request(&request(0))?;
            }
            // All slots but one stay in use, so the waiting clients get this slot one by one.
            let mut served = filled.make_room();
            for mut next in waiting {
                next.expect_silence("while earlier clients are served")
                    .map_err(served_too_early)?;
                served.close();
                next.expect(&reply)?;
                served = next;
            }
            Ok(())
        },
    },
    Case {
        name: "refusal/slot-freed-by-fin",
        requirement: "a client that closes its connection frees its connection slot for the next client",
        source: "the contract: connection limit; RFC 9293 section 3.6 (closing a connection)",
        preconditions: &[Precondition::Full],
        level: Level::Required,
        check: |ctx| {
            for _ in 0..2 {
                let mut filled = ctx.clients().fill_slots()?;
                filled.make_room().close();
                ctx.clients()
                    .expect_service_with_retry("a client is served after another one has closed")?;
            }
            Ok(())
        },
    },
    Case {
        name: "refusal/slot-freed-by-rst",
        requirement: "a client that resets its connection frees its connection slot for the next client",
        source: "the contract: connection limit; RFC 9293 section 3.5.3 (reset processing)",
        preconditions: &[Precondition::Full],
        level: Level::Required,
        check: |ctx| {
            for _ in 0..2 {
                let mut filled = ctx.clients().fill_slots()?;
                filled.make_room().reset();
                ctx.clients()
                    .expect_service_with_retry("a client is served after another one has reset")?;
            }
            Ok(())
        },
    },
    Case {
        name: "refusal/slot-freed-in-request",
        requirement: "a client that disconnects in the middle of a request frees its connection slot for the next client",
        source: "the contract: connection limit; RFC 9293 section 3.6 (closing a connection)",
        preconditions: &[Precondition::Full, Precondition::DelimitedRequests],
        level: Level::Required,
        check: |ctx| {
            for leave in [TestClient::close, TestClient::reset] {
                let mut filled = ctx.clients().fill_slots()?;
                let mut leaving = filled.make_room();
                leaving.send(&halves(ctx.contract, &request(0)).0)?;
                leave(leaving);
                ctx.clients()
                    .expect_service_with_retry("a client is served after another one has disconnected in the middle of a request")?;
            }
            Ok(())
        },
    },
    Case {
        name: "refusal/race-at-release",
        requirement: "a client that connects while another one leaves is served or rejected, and no connection slot is lost",
        source: "the contract: connection limit, overload policy; CWE-362 (race condition)",
        preconditions: &[Precondition::Full],
        level: Level::Required,
        check: |ctx| {
            let mut filled = ctx.clients().fill_slots()?;
            let (outcome, _) = connect_over_limit(ctx);
            if outcome.policy() != ctx.contract.when_full {
                return Err(Failure::assumption_failed(OVERLOAD_POLICY, outcome.text()));
            }
            // First check without a race that a freed slot can be reused.
            filled.make_room().close();
            let client = ctx.clients().connect_with_retry(&request(0)).map_err(|failure| {
                Failure::assumption_failed(&["refusal/slot-freed-by-fin"], failure.observed)
            })?;
            filled.served.push(client);
            for _ in 0..ctx.repetitions(RACING_CONNECTIONS, 4) {
                let TestClient { client: leaving, .. } = filled.make_room();
                let outcome = thread::scope(|scope| {
                    spawn_scoped(scope, move || drop(leaving))?;
                    Ok::<_, Failure>(ctx.clients().try_connect().and_then(|mut client| {
                        let line = client.ask(&request(0))?;
                        Ok((client, line))
                    }))
                })?;
                let client = match outcome {
                    Ok((client, line)) if !ctx.contract.is_busy(&line) => {
                        client.expect_learned_reply(&request(0), &line)?;
                        client
                    }
                    Err(error) if !is_rejected(&error) => {
                        return Err(Failure::client_error(
                            "the client is served or rejected",
                            &error,
                        ));
                    }
                    _ => {
                        ctx.evidence().record_verified();
                        ctx.clients().connect_with_retry(&request(0)).map_err(|failure| {
                            failure.hint(
                                "does the server update its number of connections atomically?",
                            )
                        })?
                    }
                };
                filled.served.push(client);
            }
            Ok(())
        },
    },
    Case {
        name: "refusal/backlog-depth",
        requirement: "connections over the limit wait in the kernel's accept queue (the case reports how many)",
        source: "listen(2) (backlog); Stevens UNP 4.5",
        preconditions: &[Precondition::Full, Precondition::WhenFull(OverloadPolicy::Wait)],
        level: Level::Required,
        check: |ctx| {
            let _filled = ctx.clients().fill_slots()?;
            let mut queued = Vec::new();
            while queued.len() < MAX_QUEUED
                && let Ok(client) = ctx.clients().try_connect_within(ctx.with_round_trips(QUIET))
            {
                queued.push(client);
            }
            let qualifier = if queued.len() == MAX_QUEUED { "at least " } else { "" };
            ctx.evidence().inform(format!(
                "{qualifier}{} in the accept queue",
                counted(queued.len(), "connection")
            ));
            Ok(())
        },
    },
    Case {
        name: "refusal/storm",
        requirement: "hundreds of simultaneous connections neither crash the server nor affect the client that is served",
        source: "CWE-400 (uncontrolled resource consumption); select(2) (FD_SETSIZE)",
        preconditions: &[
            Precondition::OwnReplies,
            Precondition::UnlimitedRequests,
            Precondition::NoExitAfterConnections,
        ],
        level: Level::Hardening,
        check: |ctx| {
            let mut connected = ctx.clients().connect()?;
            connected.learn_reply(&request(7))?;
            let idle_timeout = ctx.contract.idle_timeout.unwrap_or(Duration::MAX);
            let began = Instant::now();
            let mut connected = Some(connected);
            let mut expect_served = || {
                let Some(served) = &mut connected else { return Ok(()) };
                let answered = served.ask(&request(7));
                if answered.is_err() && began.elapsed() >= idle_timeout {
                    // On a busy machine the client may have exceeded the idle timeout. The case
                    // timeouts/activity-keeps-alive tests whether the server closes too early.
                    connected = None;
                    return Ok(());
                }
                let reply = answered.map_err(|error| {
                    Failure::client_error("the served client gets its reply", &error).hint_if(
                        |fault| !fault.is_hang(),
                        "select(2) cannot handle descriptors of FD_SETSIZE (1024) and above: limit the \
                         number of connections, or use poll",
                    )
                })?;
                served.expect_learned_reply(&request(7), &reply)
            };
            let mut storm = Storm::default();
            let size = Storm::size(ctx.contract.capacity);
            while storm.0.len() < size && storm.grow(ctx.process().address()) {
                if storm.0.len() % 100 == 0 {
                    expect_served()?;
                }
            }
            // Wait until the server accepts no more connections.
            let mut served = Ok(());
            let _ = ctx.wait_until(
                || {
                    served = expect_served();
                    served.is_err() || ctx.process().polls_asleep(2) == 2
                },
                || Failure::inconclusive("the server does not become idle"),
            );
            served?;
            if size < MAX_STORM && ctx.contract.capacity.is_none() {
                // The harness has too few descriptors for the number of connections that crashes a
                // server with select(2), so this result is no pass.
                ctx.evidence().inform(storm.summary());
            } else {
                ctx.evidence().observe(storm.summary());
            }
            ctx.evidence().note(storm.summary());
            drop(storm);
            expect_served()?;
            drop(connected);
            ctx.clients()
                .expect_service_with_retry("a client is served after the connections are closed")
        },
    },
];

/// Connections opened at once with non-blocking connects.
#[derive(Default)]
struct Storm(Vec<Socket>);

impl Storm {
    /// Returns the number of connections to open.
    ///
    /// Leaves descriptors for the cases that run in parallel. A server with a declared connection
    /// limit need not reach the limit of select(2).
    fn size(capacity: Option<usize>) -> usize {
        let (soft_limit, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((0, 0));
        let size = MAX_STORM.min(usize::try_from(soft_limit).unwrap_or(MAX_STORM) / 16);
        capacity.map_or(size, |capacity| size.min(capacity + MAX_STORM_OVER_LIMIT))
    }

    /// Opens one more connection. Returns false if no descriptor is free.
    fn grow(&mut self, address: SocketAddr) -> bool {
        let client = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None);
        let Ok(client) = client else { return false };
        // The connect is in progress or has failed; a later read reports a failure.
        let _ = client.connect(&address.into());
        self.0.push(client);
        true
    }

    /// Describes the outcomes of the connections so far.
    fn summary(&self) -> String {
        let mut counts =
            [("refused", 0), ("reset", 0), ("closed", 0), ("sent a message", 0), ("waiting", 0)];
        for mut client in &self.0 {
            let index = match client.read(&mut [0; 256]).map_err(|error| error.kind()) {
                Err(ErrorKind::ConnectionRefused) => 0,
                Err(ErrorKind::ConnectionReset) => 1,
                Ok(0) => 2,
                Ok(_) => 3,
                Err(_) => 4,
            };
            counts[index].1 += 1;
        }
        let counts: Vec<String> = counts
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(outcome, count)| format!("{count} {outcome}"))
            .collect();
        format!("of {} connections: {}", self.0.len(), counts.join(", "))
    }
}

/// Returns the failure of a waiting client that got a reply.
fn served_too_early(failure: Failure) -> Failure {
    match failure.fault {
        Fault::ExtraBytes => failure.fault(Fault::MoreThanDeclared),
        _ => failure,
    }
}

/// Returns whether the error is a rejection: a refused or reset connection, or a close without
/// data.
fn is_rejected(error: &ClientError) -> bool {
    match error {
        ClientError::Refused | ClientError::Reset => true,
        ClientError::Closed(bytes) => bytes.is_empty(),
        _ => false,
    }
}
