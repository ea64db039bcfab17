//! Cases for back-pressure: clients that read slowly or not at all.

use std::io::Write;
use std::thread;
use std::time::Duration;

use crate::client::SMALL_WINDOW;
use crate::conformance::assumptions::PIPELINING;
use crate::conformance::case::Case;
use crate::conformance::failure::Failure;
use crate::conformance::precondition::Precondition;
use crate::conformance::requests::request;
use crate::conformance::test_client::{MAX_MEMORY_GROWTH, OverfillOutcome};
use crate::conformance::threads::spawn_scoped;
use crate::results::{Fault, Level};

/// Number of replies that a slow reader gets. Together they exceed the socket buffers.
const REPLIES: usize = 40_000;

/// Length of each of these replies in bytes: nine digits, which fit in 32 bits, and the line feed.
const REPLY_LENGTH: usize = 10;

/// Requests that the slow reader sends in turn.
const ALTERNATING_REQUESTS: [&[u8]; 2] = [b"123456789", b"543210987"];

/// Number of pipelined requests that must be answered before the client reads slowly.
const WARM_UP_REQUESTS: usize = 200;

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "back-pressure/never-reads",
        requirement: "a client that sends requests and never reads makes the server stop reading, so that its memory is bounded",
        source: "CWE-770 (allocation of resources without limits); RFC 9293 section 3.8 (flow control by the window)",
        preconditions: &[
            Precondition::Launched,
            Precondition::Pipelining,
            Precondition::UnlimitedRequests,
        ],
        level: Level::Hardening,
        check: |ctx| {
            let mut client = ctx.clients().connect_with_small_window()?;
            client.learn_reply(&request(1))?;
            match client.fill_buffers()? {
                OverfillOutcome::BackPressure { growth } => {
                    ctx.evidence().record_verified();
                    ctx.evidence().observe(format!(
                        "the server stopped reading; its memory grew by {} KiB",
                        growth / 1024
                    ));
                    ctx.clients().expect_service_after_reset(client)
                }
                OverfillOutcome::Buffers { sent, growth } => {
                    let expected = format!(
                        "the server stops reading, and its memory grows by at most {} KiB",
                        MAX_MEMORY_GROWTH / 1024
                    );
                    let seen = format!(
                        "its memory grew by {} KiB after {sent} bytes of requests",
                        growth / 1024
                    );
                    Err(Failure::leak(expected, seen)
                        .hint("do not read further requests while replies wait to be sent"))
                }
            }
        },
    },
    Case {
        name: "back-pressure/others-are-served",
        requirement: "a client that sends requests and never reads does not block other clients",
        source: "CWE-400 (uncontrolled resource consumption); Stevens UNP 6.8 (denial of service)",
        preconditions: &[
            Precondition::Clients(2),
            Precondition::Launched,
            Precondition::Pipelining,
        ],
        level: Level::Hardening,
        check: |ctx| {
            let mut client = ctx.clients().connect_with_small_window()?;
            client.learn_reply(&request(1))?;
            client.fill_buffers()?;
            ctx.clients().expect_service("another client is served").map_err(|failure| {
                failure.hint_if(Fault::is_hang, "does a blocking write stop all connections? write what fits, and the rest when the socket is writable")
            })?;
            ctx.clients().expect_service_after_reset(client)
        },
    },
    Case {
        name: "back-pressure/slow-reader",
        requirement: "a client that reads slowly gets all replies, complete and in order",
        source: "RFC 9293 section 2.2 (TCP is a stream of bytes); Stevens UNP 16.2 (partial writes)",
        preconditions: &[Precondition::Pipelining, Precondition::UnlimitedRequests],
        level: Level::Required,
        check: |ctx| {
            let mut client = ctx.clients().connect_with_small_window()?;
            // A round trip transfers at most the receive window.
            ctx.require_round_trips(REPLIES * REPLY_LENGTH / SMALL_WINDOW)?;
            let [first, second] = ALTERNATING_REQUESTS;
            let replies = [client.learn_reply(first)?, client.learn_reply(second)?];
            let pair = [ctx.contract.sent(first), ctx.contract.sent(second)].concat();
            client.send(&pair.repeat(WARM_UP_REQUESTS / 2))?;
            for number in 0..WARM_UP_REQUESTS {
                client.expect(&replies[number % 2]).map_err(|failure| {
                    let seen = failure.observed;
                    Failure::assumption_failed(
                        PIPELINING,
                        format!("even without a slow reader: {seen}"),
                    )
                })?;
            }
            let requests = pair.repeat(REPLIES / 2);
            let mut stream = client
                .client
                .stream()
                .map_err(|error| Failure::client_error("a duplicate of the socket", &error))?;
            thread::scope(|scope| {
                // This thread ends when the connection closes, or after the client's timeout.
                spawn_scoped(scope, move || stream.write_all(&requests))?;
                // The server must first fill the socket buffers, so that it has to wait for the
                // reader.
                ctx.process().wait_until_asleep();
                for number in 0..REPLIES {
                    if number % (REPLIES / 50) == 0 {
                        thread::sleep(Duration::from_millis(2));
                    }
                    client
                        .expect(&replies[number % 2])
                        .map_err(|failure| match failure.fault {
                            // Where lost bytes end decides whether the rest looks like a reply.
                            Fault::OtherReply => failure.fault(Fault::WrongReply),
                            _ => failure,
                        })
                        .inspect_err(|_| client.client.shut_down())?;
                }
                Ok(())
            })
        },
    },
];
