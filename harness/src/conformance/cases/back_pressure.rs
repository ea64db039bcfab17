//! Cases for back-pressure: clients that read slowly or not at all.

use std::io::Write;
use std::thread;
use std::time::Duration;

use crate::conformance::case::Case;
use crate::conformance::context::{beside, request};
use crate::conformance::failure::Failure;
use crate::conformance::precondition::Precondition;
use crate::conformance::test_client::{GROWTH, PIPELINED, Stuffed};

/// Replies owed to a slow reader, and the two requests it alternates. At 16 bytes each, the replies
/// exceed the socket buffers.
const REPLIES: usize = 25_000;
const ASKED: [&[u8]; 2] = [b"123456789012345", b"543210987654321"];

/// Pipelined requests that must be answered before that.
const REHEARSED: usize = 200;

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "back-pressure/never-reads",
        requirement: "a client that sends and never reads costs bounded memory: the server stops reading",
        source: "CWE-770 (allocation of resources without limits); RFC 9293 section 3.8 (flow control by the window)",
        needs: &[Precondition::Launched, Precondition::Pipelining, Precondition::Lasting],
        check: |ctx| {
            let mut client = ctx.connect_with_small_window()?;
            client.learn(&request(1))?;
            match client.stuff()? {
                Stuffed::Waits { grown } => {
                    ctx.was_met();
                    ctx.observe(format!("it stopped reading, {} KiB larger", grown / 1024));
                    ctx.outlives(client)
                }
                Stuffed::Hoards { sent, grown } => {
                    let expected =
                        format!("it stops reading, at most {} KiB larger", GROWTH / 1024);
                    let seen = format!("{} KiB more, after {sent} bytes of requests", grown / 1024);
                    Err(Failure::leak(expected, seen)
                        .hint("while replies wait to be sent, read no further requests"))
                }
            }
        },
    },
    Case {
        name: "back-pressure/others-are-served",
        requirement: "a client that sends and never reads does not keep others from being served",
        source: "CWE-400 (uncontrolled resource consumption); Stevens UNP 6.8 (denial of service)",
        needs: &[Precondition::Clients(2), Precondition::Launched, Precondition::Pipelining],
        check: |ctx| {
            let mut client = ctx.connect_with_small_window()?;
            client.learn(&request(1))?;
            client.stuff()?;
            ctx.still_serves("another client is served").map_err(|finding| {
                finding.hint("does a write that blocks hold up everyone? write what fits, and come back for the rest")
            })?;
            ctx.outlives(client)
        },
    },
    Case {
        name: "back-pressure/slow-reader",
        requirement: "a client that reads slowly gets every reply, whole and in order",
        source: "RFC 9293 section 2.2 (TCP is a stream of bytes); Stevens UNP 16.2 (partial writes)",
        needs: &[Precondition::Pipelining, Precondition::Lasting],
        check: |ctx| {
            let mut client = ctx.connect_with_small_window()?;
            let replies = [client.learn(ASKED[0])?, client.learn(ASKED[1])?];
            let pair = [ctx.sent(ASKED[0]), ctx.sent(ASKED[1])].concat();
            client.send(&pair.repeat(REHEARSED / 2))?;
            for number in 0..REHEARSED {
                client.expect(&replies[number % 2]).map_err(|finding| {
                    let seen = finding.observed;
                    Failure::blocked(PIPELINED, format!("even read at once: {seen}"))
                })?;
            }
            let requests = pair.repeat(REPLIES / 2);
            let mut stream =
                client.client.stream().map_err(|trouble| Failure::trouble("a clone", &trouble))?;
            thread::scope(|scope| {
                // The thread ends with the connection, or when the client's timeout expires.
                beside(scope, move || stream.write_all(&requests))?;
                // The server must be ahead of its reader, or it would never have to wait for it.
                ctx.let_it_rest();
                for number in 0..REPLIES {
                    if number % (REPLIES / 50) == 0 {
                        thread::sleep(Duration::from_millis(2));
                    }
                    client.expect(&replies[number % 2]).inspect_err(|_| client.client.cut())?;
                }
                Ok(())
            })
        },
    },
];
