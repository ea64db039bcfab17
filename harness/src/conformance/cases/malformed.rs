//! Cases for malformed requests: each gets an error reply and does no harm.

use std::path::{Path, PathBuf};

use servers::Service;

use crate::conformance::case::Case;
use crate::conformance::context::TestContext;
use crate::conformance::failure::Failure;
use crate::conformance::precondition::Precondition;
use crate::conformance::requests::{padded, request};
use crate::conformance::test_client::TestClient;
use crate::results::{Level, State};
use crate::text::printable;

/// Nesting depth of an expression, and number of operators in a chain. A declared line limit may
/// permit less.
const MAX_DEPTH: usize = 10_000;

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
        preconditions: &[Precondition::Calc, Precondition::DelimitedRequests],
        level: Level::Hardening,
        check: |ctx| {
            let max_length = ctx.contract.max_line.unwrap_or(usize::MAX).saturating_sub(1);
            let depth = (max_length.saturating_sub(1) / 2).min(MAX_DEPTH);
            let deep = "(".repeat(depth) + "1" + &")".repeat(depth);
            let open = "(".repeat(max_length.min(2 * MAX_DEPTH));
            check_request_of_size(ctx, open.len())?;
            expect_replies(ctx, &[deep.as_bytes(), open.as_bytes(), "-(".repeat(depth).as_bytes()])
        },
    },
    Case {
        name: "malformed/operator-chain",
        requirement: "a chain of thousands of operators neither crashes the server nor closes the connection",
        source: "CWE-674 (uncontrolled recursion)",
        preconditions: &[Precondition::Calc, Precondition::DelimitedRequests],
        level: Level::Hardening,
        check: |ctx| {
            let max_length = ctx.contract.max_line.unwrap_or(usize::MAX).saturating_sub(2);
            let sum = "1+".repeat((max_length / 2).min(MAX_DEPTH)) + "1";
            let signs = "-".repeat(max_length.min(2 * MAX_DEPTH)) + "1";
            check_request_of_size(ctx, signs.len())?;
            expect_replies(ctx, &[sum.as_bytes(), signs.as_bytes()])
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
                client.request(line)?;
                let reply = client.expect_error()?;
                if reply.iter().any(|byte| byte.is_ascii_control()) {
                    let seen = printable(&reply);
                    return Err(Failure::fail("an error reply of printable characters", seen)
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
            .hint("never pass a request to eval or to a shell: parse it")
    };
    let mut unanswered = None;
    for line in &lines {
        unanswered = unanswered.or(expect_replies(ctx, &[line.as_bytes()]).err());
        if ctx.process().has_file(&canary.0)? {
            return Err(file_created(&format!("the request {}", printable(line.as_bytes()))));
        }
        if unanswered.as_ref().is_some_and(|failure| failure.state == State::Hang) {
            break;
        }
    }
    // A request may have started a process that is still running after the reply.
    ctx.process().wait_until_asleep();
    if ctx.process().has_file(&canary.0)? {
        return Err(file_created("a request"));
    }
    expect_no_attribute_access(ctx)?;
    // A missing reply does not show that code was run.
    match unanswered {
        Some(failure) if failure.verdict.is_some() => {
            Err(Failure::assumption_failed(&["malformed/syntax"], failure.observed))
        }
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// Requires that the server does not evaluate attribute access. Even if `eval` runs without
/// builtins, attribute access reaches the whole interpreter.
fn expect_no_attribute_access(ctx: &TestContext<'_>) -> Result<(), Failure> {
    let mut client = ctx.clients().connect_with_retry(&request(1))?;
    client.request(b"().__class__.__base__.__name__")?;
    match client.reply() {
        Ok(reply) if reply.trim_ascii_start().starts_with(b"object") => {
            let seen = "the server evaluates attributes of objects";
            Err(Failure::fail("no effect except an error reply", seen).hint(
                "eval without builtins is not safe, because every class is reachable from (): parse \
                 the expression, and allow only known operations",
            ))
        }
        // Other cases test whether the server answers at all.
        _ => Ok(()),
    }
}

/// Requires that a plain request, padded to `bytes` bytes, gets the same reply as without padding.
///
/// # Errors
/// The reply is missing or differs. The case is then inconclusive.
fn check_request_of_size(ctx: &TestContext<'_>, bytes: usize) -> Result<(), Failure> {
    let mut client = ctx.clients().connect()?;
    let reply = client.learn_reply(&request(1))?;
    client.request(&padded(ctx.contract.service, &request(1), bytes))?;
    let result = client.expect(&reply).and_then(|()| client.expect_silence("after the reply"));
    result.map_err(|failure| {
        let seen = failure.observed;
        Failure::assumption_failed(
            &["framing/sizes"],
            format!("a plain request of {bytes} bytes: {seen}"),
        )
    })
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
            ..failure
        };
        client.request(line).map_err(with_line)?;
        expect(&mut client, line).map_err(with_line)?;
        client.request(&request(1)).map_err(with_line)?;
        client.expect(&reply).map_err(with_line)?;
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
