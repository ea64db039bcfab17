//! Cases for malformed requests: each gets an error reply and does no harm.

use std::path::{Path, PathBuf};

use servers::Service;

use crate::conformance::case::Case;
use crate::conformance::context::{SHORT_TIMEOUT, TestContext};
use crate::conformance::failure::Failure;
use crate::conformance::precondition::Precondition;
use crate::conformance::requests::{max_padded, padded, request};
use crate::conformance::test_client::TestClient;
use crate::results::{Fault, Level};
use crate::text::printable;

/// Nesting depth of an expression, and number of operators in a chain. A declared line limit may
/// permit less.
const MAX_DEPTH: usize = 10_000;

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
            let lines = [&b"1+"[..], b"(1", b"1)", b"1 2", b"*", b"abc", b"1 + + * 2", b"'"];
            expect_errors(ctx, &lines)
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
                if reply.iter().any(|byte| byte.is_ascii_control()) {
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
        check: expect_no_code_execution,
    },
];

/// Python expressions that access attributes, and their values.
const ATTRIBUTES: [(&[u8], &[u8]); 2] =
    [(b"().__class__.__base__.__name__", b"object"), (b"().__class__.__name__", b"tuple")];

/// Requires that no request creates a file or evaluates attributes of an object.
fn expect_no_code_execution(ctx: &TestContext<'_>) -> Result<(), Failure> {
    let canary = Canary::new(ctx);
    let path = canary.0.display();
    let lines = [
        format!("__import__('os').system('touch {path}')"),
        format!("open('{path}','w')"),
        format!("require('fs').writeFileSync('{path}','')"),
        format!("$(touch {path})"),
        format!("`touch {path}`"),
        format!("1; touch {path}"),
    ];
    let file_created = |cause: &str| {
        Failure::fail("no effect except a reply", format!("{cause} created a file on the host"))
            .fault(Fault::FileCreated)
            .hint("never pass a request to eval or to a shell: parse it")
    };
    let mut unanswered = None;
    for line in &lines {
        unanswered = unanswered.or(expect_replies(ctx, &[line.as_bytes()]).err());
        if ctx.process().has_file(&canary.0)? {
            let cause = format!("the request {}", printable(line.as_bytes()));
            return Err(file_created(&cause).caused_by(line.as_bytes()));
        }
        if unanswered.as_ref().is_some_and(|failure| failure.fault.is_hang()) {
            break;
        }
    }
    // A request may have started a process that is still running after the reply.
    ctx.process().wait_until_asleep();
    if ctx.process().has_file(&canary.0)? {
        return Err(file_created("a request"));
    }
    let attributes = expect_no_attribute_access(ctx).err();
    if attributes.as_ref().is_some_and(|failure| failure.fault == Fault::AttributesEvaluated) {
        return Err(attributes.expect("checked above"));
    }
    // A missing reply does not show that code was run.
    match unanswered.or(attributes) {
        Some(failure) if failure.verdict.is_some() => {
            // The fault may not be specific to program code.
            match expect_replies(ctx, &[b"abc", b"'"]) {
                Ok(()) => Err(failure),
                Err(_) => Err(Failure::assumption_failed(&["malformed/syntax"], failure.observed)),
            }
        }
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// Requires that the server does not evaluate attribute access. Even if `eval` runs without
/// builtins, attribute access reaches the whole interpreter.
fn expect_no_attribute_access(ctx: &TestContext<'_>) -> Result<(), Failure> {
    let mut client = ctx.clients().connect_with_retry(&request(1))?;
    // An error message may begin with one of these values. The server evaluates attributes only if
    // each reply is exactly the value.
    for (expression, value) in ATTRIBUTES {
        client.raw_request(expression)?;
        match client.reply() {
            Ok(reply) if is_text(&reply, value) => {}
            // Other cases test whether the server answers at all.
            _ => return Ok(()),
        }
    }
    let seen = "the server evaluates attributes of objects";
    Err(Failure::fail("no effect except an error reply", seen)
        .fault(Fault::AttributesEvaluated)
        .hint(
            "eval without builtins is not safe, because every class is reachable from (): parse \
             the expression, and allow only known operations",
        ))
}

/// Returns whether a reply is this text, perhaps in quotes.
fn is_text(reply: &[u8], text: &[u8]) -> bool {
    let reply = reply.trim_ascii();
    let unquoted = match reply {
        [first @ (b'\'' | b'"'), inner @ .., last] if first == last => inner,
        _ => reply,
    };
    unquoted == text
}

/// Returns a length of requests that the server answers: 20,000 bytes, or else the first of a half, a
/// quarter, and so on. A server that rejects a request only for its length does not evaluate it.
///
/// # Errors
/// No request gets a reply. The case is then inconclusive.
fn answered_length(ctx: &TestContext<'_>) -> Result<usize, Failure> {
    let longest = ctx.contract.max_line.unwrap_or(usize::MAX).min(max_padded(ctx.contract));
    let mut length = longest.min(2 * MAX_DEPTH);
    while length >= MIN_LENGTH {
        let mut client = ctx.clients().connect_with_retry(&request(1))?;
        let reply = client.learn_reply(&request(1))?;
        let payload = padded(ctx.contract, &request(1), length);
        let answered = client.raw_ask_until_quiescent(&payload, SHORT_TIMEOUT);
        if answered.is_ok_and(|it| it == reply) && client.expect_silence("after the reply").is_ok()
        {
            return Ok(length);
        }
        length /= 2;
    }
    let text = format!("no plain request of {MIN_LENGTH} bytes or more gets a reply");
    Err(Failure::assumption_failed(&["framing/sizes", "contract/max-line"], text))
}

/// A file that no request may create, in a directory that even a confined server can write to.
struct Canary(PathBuf);

impl Canary {
    fn new(ctx: &TestContext<'_>) -> Canary {
        let name =
            format!("harness-canary-{}-{}", std::process::id(), ctx.process().address().port());
        let canary = Canary(Path::new("/tmp").join(name));
        // An earlier harness process with the same process id may have left this file.
        let _ = std::fs::remove_file(&canary.0);
        canary
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        // The file exists only if a request created it.
        let _ = std::fs::remove_file(&self.0);
    }
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
    let wire = &ctx.contract.wire;
    let is_one_request =
        |line: &&&[u8]| !wire.is_delimited() || wire.request.after.find_end(line).is_none();
    for line in lines.iter().filter(is_one_request) {
        let sent = printable(line);
        let with_line = |failure: Failure| Failure {
            expected: format!("to {sent}: {}", failure.expected),
            ..failure.caused_by(line)
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

/// Requires one reply to each line: any reply of a calculator, the line itself of an echo server.
fn expect_replies(ctx: &TestContext<'_>, lines: &[&[u8]]) -> Result<(), Failure> {
    check_each(ctx, lines, |client, line| match ctx.contract.service {
        Service::Calc => client.expect_any_reply(),
        Service::Echo => client.expect(line.strip_suffix(b"\r").unwrap_or(line)),
    })
}
