//! Cases for the idle timeout and for slow clients.

use std::time::{Duration, Instant};

use servers::OverloadPolicy;

use crate::client::ClientError;
use crate::conformance::case::Case;
use crate::conformance::context::TestContext;
use crate::conformance::experiments::stay_idle;
use crate::conformance::failure::Failure;
use crate::conformance::precondition::MAX_CLIENTS;
use crate::conformance::precondition::Precondition;
use crate::conformance::requests::request;
use crate::conformance::test_client::TestClient;
use crate::results::{Fault, Level};
use crate::text::printable;

/// Maximum number of attempts to send within the idle timeout.
const MAX_ATTEMPTS: usize = 10;

/// Time after which a queued client gives up, as the client of the original teaching servers does.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum number of clients that send single bytes.
const SLOW_CLIENTS: usize = 8;

/// Pause between two of these bytes.
const BYTE_INTERVAL: Duration = Duration::from_millis(10);

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "timeouts/queued-client-gives-up",
        requirement: "a client that leaves the accept queue after 2 s does not affect the server",
        source: "the contract: overload policy; listen(2)",
        preconditions: &[Precondition::Full, Precondition::WhenFull(OverloadPolicy::Wait)],
        level: Level::Required,
        check: |ctx| {
            let mut filled = ctx.clients().fill_slots()?;
            let mut queued = ctx.clients().connect()?;
            queued.request(&request(7))?;
            match queued.reply_within(CLIENT_TIMEOUT) {
                Err(ClientError::Silent(..)) => ctx.evidence().record_verified(),
                Err(error) => {
                    return Err(Failure::client_error(
                        "the client waits until its timeout",
                        &error,
                    ));
                }
                Ok(_) => {
                    let seen = "the client was served";
                    return Err(Failure::fail("the client waits until its timeout", seen)
                        .fault(Fault::MoreThanDeclared));
                }
            }
            queued.close();
            let reply = filled.served[0].ask(&request(0)).map_err(|error| {
                Failure::client_error("the served client gets its reply", &error)
            })?;
            filled.served[0].expect_learned_reply(&request(0), &reply)?;
            drop(filled);
            ctx.clients().expect_service_with_retry("the next client is served")
        },
    },
    Case {
        name: "timeouts/idle-is-closed",
        requirement: "an idle connection is closed after the declared idle timeout, and not earlier",
        source: "the contract: idle timeout",
        preconditions: &[Precondition::IdleTimeout, Precondition::UnlimitedRequests],
        level: Level::Required,
        check: |ctx| {
            let declared = ctx.contract.idle_timeout.unwrap_or_default();
            let idle = stay_idle(ctx, ctx.with_round_trips(ctx.contract.idle_until()))?;
            let after = idle.max_idle_time;
            let expected = format!("closed after {} ms without a request", declared.as_millis());
            let seen = format!("closed after {} ms", after.as_millis());
            match idle.received {
                Err(ClientError::Closed(_)) if after < declared => {
                    Err(Failure::fail(expected, seen)
                        .fault(Fault::ClosesEarly)
                        .with_connection_end())
                }
                Err(ClientError::Closed(_)) => {
                    ctx.evidence().record_verified();
                    ctx.evidence().observe(seen);
                    Ok(())
                }
                Err(error) => Err(Failure::not_closed(expected, &error)),
                Ok(line) => Err(Failure::fail(expected, printable(&line)).fault(Fault::ExtraBytes)),
            }
        },
    },
    Case {
        name: "timeouts/idle-beside-a-flood",
        requirement: "an idle connection is closed even while another client floods the server",
        source: "the contract: idle timeout",
        preconditions: &[
            Precondition::IdleTimeout,
            Precondition::Clients(2),
            Precondition::Pipelining,
        ],
        level: Level::Hardening,
        check: |ctx| {
            let declared = ctx.contract.idle_timeout.unwrap_or_default();
            let mut flooding = ctx.clients().connect()?;
            flooding.learn_reply(&request(1))?;
            let mut silent = ctx.clients().connect()?;
            silent.learn_reply(&request(2))?;
            // Start the flood just before the timeout expires, because an earlier flood only costs
            // CPU time.
            std::thread::sleep(declared * 4 / 5);
            let closed =
                flooding.while_flooding(|| silent.reply_within(declared * 2 + ctx.timeout))?;
            let expected = format!("closed after {} ms without a request", declared.as_millis());
            match closed {
                Err(ClientError::Closed(_)) => {
                    ctx.evidence().record_verified();
                    Ok(())
                }
                Err(error) => Err(Failure::not_closed(expected, &error).hint_if(
                    |fault| fault == Fault::StaysOpen,
                    "does the server check idle timeouts only when no requests arrive?",
                )),
                Ok(line) => Err(Failure::fail(expected, printable(&line)).fault(Fault::ExtraBytes)),
            }
        },
    },
    Case {
        name: "timeouts/activity-keeps-alive",
        requirement: "a connection on which a request arrives within each idle timeout stays open",
        source: "the contract: idle timeout",
        preconditions: &[Precondition::IdleTimeout, Precondition::UnlimitedRequests],
        level: Level::Required,
        check: |ctx| {
            // On a busy machine, the harness may send too late, so it retries.
            for _ in 0..MAX_ATTEMPTS {
                if sends_in_time(ctx)? {
                    return Ok(());
                }
            }
            Err(Failure::inconclusive("the harness was too slow to send within the idle timeout"))
        },
    },
    Case {
        name: "timeouts/drip-beside",
        requirement: "clients that send one byte at a time do not block other clients",
        source: "the contract: connection limit; Stevens UNP 6.8 (denial of service)",
        preconditions: &[Precondition::Clients(2), Precondition::DelimitedRequests],
        level: Level::Hardening,
        check: |ctx| {
            let mut client = ctx.clients().connect()?;
            let reply = client.learn_reply(&request(1))?;
            let mut slow_clients: Vec<TestClient<'_>> = (0..other_slots(ctx).min(SLOW_CLIENTS))
                .map(|_| ctx.clients().connect())
                .collect::<Result<_, _>>()?;
            ctx.clients().check_isolation(&mut client, &mut slow_clients[0])?;
            for byte in request(2) {
                for slow in &mut slow_clients {
                    // The server may have closed the connection of a slow client.
                    let _ = slow.client.send(&[byte]);
                }
                client.request(&request(1))?;
                client.expect(&reply).map_err(|failure| {
                    failure.hint_if(Fault::is_hang, "does the server wait for the rest of an incomplete line? buffer it, and serve other clients")
                })?;
                std::thread::sleep(BYTE_INTERVAL);
            }
            Ok(())
        },
    },
    Case {
        name: "timeouts/silent-crowd",
        requirement: "idle clients in all connection slots but one do not affect the client in the last slot",
        source: "the contract: connection limit; Stevens UNP 6.8 (denial of service)",
        preconditions: &[Precondition::Capacity, Precondition::Clients(2)],
        level: Level::Required,
        check: |ctx| {
            let mut client = ctx.clients().connect()?;
            let reply = client.learn_reply(&request(7))?;
            ctx.require_round_trips(other_slots(ctx))?;
            let mut silent: Vec<TestClient<'_>> =
                (0..other_slots(ctx)).map(|_| ctx.clients().connect()).collect::<Result<_, _>>()?;
            // A client that is still in the accept queue could later take the last slot.
            ctx.process().wait_until_asleep();
            for client in &mut silent {
                if !matches!(client.received_reply(), Err(ClientError::Silent(..))) {
                    let seen = "not all idle clients are served";
                    return Err(Failure::assumption_failed(&["contract/capacity"], seen));
                }
            }
            for _ in 0..10 {
                client.request(&request(7))?;
                client.expect(&reply)?;
            }
            client.close();
            ctx.clients().expect_service_with_retry("the next client is served in the last slot")
        },
    },
];

/// Returns the number of connection slots minus one, given that a case opens at most
/// [`MAX_CLIENTS`] connections.
fn other_slots(ctx: &TestContext<'_>) -> usize {
    ctx.contract.capacity.unwrap_or(2).min(MAX_CLIENTS) - 1
}

/// Requires replies to a client that sends several requests, each within the idle timeout of the
/// last.
///
/// Returns false if a reply is missing because the machine delayed a request beyond the timeout.
fn sends_in_time(ctx: &TestContext<'_>) -> Result<bool, Failure> {
    let declared = ctx.contract.idle_timeout.unwrap_or_default();
    let mut client = ctx.clients().connect()?;
    // The server receives the request after this time, so the idle time at the server is shorter.
    let mut last_sent = Instant::now();
    let reply = client.learn_reply(&request(1))?;
    for _ in 0..4 {
        std::thread::sleep(declared * 2 / 5);
        let now = Instant::now();
        let sent = client.request(&request(1));
        let idle = last_sent.elapsed();
        match sent.and_then(|()| client.expect(&reply)) {
            Ok(()) => last_sent = now,
            Err(_) if idle >= declared => return Ok(false),
            Err(failure) => return Err(failure),
        }
    }
    Ok(true)
}
