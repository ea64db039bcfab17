//! Cases for a server that has run out of descriptors.

use std::time::{Duration, Instant};

use crate::client::ClientError;
use crate::conformance::case::Case;
use crate::conformance::context::{SHORT_TIMEOUT, TestContext};
use crate::conformance::experiments::expect_sleep;
use crate::conformance::failure::{Failure, UNCHECKED_ACCEPT_HINT};
use crate::conformance::precondition::Precondition;
use crate::conformance::requests::request;
use crate::conformance::test_client::TestClient;
use crate::results::Level;

/// Timeout for the rejection of a new connection.
const REJECTION_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum number of threads and processes that a server starts without a connection.
const MAX_STARTED: usize = 10;

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "exhaustion/new-connections",
        requirement: "without a free descriptor, new connections are rejected or wait, and are served once a descriptor is free",
        source: "accept(2) (EMFILE); getrlimit(2)",
        preconditions: &[
            Precondition::OwnReplies,
            Precondition::Launched,
            Precondition::NoExitAfterConnections,
        ],
        level: Level::Hardening,
        check: |ctx| {
            ctx.clients().connect()?.learn_reply(&request(7))?;
            ctx.resources().without_descriptors(|| {
                // An accept call that was already blocked has reserved a descriptor, so the server
                // can still accept one connection.
                for _ in 0..4 {
                    let outcome = ctx.clients().try_connect().and_then(|mut client| {
                        client.try_request(&request(7))?;
                        client.reply_within(REJECTION_TIMEOUT)
                    });
                    let Err(ClientError::Silent(..) | ClientError::ConnectTimedOut(_)) = outcome
                    else {
                        continue;
                    };
                    ctx.evidence().warn("new connections get no reply until a descriptor is free");
                    break;
                }
                Ok(())
            })?;
            let served = ctx
                .clients()
                .expect_service_with_retry("clients are served once descriptors are free again");
            served.map_err(|failure| {
                failure.hint("an accept that fails with EMFILE must stop neither the accept loop nor the server")
            })
        },
    },
    Case {
        name: "exhaustion/no-spin",
        requirement: "without a free descriptor, pending connections do not make the server spin",
        source: "accept(2) (EMFILE); CWE-400 (uncontrolled resource consumption)",
        preconditions: &[
            Precondition::OwnReplies,
            Precondition::Launched,
            Precondition::NoExitAfterConnections,
        ],
        level: Level::Hardening,
        check: |ctx| {
            ctx.clients().connect()?.learn_reply(&request(7))?;
            ctx.resources().without_descriptors(|| {
                // An accept call that was already blocked has reserved a descriptor, so the server
                // can still accept one connection.
                let _ = ctx.clients().try_connect().map(|client| client.client.shut_down());
                let _pending: Vec<Result<TestClient<'_>, ClientError>> =
                    (0..3).map(|_| ctx.clients().try_connect()).collect();
                expect_few_started(ctx)?;
                expect_sleep(ctx, "it cannot accept").map_err(|failure| {
                    failure.hint(
                        "without a descriptor, accept fails at once and the listener stays readable: keep a \
                         spare descriptor to accept and close with, or pause before the next accept",
                    )
                })
            })
        },
    },
    Case {
        name: "exhaustion/connected-clients",
        requirement: "without a free descriptor, the connected clients are still served",
        source: "accept(2) (EMFILE); getrlimit(2)",
        preconditions: &[Precondition::Clients(2), Precondition::Launched],
        level: Level::Hardening,
        check: |ctx| {
            let mut client = ctx.clients().connect()?;
            let reply = client.learn_reply(&request(1))?;
            ctx.resources().without_descriptors(|| {
                let _pending: Vec<Result<TestClient<'_>, ClientError>> =
                    (0..3).map(|_| ctx.clients().try_connect()).collect();
                // Wait until accept has failed in the server.
                ctx.process().wait_until_asleep();
                for _ in 0..20 {
                    client.request(&request(1))?;
                    client.expect(&reply)?;
                }
                Ok(())
            })
        },
    },
];

/// Requires that the server, until it sleeps, starts no thread or process for each accept that
/// fails.
fn expect_few_started(ctx: &TestContext<'_>) -> Result<(), Failure> {
    let (before, began) = (started(ctx), Instant::now());
    while began.elapsed() < SHORT_TIMEOUT && !ctx.process().is_asleep() {
        let number = started(ctx).saturating_sub(before);
        if number > MAX_STARTED {
            let seen = format!("it started {number} threads and processes");
            let failure = Failure::fail("the server sleeps while it cannot accept", seen);
            return Err(failure.hint(UNCHECKED_ACCEPT_HINT));
        }
    }
    Ok(())
}

/// Returns the number of the server's threads and processes, with those that have exited and are
/// not waited for.
fn started(ctx: &TestContext<'_>) -> usize {
    let usage = ctx.resources().usage();
    usage.threads + usage.processes
}
