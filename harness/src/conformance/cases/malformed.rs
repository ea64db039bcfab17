//! Cases for malformed requests: each gets an error reply and does no harm.

use std::path::{Path, PathBuf};

use servers::Service;

use crate::conformance::case::Case;
use crate::conformance::context::{TestContext, request};
use crate::conformance::failure::Failure;
use crate::conformance::padding::padded;
use crate::conformance::precondition::Precondition;
use crate::conformance::test_client::TestClient;
use crate::text::printable;

/// Nesting depth and number of operators, if the line limit allows them.
const DEEP: usize = 10_000;

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "malformed/syntax",
        requirement: "a line that is no expression gets one error line, and the next request is answered",
        source: "the line protocol; CWE-20 (improper input validation)",
        needs: &[Precondition::Calc],
        check: |ctx| {
            let lines = [&b"1+"[..], b"(1", b"1)", b"1 2", b"*", b"abc", b"1 + + * 2", b"'"];
            each_is_an_error(ctx, &lines)
        },
    },
    Case {
        name: "malformed/empty-line",
        requirement: "an empty line gets one reply line, and the next request is answered",
        source: "the line protocol; CWE-20 (improper input validation)",
        needs: &[Precondition::Delimited],
        check: |ctx| each_is_answered(ctx, &[b"", b"\r"]),
    },
    Case {
        name: "malformed/only-spaces",
        requirement: "a line of spaces gets one reply line, and the next request is answered",
        source: "the line protocol; CWE-20 (improper input validation)",
        needs: &[],
        check: |ctx| each_is_answered(ctx, &[b" ", b"    ", b"\t"]),
    },
    Case {
        name: "malformed/nul",
        requirement: "NUL bytes get one reply line, and the next request is answered",
        source: "the line protocol; CWE-158 (improper neutralization of NUL)",
        needs: &[Precondition::Passes(0)],
        check: |ctx| each_is_answered(ctx, &[b"\0", b"1\0+2", b"\0\0\0\0"]),
    },
    Case {
        name: "malformed/invalid-utf8",
        requirement: "bytes that are no text get one reply line, and the next request is answered",
        source: "the line protocol; CWE-176 (improper handling of Unicode encoding)",
        needs: &[],
        check: |ctx| each_is_answered(ctx, &[b"\xff\xfe", b"1+\x80", b"\xc3", b"\xed\xa0\x80"]),
    },
    Case {
        name: "malformed/nesting",
        requirement: "parentheses nested thousands deep end neither the server nor the connection",
        source: "CWE-674 (uncontrolled recursion)",
        needs: &[Precondition::Calc, Precondition::Delimited],
        check: |ctx| {
            let most = ctx.contract.max_line.unwrap_or(usize::MAX).saturating_sub(1);
            let depth = (most.saturating_sub(1) / 2).min(DEEP);
            let deep = "(".repeat(depth) + "1" + &")".repeat(depth);
            let open = "(".repeat(most.min(2 * DEEP));
            takes_a_line_of(ctx, open.len())?;
            each_is_answered(
                ctx,
                &[deep.as_bytes(), open.as_bytes(), "-(".repeat(depth).as_bytes()],
            )
        },
    },
    Case {
        name: "malformed/operator-chain",
        requirement: "a chain of thousands of operators ends neither the server nor the connection",
        source: "CWE-674 (uncontrolled recursion)",
        needs: &[Precondition::Calc, Precondition::Delimited],
        check: |ctx| {
            let most = ctx.contract.max_line.unwrap_or(usize::MAX).saturating_sub(2);
            let sum = "1+".repeat((most / 2).min(DEEP)) + "1";
            let signs = "-".repeat(most.min(2 * DEEP)) + "1";
            takes_a_line_of(ctx, signs.len())?;
            each_is_answered(ctx, &[sum.as_bytes(), signs.as_bytes()])
        },
    },
    Case {
        name: "malformed/escapes",
        requirement: "an error reply does not carry a client's control characters to another terminal",
        source: "CWE-150 (improper neutralization of escape sequences)",
        needs: &[Precondition::Calc],
        check: |ctx| {
            let mut client = ctx.connect()?;
            client.learn(&request(1))?;
            for line in [&b"\x1b]0;owned\x07"[..], b"1\x1b[2J", b"\x08\x08\x08"] {
                client.request(line)?;
                let reply = client.expect_error()?;
                if reply.iter().any(|byte| byte.is_ascii_control()) {
                    let seen = printable(&reply);
                    return Err(Failure::fail("an error in printable characters", seen)
                        .hint("do not quote the client's bytes in an error, or escape them"));
                }
            }
            Ok(())
        },
    },
    Case {
        name: "malformed/injection",
        requirement: "an expression cannot run code on the server's host",
        source: "CWE-95 (eval injection); CWE-78 (OS command injection)",
        // Only a server launched by the harness is known to share its file system.
        needs: &[Precondition::Calc, Precondition::Launched],
        check: |ctx| {
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
            let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
            let answered = each_is_answered(ctx, &lines).and_then(|()| evaluates_no_object(ctx));
            // A process that the request started may outlive the reply.
            ctx.let_it_rest();
            if ctx.has_file(&canary.0)? {
                let seen = "a client's line created a file on the server's host";
                return Err(Failure::fail("no effect but a reply", seen)
                    .hint("never give a client's bytes to eval or to a shell: parse them"));
            }
            answered
        },
    },
];

/// Requires that attribute access is not evaluated. An eval without builtins still gives access to
/// the whole interpreter through it.
fn evaluates_no_object(ctx: &TestContext<'_>) -> Result<(), Failure> {
    let mut client = ctx.connect_soon(&request(1))?;
    client.request(b"().__class__.__base__.__name__")?;
    match client.line() {
        Ok(reply) if reply.trim_ascii_start().starts_with(b"object") => {
            let seen = "it evaluates the attributes of objects";
            Err(Failure::fail("no effect but a reply that is an error", seen).hint(
                "eval without builtins is no protection: every class can be reached from (): parse \
                 the expression, and allow what is known",
            ))
        }
        // Other cases test whether the server answers at all.
        _ => Ok(()),
    }
}

/// Requires that a plain request of `bytes` bytes gets its usual reply.
fn takes_a_line_of(ctx: &TestContext<'_>, bytes: usize) -> Result<(), Failure> {
    let mut client = ctx.connect()?;
    let reply = client.learn(&request(1))?;
    client.request(&padded(ctx, &request(1), bytes))?;
    let answered = client.expect(&reply).and_then(|()| client.expect_silence("after it"));
    answered.map_err(|finding| {
        let seen = finding.observed;
        Failure::blocked(&["framing/sizes"], format!("a plain line of {bytes} bytes: {seen}"))
    })
}

/// A file that no request may create, in a directory that even a confined server can write to.
struct Canary(PathBuf);

impl Canary {
    fn new(ctx: &TestContext<'_>) -> Canary {
        let name = format!("harness-canary-{}-{}", std::process::id(), ctx.address().port());
        let canary = Canary(Path::new("/tmp").join(name));
        // An earlier process with the same id may have left one.
        let _ = std::fs::remove_file(&canary.0);
        canary
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        // It exists only if the server is at fault.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn each_is_error_or_answer(
    ctx: &TestContext<'_>,
    lines: &[&[u8]],
    expect: impl Fn(&mut TestClient<'_>, &[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    // The server may still handle the client of an earlier check.
    let mut client = ctx.connect_soon(&request(1))?;
    let reply = client.learn(&request(1))?;
    let wire = &ctx.contract.wire;
    let is_one =
        |line: &&&[u8]| !wire.is_delimited() || wire.request.after.find_end(line).is_none();
    for line in lines.iter().filter(is_one) {
        let sent = printable(line);
        let said = |finding: Failure| Failure {
            expected: format!("after {sent}: {}", finding.expected),
            ..finding
        };
        client.request(line).map_err(said)?;
        expect(&mut client, line).map_err(said)?;
        client.request(&request(1)).map_err(said)?;
        client.expect(&reply).map_err(said)?;
    }
    Ok(())
}

fn each_is_an_error(ctx: &TestContext<'_>, lines: &[&[u8]]) -> Result<(), Failure> {
    each_is_error_or_answer(ctx, lines, |client, _| client.expect_error().map(drop))
}

/// Requires a reply line to each line from a calculator, and the line itself from an echo server.
fn each_is_answered(ctx: &TestContext<'_>, lines: &[&[u8]]) -> Result<(), Failure> {
    each_is_error_or_answer(ctx, lines, |client, line| match ctx.contract.service {
        Service::Calc => client.expect_any_line(),
        Service::Echo => client.expect(line.strip_suffix(b"\r").unwrap_or(line)),
    })
}
