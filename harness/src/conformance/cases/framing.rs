//! Cases for framing: one reply per request, however TCP segments the bytes.

use std::mem;
use std::time::Duration;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use servers::Service;

use super::disconnects::with_end_of_input_hint;
use crate::client::ClientError;
use crate::conformance::assumptions::PIPELINING;
use crate::conformance::case::Case;
use crate::conformance::failure::Failure;
use crate::conformance::precondition::Precondition;
use crate::conformance::requests::{padded, reply_to_padded, request};
use crate::results::{Fault, Level};
use crate::text::printable;

/// Shortest pause between two pieces of a request, which the server reads separately.
const PIECE_INTERVAL: Duration = Duration::from_millis(3);

/// Longest pause between two pieces of a random stream, in milliseconds.
const MAX_PAUSE_MS: u64 = 3;

/// Number of random request streams.
const STREAMS: u32 = 25;

/// Number of requests, unsplit and one at a time, that must be answered before requests are split.
const UNSPLIT_REQUESTS: usize = 150;

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "framing/single",
        requirement: "a request that ends with a line feed gets one reply line",
        source: "the line protocol",
        preconditions: &[],
        level: Level::Required,
        check: |ctx| {
            let expected = "one reply line";
            let mut client = ctx
                .clients()
                .try_connect()
                .map_err(|error| Failure::client_error("a connection", &error))?;
            let reply = client.ask_for_slot(&request(1)).map_err(|error| {
                Failure::client_error(expected, &error)
                    .hint_if(|fault| matches!(fault, Fault::NoReply | Fault::PartialReply), "does the server wait for more than a line feed, or end its replies with other bytes?")
            })?;
            ctx.evidence().record_verified();
            if reply.is_empty() {
                return Err(Failure::fail(expected, "an empty line").fault(Fault::EmptyReply));
            }
            Ok(())
        },
    },
    Case {
        name: "framing/one-line",
        requirement: "a reply is exactly one line",
        source: "the line protocol",
        preconditions: &[Precondition::UnlimitedRequests],
        level: Level::Required,
        check: |ctx| {
            let mut client = ctx.clients().connect()?;
            client.learn_reply(&request(1))?;
            client.expect_silence("after the reply line").map_err(|failure| match failure.fault {
                Fault::ClosesEarly => failure.fault(Fault::ClosesAfterReply),
                _ => with_extra_output_hint(failure),
            })
        },
    },
    Case {
        name: "framing/byte-by-byte",
        requirement: "a request that arrives byte by byte is answered once, and only when it is complete",
        source: "RFC 9293 section 2.2 (TCP is a stream of bytes); Stevens UNP 3.9",
        preconditions: &[Precondition::DelimitedRequests, Precondition::UnlimitedRequests],
        level: Level::Required,
        check: |ctx| {
            let mut client = ctx.clients().connect()?;
            let reply = client.learn_reply(&request(1))?;
            let line = ctx.contract.sent(&request(1));
            let (last, others) = line.split_last().expect("a request has a terminator");
            for &byte in others {
                client.send(&[byte])?;
                client.pause_until_read(PIECE_INTERVAL);
            }
            client.expect_silence("before the request is complete").map_err(with_framing_hint)?;
            client.send(&[*last])?;
            client.expect(&reply).map_err(with_framing_hint)
        },
    },
    Case {
        name: "framing/all-cuts",
        requirement: "a request that arrives in two parts, split at any byte, gets the same reply as a whole one",
        source: "RFC 9293 section 2.2 (TCP is a stream of bytes); Stevens UNP 3.9",
        preconditions: &[Precondition::DelimitedRequests, Precondition::UnlimitedRequests],
        level: Level::Required,
        check: |ctx| {
            let mut client = ctx.clients().connect()?;
            // The requests alternate, so an extra reply is not mistaken for the next reply.
            let replies = [client.learn_reply(&request(1))?, client.learn_reply(&request(2))?];
            for cut in 1..=request(1).len() {
                let line = ctx.contract.sent(&request(1 + cut % 2));
                client.send(&line[..cut])?;
                client.pause_until_read(PIECE_INTERVAL);
                client.send(&line[cut..])?;
                client.expect(&replies[cut % 2]).map_err(with_framing_hint)?;
            }
            Ok(())
        },
    },
    Case {
        name: "framing/split-token",
        requirement: "a number that arrives in two parts is read as one number",
        source: "RFC 9293 section 2.2 (TCP is a stream of bytes); Stevens UNP 3.9",
        preconditions: &[
            Precondition::Calc,
            Precondition::DelimitedRequests,
            Precondition::UnlimitedRequests,
        ],
        level: Level::Required,
        check: |ctx| {
            let mut client = ctx.clients().connect()?;
            let requests = [&b"1234+1"[..], b"5678+2"];
            let replies = [client.learn_reply(requests[0])?, client.learn_reply(requests[1])?];
            for cut in 1..4 {
                let line = ctx.contract.sent(requests[cut % 2]);
                let cut_at = ctx.contract.wire.request.before.len() + cut;
                client.send(&line[..cut_at])?;
                client.pause_until_read(PIECE_INTERVAL);
                client.send(&line[cut_at..])?;
                client.expect(&replies[cut % 2]).map_err(with_framing_hint)?;
            }
            Ok(())
        },
    },
    Case {
        name: "framing/pipelined",
        requirement: "100 pipelined requests get 100 replies in the order of the requests",
        source: "the line protocol; RFC 9293 section 2.2 (TCP is a stream of bytes)",
        preconditions: &[Precondition::Pipelining, Precondition::UnlimitedRequests],
        level: Level::Required,
        check: |ctx| {
            let mut client = ctx.clients().connect()?;
            // Each request is first sent alone, which takes a round trip.
            let distinct = ctx.repetitions(100, 1);
            let requests: Vec<Vec<u8>> =
                (0..100).map(|number| request(number % distinct)).collect();
            let mut replies = Vec::new();
            for request in &requests[..distinct] {
                replies.push(client.learn_reply(request)?);
            }
            let pipelined: Vec<Vec<u8>> =
                requests.iter().map(|request| ctx.contract.sent(request)).collect();
            client.send(&pipelined.concat())?;
            for index in 0..requests.len() {
                let reply = &replies[index % distinct];
                client.expect(reply).map_err(|failure| Failure {
                    expected: format!("{} as reply {} of 100", failure.expected, index + 1),
                    ..with_framing_hint(failure)
                })?;
            }
            client.expect_silence("after the 100 replies")
        },
    },
    Case {
        name: "framing/random-cuts",
        requirement: "pipelined requests that arrive in random pieces, with or without pauses, are answered in order",
        source: "RFC 9293 section 2.2 (TCP is a stream of bytes); Stevens UNP 3.9",
        preconditions: &[
            Precondition::DelimitedRequests,
            Precondition::Pipelining,
            Precondition::UnlimitedRequests,
            Precondition::NoExitAfterConnections,
        ],
        level: Level::Required,
        check: |ctx| {
            let mut client = ctx.clients().connect_with_retry(&request(1))?;
            for _ in 0..ctx.repetitions(UNSPLIT_REQUESTS, 1) {
                client
                    .ask(&request(1))
                    .map_err(|it| Failure::client_error("a reply", &it))
                    .and_then(|reply| client.expect_learned_reply(&request(1), &reply))
                    .map_err(|failure| {
                        let seen = failure.observed;
                        Failure::assumption_failed(
                            PIPELINING,
                            format!("even for whole requests, one at a time: {seen}"),
                        )
                    })?;
            }
            client.close();
            let prepare = || ctx.clients().connect_with_retry(&request(1));
            ctx.property(
                STREAMS,
                "streams of requests in pieces",
                streams(),
                prepare,
                |client, stream| {
                    for number in &stream.requests {
                        client.learn_reply(&number_request(*number))?;
                    }
                    let pieces = stream.pieces(|number| ctx.contract.sent(&number_request(number)));
                    let shown = format_pieces(&pieces);
                    let expected = |failure: Failure| Failure {
                        expected: format!("{} to {shown}", failure.expected),
                        ..with_framing_hint(failure)
                    };
                    for (piece, pause) in &pieces {
                        if !pause.is_zero() {
                            client.pause_until_read(*pause);
                        }
                        client.send(piece)?;
                    }
                    for number in &stream.requests {
                        let reply = ctx
                            .learned_replies()
                            .get(&number_request(*number))
                            .expect("the reply was learned");
                        client.expect(&reply).map_err(expected)?;
                    }
                    // The reply to one more request detects an extra reply.
                    client.request(&request(1))?;
                    let reply =
                        ctx.learned_replies().get(&request(1)).expect("the reply was learned");
                    client.expect(&reply).map_err(expected)
                },
            )
        },
    },
    Case {
        name: "framing/crlf",
        requirement: "a carriage return before the line feed is not part of the request",
        source: "the line protocol",
        preconditions: &[Precondition::Lines, Precondition::UnlimitedRequests],
        level: Level::Required,
        check: |ctx| {
            let mut client = ctx.clients().connect()?;
            let reply = client.learn_reply(&request(1))?;
            let mut line = ctx.contract.sent(&request(1));
            line.insert(line.len() - 1, b'\r');
            client.send(&line)?;
            client.expect(&reply)
        },
    },
    Case {
        name: "framing/end-without-newline",
        requirement: "an unterminated last request is answered at the end of input, then the server closes the connection",
        source: "the line protocol; RFC 9293 section 3.6.1 (half-closed connections)",
        preconditions: &[Precondition::Lines],
        level: Level::Required,
        check: |ctx| {
            let mut client = ctx.clients().connect()?;
            let reply = client.learn_reply(&request(1))?;
            let mut line = ctx.contract.sent(&request(1));
            line.pop();
            client.send(&line)?;
            client.half_close()?;
            match client.reply() {
                // An echo of the bytes that were sent is correct, too.
                Err(ClientError::Closed(bytes))
                    if bytes == reply && ctx.contract.service == Service::Echo =>
                {
                    ctx.evidence().record_verified();
                    ctx.evidence().warn("the echo of an unterminated line is unterminated");
                    return Ok(());
                }
                // The echo is complete, and only the end of the connection is missing.
                Err(ref error @ ClientError::Silent(_, ref bytes))
                    if *bytes == reply && ctx.contract.service == Service::Echo =>
                {
                    let expected = "the server closes cleanly (FIN) after the echo";
                    let failure = Failure::client_error(expected, error).fault(Fault::StaysOpen);
                    return Err(with_end_of_input_hint(failure));
                }
                Err(error @ ClientError::Closed(_)) if is_unterminated(&error, &reply) => {
                    let expected = format!("the reply {}, with its line feed", printable(&reply));
                    return Err(Failure::client_error(expected, &error)
                        .fault(Fault::UnterminatedReply)
                        .hint("end every reply with a line feed, also the last one"));
                }
                Ok(line) if line == reply => {}
                Ok(line) => {
                    let expected = format!("the reply {}", printable(&reply));
                    return Err(ctx.wrong_reply(expected, &reply, &line));
                }
                Err(error) => {
                    let expected = format!("the reply {}", printable(&reply));
                    return Err(Failure::client_error(expected, &error).hint_if(
                        |fault| matches!(fault, Fault::ClosesBeforeReply | Fault::NoReply),
                        "the bytes left in the buffer at the end of input are also a request",
                    ));
                }
            }
            client.expect_end().map_err(with_end_of_input_hint)
        },
    },
    Case {
        name: "framing/sizes",
        requirement: "requests of 1023, 1024 and 1025 bytes get the same replies as short ones",
        source: "the line protocol; RFC 9293 section 2.2 (TCP is a stream of bytes)",
        preconditions: &[
            Precondition::RequestsOf(1025),
            Precondition::Padding(1025),
            Precondition::DelimitedRequests,
        ],
        level: Level::Required,
        check: |ctx| {
            let mut client = ctx.clients().connect()?;
            let short = client.learn_reply(&request(1))?;
            for size in [1023, 1024, 1025] {
                let padded = padded(ctx.contract, &request(1), size);
                client.raw_request(&padded)?;
                let reply = reply_to_padded(ctx.contract, &short, &padded);
                client.expect(&reply).map_err(|failure| {
                    failure.hint("the size of the read buffer must not limit a request: read until the line ends")
                })?;
            }
            Ok(())
        },
    },
];

/// Pipelined requests, and the positions at which they are cut into pieces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Stream {
    /// Each request is this number in decimal digits.
    requests: Vec<u32>,
    cuts: Vec<Cut>,
}

/// End of a piece of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Cut {
    /// Number of bytes before the cut.
    after: usize,
    /// Pause between this piece and the next, in milliseconds.
    pause_ms: u64,
}

fn streams() -> impl Strategy<Value = Stream> {
    let number = prop_oneof![0u32..10, 10u32..1000, 1000u32..1_000_000];
    // Shrinks towards long pauses, because the server may read pieces without a pause at once or
    // separately.
    let cut = (1usize..30, 0..=MAX_PAUSE_MS)
        .prop_map(|(after, shortening)| Cut { after, pause_ms: MAX_PAUSE_MS - shortening });
    let requests = proptest::collection::vec(number, 1..6);
    (requests, proptest::collection::vec(cut, 0..8))
        .prop_map(|(requests, cuts)| Stream { requests, cuts })
}

impl Stream {
    /// Returns the pieces, each with the pause before it.
    fn pieces(&self, framed: impl Fn(u32) -> Vec<u8>) -> Vec<(Vec<u8>, Duration)> {
        let mut rest: Vec<u8> = self.requests.iter().flat_map(|&number| framed(number)).collect();
        let mut cuts = self.cuts.clone();
        cuts.sort_by_key(|cut| cut.after);
        let (mut pieces, mut sent, mut pause) = (Vec::new(), 0, 0);
        for cut in cuts {
            let length = cut.after.saturating_sub(sent);
            if length > 0 && length < rest.len() {
                let next = rest.split_off(length);
                pieces.push((
                    mem::replace(&mut rest, next),
                    Duration::from_millis(pause.min(MAX_PAUSE_MS)),
                ));
                (sent, pause) = (cut.after, cut.pause_ms);
            }
        }
        pieces.push((rest, Duration::from_millis(pause.min(MAX_PAUSE_MS))));
        pieces
    }
}

/// Returns the pieces in printable form, with the pauses before them.
fn format_pieces(pieces: &[(Vec<u8>, Duration)]) -> String {
    let format_piece = |(piece, pause): &(Vec<u8>, Duration)| match pause.as_millis() {
        0 => printable(piece),
        pause => format!("after {pause} ms {}", printable(piece)),
    };
    pieces.iter().map(format_piece).collect::<Vec<_>>().join(", ")
}

fn number_request(number: u32) -> Vec<u8> {
    number.to_string().into_bytes()
}

/// Adds a hint to a failure because of unexpected bytes.
fn with_extra_output_hint(failure: Failure) -> Failure {
    failure.hint_if(
        |fault| fault == Fault::ExtraBytes,
        "does the server send a greeting or a prompt? each request gets one line, and nothing else \
         is sent",
    )
}

/// Returns whether a connection was closed after a reply without its terminator.
fn is_unterminated(error: &ClientError, reply: &[u8]) -> bool {
    matches!(error, ClientError::Closed(bytes) if bytes == reply)
}

fn with_framing_hint(failure: Failure) -> Failure {
    let explains = |fault: Fault| {
        fault.is_content()
            || matches!(fault, Fault::NoReply | Fault::PartialReply | Fault::EndlessReply)
    };
    failure.hint_if(
        explains,
        "does the server treat each read as one request? TCP keeps no message boundaries: buffer the \
         input, answer every complete line, and keep the rest",
    )
}
