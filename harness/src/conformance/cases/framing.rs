//! Cases for framing: one reply per request, however TCP segments the bytes.

use std::mem;
use std::thread::sleep;
use std::time::Duration;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::conformance::case::Case;
use crate::conformance::context::request;
use crate::conformance::failure::Failure;
use crate::conformance::padding::{padded, reply_to_padded};
use crate::conformance::precondition::Precondition;
use crate::conformance::test_client::PIPELINED;
use crate::text::printable;

/// Pause between two pieces that must not arrive as one. A slower server sees both at once and is
/// tested less strictly, but never failed wrongly.
const GAP: Duration = Duration::from_millis(3);

/// Longest pause between two pieces of a stream, in milliseconds.
const LONGEST_PAUSE_MS: u64 = 3;

/// Number of random request streams sent in pieces.
const STREAMS: u32 = 25;

/// Requests that must be answered, whole and one by one, before any is split.
const WHOLE: usize = 150;

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "framing/single",
        requirement: "a request ended by a line feed gets one reply line",
        source: "the line protocol",
        needs: &[],
        check: |ctx| {
            let expected = "one reply line";
            let mut client =
                ctx.try_connect().map_err(|trouble| Failure::trouble("a connection", &trouble))?;
            let reply = client.ask(&request(1)).map_err(|trouble| {
                Failure::trouble(expected, &trouble)
                    .hint("does it wait for more than a line feed, or end its replies otherwise?")
            })?;
            ctx.was_met();
            if reply.is_empty() {
                return Err(Failure::fail(expected, "an empty line"));
            }
            Ok(())
        },
    },
    Case {
        name: "framing/one-line",
        requirement: "a reply is one line and nothing more",
        source: "the line protocol",
        needs: &[Precondition::Lasting],
        check: |ctx| {
            let mut client = ctx.connect()?;
            client.learn(&request(1))?;
            client.expect_silence("after the one reply line").map_err(says_too_much)
        },
    },
    Case {
        name: "framing/byte-by-byte",
        requirement: "a request that arrives byte by byte is answered once, and not before its end",
        source: "RFC 9293 section 2.2 (TCP is a stream of bytes); Stevens UNP 3.9",
        needs: &[Precondition::Delimited, Precondition::Lasting],
        check: |ctx| {
            let mut client = ctx.connect()?;
            let reply = client.learn(&request(1))?;
            let line = ctx.sent(&request(1));
            let (last, bytes) = line.split_last().expect("its end, at least");
            for &byte in bytes {
                client.send(&[byte])?;
                sleep(GAP);
            }
            client.expect_silence("before its end").map_err(takes_a_read_for_a_line)?;
            client.send(&[*last])?;
            client.expect(&reply).map_err(takes_a_read_for_a_line)
        },
    },
    Case {
        name: "framing/all-cuts",
        requirement: "a request cut in two, anywhere, is answered as if it were whole",
        source: "RFC 9293 section 2.2 (TCP is a stream of bytes); Stevens UNP 3.9",
        needs: &[Precondition::Delimited, Precondition::Lasting],
        check: |ctx| {
            let mut client = ctx.connect()?;
            // Alternating requests detect an extra reply, which could otherwise pass for the next
            // one.
            let replies = [client.learn(&request(1))?, client.learn(&request(2))?];
            for cut in 1..=request(1).len() {
                let line = ctx.sent(&request(1 + cut % 2));
                client.send(&line[..cut])?;
                sleep(GAP);
                client.send(&line[cut..])?;
                client.expect(&replies[cut % 2]).map_err(takes_a_read_for_a_line)?;
            }
            Ok(())
        },
    },
    Case {
        name: "framing/split-token",
        requirement: "a number cut in two is one number",
        source: "RFC 9293 section 2.2 (TCP is a stream of bytes); Stevens UNP 3.9",
        needs: &[Precondition::Calc, Precondition::Delimited, Precondition::Lasting],
        check: |ctx| {
            let mut client = ctx.connect()?;
            let requests = [&b"1234+1"[..], b"5678+2"];
            let replies = [client.learn(requests[0])?, client.learn(requests[1])?];
            for cut in 1..4 {
                let line = ctx.sent(requests[cut % 2]);
                let cut_at = ctx.contract.wire.request.before.len() + cut;
                client.send(&line[..cut_at])?;
                sleep(GAP);
                client.send(&line[cut_at..])?;
                client.expect(&replies[cut % 2]).map_err(takes_a_read_for_a_line)?;
            }
            Ok(())
        },
    },
    Case {
        name: "framing/pipelined",
        requirement: "100 requests sent at once get 100 replies, in order",
        source: "the line protocol; RFC 9293 section 2.2 (TCP is a stream of bytes)",
        needs: &[Precondition::Pipelining, Precondition::Lasting],
        check: |ctx| {
            let mut client = ctx.connect()?;
            let requests: Vec<Vec<u8>> = (0..100).map(request).collect();
            let mut replies = Vec::new();
            for request in &requests {
                replies.push(client.learn(request)?);
            }
            let together: Vec<Vec<u8>> = requests.iter().map(|it| ctx.sent(it)).collect();
            client.send(&together.concat())?;
            for (index, reply) in replies.iter().enumerate() {
                client.expect(reply).map_err(|finding| Failure {
                    expected: format!("{} as number {} of 100", finding.expected, index + 1),
                    ..takes_a_read_for_a_line(finding)
                })?;
            }
            client.expect_silence("after the 100 replies")
        },
    },
    Case {
        name: "framing/random-cuts",
        requirement: "requests cut anywhere, into any pieces, with or without pauses, are answered in order",
        source: "RFC 9293 section 2.2 (TCP is a stream of bytes); Stevens UNP 3.9",
        needs: &[
            Precondition::Delimited,
            Precondition::Pipelining,
            Precondition::Lasting,
            Precondition::Lives,
        ],
        check: |ctx| {
            let mut whole = ctx.connect_soon(&request(1))?;
            for _ in 0..WHOLE {
                whole
                    .ask(&request(1))
                    .map_err(|it| Failure::trouble("a reply", &it))
                    .and_then(|reply| whole.is_as_learned(&request(1), &reply))
                    .map_err(|finding| {
                        let seen = finding.observed;
                        Failure::blocked(PIPELINED, format!("even whole, one by one: {seen}"))
                    })?;
            }
            whole.close();
            let prepare = || ctx.connect_soon(&request(1));
            ctx.property(STREAMS, "streams in pieces", streams(), prepare, |client, stream| {
                for number in &stream.requests {
                    client.learn(&plain(*number))?;
                }
                let pieces = stream.pieces(|number| ctx.sent(&plain(number)));
                let words = words(&pieces);
                let expected = |finding: Failure| Failure {
                    expected: format!("{} to {words}", finding.expected),
                    ..takes_a_read_for_a_line(finding)
                };
                for (piece, pause) in &pieces {
                    sleep(*pause);
                    client.send(piece)?;
                }
                for number in &stream.requests {
                    let reply = ctx.learned.borrow()[&plain(*number)].clone();
                    client.expect(&reply).map_err(expected)?;
                }
                // This request detects an extra reply, which would otherwise pass for the next one.
                client.request(&request(1))?;
                let reply = ctx.learned.borrow()[&request(1)].clone();
                client.expect(&reply).map_err(expected)
            })
        },
    },
    Case {
        name: "framing/crlf",
        requirement: "a carriage return before the line feed is not part of the request",
        source: "the line protocol",
        needs: &[Precondition::Lines, Precondition::Lasting],
        check: |ctx| {
            let mut client = ctx.connect()?;
            let reply = client.learn(&request(1))?;
            let mut line = ctx.sent(&request(1));
            line.insert(line.len() - 1, b'\r');
            client.send(&line)?;
            client.expect(&reply)
        },
    },
    Case {
        name: "framing/end-without-newline",
        requirement: "at the end of input an unterminated last request is answered, then the server closes",
        source: "the line protocol; RFC 9293 section 3.6.1 (half-closed connections)",
        needs: &[Precondition::Lines],
        check: |ctx| {
            let mut client = ctx.connect()?;
            let reply = client.learn(&request(1))?;
            let mut line = ctx.sent(&request(1));
            line.pop();
            client.send(&line)?;
            client.half_close()?;
            client.expect(&reply).map_err(|finding| {
                finding.hint("what is left in the buffer when the client ends is a request too")
            })?;
            client.expect_end()
        },
    },
    Case {
        name: "framing/sizes",
        requirement: "requests of 1023, 1024 and 1025 bytes are answered like short ones",
        source: "the line protocol; RFC 9293 section 2.2 (TCP is a stream of bytes)",
        needs: &[Precondition::LinesOf(1025), Precondition::Delimited],
        check: |ctx| {
            let mut client = ctx.connect()?;
            let short = client.learn(&request(1))?;
            for size in [1023, 1024, 1025] {
                let padded = padded(ctx, &request(1), size);
                client.request(&padded)?;
                client.expect(&reply_to_padded(ctx, &short, &padded)).map_err(|finding| {
                    finding.hint("a buffer of 1024 bytes is not a limit on a request: read on until the line ends")
                })?;
            }
            Ok(())
        },
    },
];

/// Pipelined requests with some cuts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Stream {
    requests: Vec<u32>,
    cuts: Vec<Cut>,
}

/// A position in a stream at which the bytes so far are sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Cut {
    /// Number of bytes before the cut.
    after: usize,
    /// Pause before the rest is sent, in milliseconds.
    pause_ms: u64,
}

fn streams() -> impl Strategy<Value = Stream> {
    let number = prop_oneof![0u32..10, 10u32..1000, 1000u32..1_000_000];
    // Shrinking prefers long pauses, as pieces without a pause may arrive as one or not.
    let cut = (1usize..30, 0..=LONGEST_PAUSE_MS)
        .prop_map(|(after, less)| Cut { after, pause_ms: LONGEST_PAUSE_MS - less });
    let requests = proptest::collection::vec(number, 1..6);
    (requests, proptest::collection::vec(cut, 0..8))
        .prop_map(|(requests, cuts)| Stream { requests, cuts })
}

impl Stream {
    /// Returns the pieces, each with the pause before it.
    fn pieces(&self, sent: impl Fn(u32) -> Vec<u8>) -> Vec<(Vec<u8>, Duration)> {
        let mut rest: Vec<u8> = self.requests.iter().flat_map(|&number| sent(number)).collect();
        let mut cuts = self.cuts.clone();
        cuts.sort_by_key(|cut| cut.after);
        let (mut pieces, mut sent, mut pause) = (Vec::new(), 0, 0);
        for cut in cuts {
            let length = cut.after.saturating_sub(sent);
            if length > 0 && length < rest.len() {
                let next = rest.split_off(length);
                pieces.push((
                    mem::replace(&mut rest, next),
                    Duration::from_millis(pause.min(LONGEST_PAUSE_MS)),
                ));
                (sent, pause) = (cut.after, cut.pause_ms);
            }
        }
        pieces.push((rest, Duration::from_millis(pause.min(LONGEST_PAUSE_MS))));
        pieces
    }
}

fn words(pieces: &[(Vec<u8>, Duration)]) -> String {
    let words = |(piece, pause): &(Vec<u8>, Duration)| match pause.as_millis() {
        0 => printable(piece),
        pause => format!("{pause} ms later {}", printable(piece)),
    };
    pieces.iter().map(words).collect::<Vec<_>>().join(", ")
}

fn plain(number: u32) -> Vec<u8> {
    number.to_string().into_bytes()
}

/// Adds a hint to a failure because of unexpected bytes. A closed connection has other causes.
fn says_too_much(finding: Failure) -> Failure {
    match finding.general_hint {
        Some(_) => finding,
        None => finding.hint(
            "does it greet, or prompt for the next request? each request gets its one line, and \
             nothing else is sent",
        ),
    }
}

fn takes_a_read_for_a_line(finding: Failure) -> Failure {
    finding.hint(
        "does it take what one read returns for one request? TCP keeps no message boundaries: \
         collect bytes until a line feed, answer every whole line, keep the rest",
    )
}
