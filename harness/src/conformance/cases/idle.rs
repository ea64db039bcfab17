//! Cases for the CPU time of a server that has no work.

use crate::conformance::case::Case;
use crate::conformance::context::TestContext;
use crate::conformance::experiments::expect_sleep;
use crate::conformance::failure::Failure;
use crate::conformance::precondition::Precondition;
use crate::conformance::requests::{halves, request};
use crate::conformance::test_client::TestClient;
use crate::results::Level;

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "idle/no-client",
        requirement: "a server without clients sleeps instead of using the CPU",
        source: "poll(2); accept(2); CWE-400 (uncontrolled resource consumption)",
        preconditions: &[Precondition::AnyReply, Precondition::Launched],
        level: Level::Required,
        check: |ctx| {
            expect_sleep(ctx, "no client is connected").map_err(|failure| {
                failure.hint("does the loop poll without a timeout, or is a timer always due? block until an event arrives")
            })?;
            ctx.clients().connect()?.learn_reply(&request(1)).map(drop)
        },
    },
    Case {
        name: "idle/connected-clients",
        requirement: "a server whose client sends nothing, or only a part of a request, sleeps instead of using the CPU",
        source: "poll(2); Stevens UNP 16.1 (nonblocking I/O and polling); CWE-400 (uncontrolled resource consumption)",
        preconditions: &[
            Precondition::AnyReply,
            Precondition::Launched,
            Precondition::UnlimitedRequests,
        ],
        level: Level::Required,
        check: |ctx| {
            let hint = |failure: Failure| {
                failure.hint(
                    "a socket is writable most of the time: wait for it to be writable only while \
                     output waits, and do not poll a socket that has no input",
                )
            };
            expect_sleep_without_clients(ctx)?;
            let mut client = ctx.clients().connect()?;
            client.learn_reply(&request(1))?;
            expect_sleep(ctx, "its client is idle").map_err(hint)?;
            if ctx.contract.wire.is_delimited() {
                client.send(&halves(ctx.contract, &request(2)).0)?;
                expect_sleep(ctx, "its client has sent a part of a request").map_err(hint)?;
            }
            Ok(())
        },
    },
    Case {
        name: "idle/after-fin",
        requirement: "after clients have closed their connections, the server sleeps instead of using the CPU",
        source: "recv(2) (0 is the end of the input); RFC 9293 section 3.6 (closing a connection)",
        preconditions: &[
            Precondition::AnyReply,
            Precondition::Launched,
            Precondition::NoExitAfterConnections,
        ],
        level: Level::Required,
        check: |ctx| {
            expect_sleep_without_clients(ctx)?;
            leave(ctx, |client| client.close())?;
            expect_sleep(ctx, "all clients have closed their connections").map_err(|failure| {
                failure.hint("at the end of the input, every read returns 0 bytes at once, and the socket stays readable: close it")
            })
        },
    },
    Case {
        name: "idle/after-reset",
        requirement: "after clients have reset their connections, the server sleeps instead of using the CPU",
        source: "recv(2) (ECONNRESET); RFC 9293 section 3.5.3 (reset processing)",
        preconditions: &[
            Precondition::AnyReply,
            Precondition::Launched,
            Precondition::NoExitAfterConnections,
        ],
        level: Level::Required,
        check: |ctx| {
            expect_sleep_without_clients(ctx)?;
            let wire = &ctx.contract.wire;
            if wire.is_pipelined() && wire.requests().is_none() {
                // The server still sends replies when this client resets.
                let mut client = ctx.clients().connect_with_small_window()?;
                client.learn_reply(&request(1))?;
                // Other cases test whether the server stops reading.
                let _ = client.fill_buffers();
                client.reset();
            }
            leave(ctx, |client| client.reset())?;
            expect_sleep(ctx, "all clients have reset their connections").map_err(|failure| {
                failure.hint("after a failed read or write, close the connection and end its thread or process: a retry fails again at once")
            })
        },
    },
];

/// Requires that the server sleeps before the first client connects.
///
/// # Errors
/// The server spins. The case is then inconclusive.
fn expect_sleep_without_clients(ctx: &TestContext<'_>) -> Result<(), Failure> {
    expect_sleep(ctx, "no client is connected").map_err(|failure| match failure.verdict {
        Some(_) => {
            let seen = format!("even without clients: {}", failure.observed);
            Failure::assumption_failed(&["idle/no-client"], seen)
        }
        None => failure,
    })
}

/// Connects clients that leave one after another: after a reply, in the middle of a request, and
/// before a request.
fn leave(ctx: &TestContext<'_>, leave: fn(TestClient<'_>)) -> Result<(), Failure> {
    leave(ctx.clients().connect_with_retry(&request(1))?);
    let mut client = ctx.clients().connect_with_retry(&request(1))?;
    client.send(&halves(ctx.contract, &request(2)).0)?;
    leave(client);
    // The server may reject this client while it still handles an earlier one.
    if let Ok(client) = ctx.clients().try_connect() {
        leave(client);
    }
    Ok(())
}
