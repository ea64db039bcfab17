//! Cases for clients that disconnect: by a FIN, by a half-close, or by a reset.

use std::thread;
use std::time::{Duration, Instant};

use crate::client::ClientError;
use crate::conformance::assumptions::PIPELINING;
use crate::conformance::case::Case;
use crate::conformance::context::{POLL_INTERVAL, TestContext};
use crate::conformance::failure::Failure;
use crate::conformance::precondition::Precondition;
use crate::conformance::requests::request;
use crate::conformance::test_client::QUIET;
use crate::results::{Fault, Level};
use crate::text::printable;

/// Number of requests sent at once before the half-close.
const PIPELINED_REQUESTS: usize = 200;

/// Number of clients that half-close in a round. If the server leaks their descriptors, its count
/// grows by this number, which is too large for a coincidence.
const HALF_CLOSING_CLIENTS: usize = 6;

/// First timeout for the server to close a descriptor.
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "disconnects/half-close",
        requirement: "a client that half-closes its connection gets the pending reply, then a clean close",
        source: "RFC 9293 section 3.6.1 (half-closed connections); shutdown(2)",
        preconditions: &[],
        level: Level::Required,
        check: |ctx| {
            let mut client = ctx.clients().connect()?;
            let reply = client.learn_reply(&request(1))?;
            client.request(&request(1))?;
            client.half_close()?;
            client.expect(&reply)?;
            client.expect_end().map_err(with_end_of_input_hint)
        },
    },
    Case {
        name: "disconnects/half-close-many",
        requirement: "a client that half-closes its connection after many requests gets all replies, then a clean close",
        source: "RFC 9293 section 3.6.1 (half-closed connections); RFC 1122 section 4.2.2.13 (closing over unread data resets)",
        preconditions: &[Precondition::Pipelining, Precondition::UnlimitedRequests],
        level: Level::Required,
        check: |ctx| {
            let mut client = ctx.clients().connect()?;
            let replies = [client.learn_reply(&request(1))?, client.learn_reply(&request(2))?];
            let many = [ctx.contract.sent(&request(1)), ctx.contract.sent(&request(2))]
                .concat()
                .repeat(PIPELINED_REQUESTS / 2);
            client.send(&many)?;
            for number in 0..PIPELINED_REQUESTS {
                client.expect(&replies[number % 2]).map_err(|failure| {
                    let seen = failure.observed;
                    Failure::assumption_failed(
                        PIPELINING,
                        format!("even without a half-close: {seen}"),
                    )
                })?;
            }
            client.send(&many)?;
            client.half_close()?;
            for number in 0..PIPELINED_REQUESTS {
                client.expect(&replies[number % 2]).map_err(|failure| {
                    failure.hint_if(
                        |fault| !fault.is_content(),
                        "the end of the input is not the end of the output: send the pending replies, then close",
                    )
                })?;
            }
            client.expect_end().map_err(with_end_of_input_hint)
        },
    },
    Case {
        name: "disconnects/fin-frees-descriptor",
        requirement: "the server closes the descriptor of a client that has half-closed and has no pending replies",
        source: "close(2); CWE-775 (missing release of a file descriptor)",
        preconditions: &[
            Precondition::Launched,
            Precondition::UnlimitedRequests,
            Precondition::NoExitAfterConnections,
        ],
        level: Level::Required,
        check: |ctx| {
            ctx.clients().connect()?.learn_reply(&request(1))?;
            let descriptors = || ctx.resources().usage().descriptors;
            let mut outcome = Ok(());
            // A worker pool that is still starting adds descriptors once. A leak adds some in each
            // round.
            for timeout in [FIRST_TIMEOUT, FIRST_TIMEOUT, ctx.timeout] {
                ctx.process().wait_until_asleep();
                let before = descriptors();
                let mut clients = Vec::new();
                for _ in 0..HALF_CLOSING_CLIENTS {
                    let mut client = ctx.clients().connect_with_retry(&request(2))?;
                    client.half_close()?;
                    clients.push(client);
                }
                outcome = ctx.wait_for(
                    timeout.min(ctx.timeout),
                    || descriptors() <= before + HALF_CLOSING_CLIENTS / 2,
                    || {
                        let expected = format!("about {before} open descriptors, as before");
                        let number = descriptors();
                        let seen =
                            format!("{number} after {HALF_CLOSING_CLIENTS} clients sent FIN");
                        Failure::leak(expected, seen).hint(
                            "a read of 0 bytes means that the client has closed: close the socket",
                        )
                    },
                );
                if outcome.is_ok() {
                    break;
                }
            }
            outcome
        },
    },
    Case {
        name: "disconnects/nothing-said",
        requirement: "clients that connect and close without a request get no reply, and do not affect the server",
        source: "RFC 9293 section 3.6 (closing a connection)",
        preconditions: &[Precondition::AnyReply, Precondition::NoExitAfterConnections],
        level: Level::Required,
        check: |ctx| {
            ctx.clients().connect()?.learn_reply(&request(7))?;
            // A message to all clients may be due to any of them.
            if ctx.contract.broadcast.is_none() {
                expect_no_bytes(ctx)?;
            }
            for _ in 0..20 {
                // The server may reject this client while it still handles an earlier one.
                drop(ctx.clients().try_connect());
            }
            ctx.clients().expect_service_with_retry("the next client is served")
        },
    },
    Case {
        name: "disconnects/reset-before-accept",
        requirement: "clients that reset right after they connect do not affect the server",
        source: "Stevens UNP 5.11 (connection abort before accept returns); accept(2)",
        preconditions: &[Precondition::AnyReply, Precondition::NoExitAfterConnections],
        level: Level::Required,
        check: |ctx| {
            ctx.clients().connect()?.learn_reply(&request(7))?;
            // While the first client has a slot, the server may reject the others at once.
            ctx.process().wait_until_asleep();
            for _ in 0..20 {
                if let Ok(client) = ctx.clients().try_connect() {
                    client.wait_until_established();
                    client.reset();
                }
            }
            ctx.clients()
                .expect_service_when_asleep("the next client is served")
                .map_err(with_reset_hint)
        },
    },
    Case {
        name: "disconnects/reset-in-request",
        requirement: "a client that resets in the middle of a request does not affect the server",
        source: "RFC 9293 section 3.5.3 (reset processing)",
        preconditions: &[Precondition::NoExitAfterConnections],
        level: Level::Required,
        check: |ctx| {
            for _ in 0..5 {
                let mut client = ctx.clients().connect_with_retry(&request(1))?;
                client.send(b"12")?;
                client.reset();
            }
            ctx.clients()
                .expect_service_when_asleep("the next client is served")
                .map_err(with_reset_hint)
        },
    },
    Case {
        name: "disconnects/reset-in-reply",
        requirement: "a client that resets while the server sends replies does not affect the server",
        source: "RFC 9293 section 3.5.3 (reset processing); Stevens UNP 5.13 (SIGPIPE)",
        preconditions: &[Precondition::Pipelining, Precondition::NoExitAfterConnections],
        level: Level::Required,
        check: |ctx| {
            // Enough requests that the server still answers them when the client resets, even if
            // the server runs first.
            let many = ctx.contract.sent(&request(1)).repeat(20_000);
            for _ in 0..5 {
                let mut client = ctx.clients().connect_with_retry(&request(1))?;
                // The server may be too slow to accept all the bytes.
                let _ = client.client.send(&many);
                client.reset();
            }
            ctx.clients()
                .expect_service_when_asleep("the next client is served")
                .map_err(with_reset_hint)
        },
    },
];

/// Requires that a client that half-closes its connection without a request gets no bytes, except
/// the greeting and a rejection.
fn expect_no_bytes(ctx: &TestContext<'_>) -> Result<(), Failure> {
    let deadline = Instant::now() + ctx.timeout;
    let bytes = loop {
        let received = ctx.clients().try_connect().and_then(|mut client| {
            client.complete_handshake()?;
            client.client.half_close()?;
            client.read_for(ctx.with_round_trips(QUIET))
        });
        let bytes = match received {
            Ok(bytes) => bytes,
            Err(ClientError::Closed(bytes)) => ctx.contract.wire.without_prompt(bytes),
            Err(_) => return Ok(()),
        };
        // The server may reject this client with any line while it still handles an earlier one.
        let is_final = bytes.is_empty() || ctx.learned_replies().begins_with_reply(&bytes);
        if is_final || Instant::now() > deadline {
            break bytes;
        }
        thread::sleep(POLL_INTERVAL);
    };
    if bytes.is_empty() {
        ctx.evidence().record_verified();
        return Ok(());
    }
    if ctx.contract.is_busy(&bytes) {
        return Ok(());
    }
    let received = printable(&bytes);
    if ctx.learned_replies().begins_with_reply(&bytes) {
        return Err(Failure::fail("a client that sends no request gets no reply", received)
            .caused_by_action("a client connects and half-closes the connection without a request")
            .fault(Fault::OtherReply)
            .hint(
                "at the end of input, the server sends the reply to an earlier client again: clear \
                 the variable, and send nothing",
            ));
    }
    // The end of the input may end an empty request, which gets an error reply.
    ctx.evidence().warn(format!("a client that half-closes without a request gets {received}"));
    Ok(())
}

/// Names the cause of a connection that stays open, or gets data without an end, after a FIN.
pub(super) fn with_end_of_input_hint(failure: Failure) -> Failure {
    failure.hint_if(
        |fault| matches!(fault, Fault::StaysOpen | Fault::EndlessReply),
        "a read of 0 bytes is the end of the input: leave the loop that reads, and close the socket",
    )
}

fn with_reset_hint(failure: Failure) -> Failure {
    let hint = if failure.fault.is_content() {
        "is the input of each client kept apart, and dropped when the client leaves? a buffer that \
         all clients share mixes their requests"
    } else {
        "after a reset, reads, writes and even accept fail: such an error may close one connection, \
         but must not stop the server"
    };
    failure.hint(hint)
}
