//! Cases for malformed requests: each gets an error reply and does no harm.

mod injection;

use servers::Service;

use crate::conformance::case::Case;
use crate::conformance::context::{SHORT_TIMEOUT, TestContext};
use crate::conformance::failure::Failure;
use crate::conformance::precondition::Precondition;
use crate::conformance::requests::{max_padded, padded, request};
use crate::conformance::test_client::TestClient;
use crate::results::Level;
use crate::text::printable;
use crate::wire::ReplyFraming;

/// Nesting depth of an expression, and number of operators in a chain. A declared line limit may
/// permit less.
const MAX_DEPTH: usize = 10_000;

/// Length of a line of letters that a server may wrap if its error reply quotes the line.
const LONG_NAME: usize = 160;

/// Minimum length of these requests, in bytes.
const MIN_LENGTH: usize = 64;

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "malformed/syntax",
        requirement: "a line that is not an expression gets one error reply, and the next request is answered",
        source: "the line protocol; CWE-20 (improper input validation)",
        preconditions: &[Precondition::Calc],
        level: Level::Required,
        check: |ctx| {
            let lines =
                [&b"1+"[..], b"(1", b"1)", b"1 2", b"*", b"abc", b"a + b", b"1 + + * 2", b"'"];
            // If a space stands for an operator, two numbers are an expression.
            let has_space = ctx.contract.dialect.symbols.has(b' ');
            let is_expression = |line: &&[u8]| has_space && **line == *b"1 2";
            let lines: Vec<&[u8]> = lines.into_iter().filter(|it| !is_expression(it)).collect();
            expect_errors(ctx, &lines)?;
            // Another case tests the maximum length of a request.
            match is_length_answered(ctx, LONG_NAME)? {
                true => expect_errors(ctx, &[&[b'z'; LONG_NAME]]),
                false => Ok(()),
            }
        },
    },
    Case {
        name: "malformed/empty-line",
        requirement: "an empty line gets one reply line, and the next request is answered",
        source: "the line protocol; CWE-20 (improper input validation)",
        preconditions: &[Precondition::DelimitedRequests],
        level: Level::Hardening,
        check: |ctx| expect_replies(ctx, &[b"", b"\r"]),
    },
    Case {
        name: "malformed/only-spaces",
        requirement: "a line of only spaces or tabs gets one reply line, and the next request is answered",
        source: "the line protocol; CWE-20 (improper input validation)",
        preconditions: &[],
        level: Level::Hardening,
        check: |ctx| expect_replies(ctx, &[b" ", b"    ", b"\t"]),
    },
    Case {
        name: "malformed/nul",
        requirement: "a line with NUL bytes gets one reply line, and the next request is answered",
        source: "the line protocol; CWE-158 (improper neutralization of NUL)",
        preconditions: &[Precondition::AcceptsByte(0)],
        level: Level::Hardening,
        check: |ctx| expect_replies(ctx, &[b"\0", b"1\0+2", b"\0\0\0\0"]),
    },
    Case {
        name: "malformed/invalid-utf8",
        requirement: "a line that is not valid UTF-8 gets one reply line, and the next request is answered",
        source: "the line protocol; CWE-176 (improper handling of Unicode encoding)",
        preconditions: &[],
        level: Level::Hardening,
        check: |ctx| expect_replies(ctx, &[b"\xff\xfe", b"1+\x80", b"\xc3", b"\xed\xa0\x80"]),
    },
    Case {
        name: "malformed/nesting",
        requirement: "parentheses nested thousands of levels deep neither crash the server nor close the connection",
        source: "CWE-674 (uncontrolled recursion)",
        preconditions: &[
            Precondition::Calc,
            Precondition::DelimitedRequests,
            Precondition::Padding(MIN_LENGTH),
        ],
        level: Level::Hardening,
        check: |ctx| {
            let max_length = answered_length(ctx)?;
            // The dialect may need spaces around parentheses.
            let level = ctx.contract.payload(b"((1))").len() - ctx.contract.payload(b"(1)").len();
            let depth = (max_length.saturating_sub(1) / level).min(MAX_DEPTH);
            let deep = "(".repeat(depth) + "1" + &")".repeat(depth);
            let open = "(".repeat(max_length.min(2 * MAX_DEPTH));
            let negated = "-(".repeat((max_length / 2).min(MAX_DEPTH));
            expect_replies(
                ctx,
                &[&ctx.contract.payload(deep.as_bytes()), open.as_bytes(), negated.as_bytes()],
            )?;
            ctx.evidence().observe(format!("{depth} levels"));
            Ok(())
        },
    },
    Case {
        name: "malformed/operator-chain",
        requirement: "a chain of thousands of operators neither crashes the server nor closes the connection",
        source: "CWE-674 (uncontrolled recursion)",
        preconditions: &[
            Precondition::Calc,
            Precondition::DelimitedRequests,
            Precondition::Padding(MIN_LENGTH),
        ],
        level: Level::Hardening,
        check: |ctx| {
            let max_length = answered_length(ctx)?.saturating_sub(1);
            // The dialect may need spaces around operators.
            let term = ctx.contract.payload(b"1+1").len() - 1;
            let terms = (max_length / term).min(MAX_DEPTH);
            let sum = ctx.contract.payload(("1+".repeat(terms) + "1").as_bytes());
            let signs = "-".repeat(max_length.min(2 * MAX_DEPTH)) + "1";
            expect_replies(ctx, &[&sum, signs.as_bytes()])?;
            ctx.evidence().observe(format!("{terms} operators"));
            Ok(())
        },
    },
    Case {
        name: "malformed/escapes",
        requirement: "an error reply contains no control characters of the request",
        source: "CWE-150 (improper neutralization of escape sequences)",
        preconditions: &[Precondition::Calc],
        level: Level::Hardening,
        check: |ctx| {
            let mut client = ctx.clients().connect()?;
            client.learn_reply(&request(1))?;
            for line in [&b"\x1b]0;owned\x07"[..], b"1\x1b[2J", b"\x08\x08\x08"] {
                client.raw_request(line)?;
                let reply = client.expect_error().map_err(|failure| failure.caused_by(line))?;
                // The text of an error reply may have control characters of its own, such as
                // colours.
                let repeats = |known: &[u8]| {
                    let is_repeated = |byte: &u8| {
                        byte.is_ascii_control() && line.contains(byte) && !known.contains(byte)
                    };
                    reply.iter().any(is_repeated)
                };
                if repeats(b"") && repeats(&plain_error(&mut client)) {
                    let seen = printable(&reply);
                    return Err(Failure::fail("an error reply of printable characters", seen)
                        .caused_by(line)
                        .hint("do not quote the request in an error reply, or escape it"));
                }
            }
            Ok(())
        },
    },
    Case {
        name: "malformed/injection",
        requirement: "an expression cannot run code on the server's host",
        source: "CWE-95 (eval injection); CWE-78 (OS command injection)",
        // Only a launched server is known to share the file system with the harness.
        preconditions: &[Precondition::Calc, Precondition::Launched],
        level: Level::Required,
        check: injection::check,
    },
];

/// Returns a length of requests that the server answers: 20,000 bytes, or else the first of a half,
/// a quarter, and so on. A server that rejects a request only for its length does not evaluate it.
///
/// # Errors
/// No request gets a reply. The case is then inconclusive.
fn answered_length(ctx: &TestContext<'_>) -> Result<usize, Failure> {
    let longest = ctx.contract.max_line.unwrap_or(usize::MAX).min(max_padded(ctx.contract));
    let mut length = longest.min(2 * MAX_DEPTH);
    while length >= MIN_LENGTH {
        if is_length_answered(ctx, length)? {
            return Ok(length);
        }
        length /= 2;
    }
    let text = format!("no plain request of {MIN_LENGTH} bytes or more gets a reply");
    Err(Failure::assumption_failed(&["framing/sizes", "contract/max-line"], text))
}

/// Returns whether a valid request of this length gets its reply, and nothing else.
fn is_length_answered(ctx: &TestContext<'_>, length: usize) -> Result<bool, Failure> {
    if length > ctx.contract.max_line.unwrap_or(usize::MAX).min(max_padded(ctx.contract)) {
        return Ok(false);
    }
    let mut client = ctx.clients().connect_with_retry(&request(1))?;
    let reply = client.learn_reply(&request(1))?;
    let payload = padded(ctx.contract, &request(1), length);
    let answered = client.raw_ask_until_quiescent(&payload, SHORT_TIMEOUT);
    Ok(answered.is_ok_and(|it| it == reply) && client.expect_silence("after the reply").is_ok())
}

/// Returns the reply to a line of letters, or no bytes if there is none.
fn plain_error(client: &mut TestClient<'_>) -> Vec<u8> {
    client.raw_ask_until_quiescent(b"abc", SHORT_TIMEOUT).unwrap_or_default()
}

/// Sends each line, checks the reply with `expect`, and requires that the next request is answered.
fn check_each(
    ctx: &TestContext<'_>,
    lines: &[&[u8]],
    expect: impl Fn(&mut TestClient<'_>, &[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    // The server may still handle the client of an earlier check.
    let mut client = ctx.clients().connect_with_retry(&request(1))?;
    let reply = client.learn_reply(&request(1))?;
    for line in lines.iter().filter(|line| ctx.contract.wire.is_one_request(line)) {
        let sent = printable(line);
        let with_line = |failure: Failure| Failure {
            expected: format!("to {sent}: {}", failure.expected),
            ..match ctx.contract.service {
                Service::Echo => failure.with_utf8_fault(line),
                Service::Calc => failure,
            }
            .caused_by(line)
        };
        let after_line = |failure: Failure| Failure {
            expected: format!("to the request after {sent}: {}", failure.expected),
            ..failure.on_next_request().caused_by(line)
        };
        client.raw_request(line).map_err(with_line)?;
        expect(&mut client, line).map_err(with_line)?;
        client.request(&request(1)).map_err(after_line)?;
        client.expect(&reply).map_err(after_line)?;
    }
    Ok(())
}

/// Requires an error reply to each line.
fn expect_errors(ctx: &TestContext<'_>, lines: &[&[u8]]) -> Result<(), Failure> {
    check_each(ctx, lines, |client, _| client.expect_error().map(drop))
}

/// Requires one reply to each line: any reply of a calculator, the line itself of an echo server,
/// or the line transformed as declared.
fn expect_replies(ctx: &TestContext<'_>, lines: &[&[u8]]) -> Result<(), Failure> {
    check_each(ctx, lines, |client, line| match ctx.contract.service {
        Service::Calc => client.expect_any_reply(),
        // A transformation is defined for printable text.
        Service::Echo if ctx.contract.transform.is_some() && !is_printable(line) => {
            client.expect_any_reply()
        }
        // The padding of a reply hides spaces and NULs at its end.
        Service::Echo
            if matches!(ctx.contract.wire.reply_end, ReplyFraming::Size(_))
                && line.iter().any(|byte| [b' ', 0].contains(byte)) =>
        {
            client.expect_any_reply()
        }
        Service::Echo => {
            client.expect(&ctx.contract.echo(line.strip_suffix(b"\r").unwrap_or(line)))
        }
    })
}

fn is_printable(line: &[u8]) -> bool {
    line.iter().all(|byte| (b' '..=b'~').contains(byte))
}
