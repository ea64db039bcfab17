//! Whether a request can run code on the server's host.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::conformance::context::{SHORT_TIMEOUT, TestContext};
use crate::conformance::failure::Failure;
use crate::conformance::requests::request;
use crate::conformance::test_client::QUIET;
use crate::results::Fault;
use crate::text::printable;

/// The reply to this request is the value of the expressions in [`CALLS`].
const CALLED: usize = 7;

/// Expressions that call a function or read an attribute, each with the value 41007. A result that
/// is a number is found even if the server cannot print other results. Python, JavaScript, Perl and
/// PHP, Ruby.
const CALLS: [&[u8]; 4] = [
    b"(41000).__add__(7)",
    b"41002+[].constructor.name.length",
    b"41002+length(\"abcde\")",
    b"[41000,7].sum",
];

/// Python expressions that access attributes, and their values.
const ATTRIBUTES: [(&[u8], &[u8]); 2] =
    [(b"().__class__.__base__.__name__", b"object"), (b"().__class__.__name__", b"tuple")];

/// The bytes of a line with code that stay in a harmless line: those at which a calculator splits
/// an expression, and quotes.
const KEPT_BYTES: [&[u8]; 3] = [b" ", b" +-*/%", b" '\""];

/// Maximum number of requests without a reply before no more are sent: the server may then need the
/// timeout for each.
const MAX_HANGS: usize = 2;

/// Requires that no request creates a file, calls a function or reads an attribute of an object.
pub(super) fn check(ctx: &TestContext<'_>) -> Result<(), Failure> {
    let canary = Canary::new(ctx);
    let file_created = |cause: &str| {
        Failure::fail("no effect except a reply", format!("{cause} created a file on the host"))
            .fault(Fault::FileCreated)
            .hint("never pass a request to eval or to a shell: parse it")
            .replacing_exit()
    };
    let max_length = ctx.contract.max_line.unwrap_or(usize::MAX);
    let is_one_request = |line: &String| {
        line.len() <= max_length && ctx.contract.wire.is_one_request(line.as_bytes())
    };
    let payloads = canary.payloads().into_iter().filter(is_one_request);
    let (mut unanswered, mut hangs) = (None, 0);
    for line in payloads {
        let answered = send(ctx, line.as_bytes()).map(drop);
        if ctx.process().has_file(&canary.0)? {
            let cause = format!("the request {}", printable(line.as_bytes()));
            return Err(file_created(&cause).caused_by(line.as_bytes()));
        }
        let Err(failure) = answered else { continue };
        hangs += usize::from(failure.fault.is_hang());
        if failure.verdict.is_none() {
            // No client is served, so the other lines would not arrive either.
            unanswered = Some(failure);
            break;
        }
        if !fails_without_code(ctx, line.as_bytes(), failure.fault) {
            unanswered.get_or_insert(failure);
        }
        if hangs >= MAX_HANGS {
            break;
        }
    }
    // A request may have started a process that is still running after the reply.
    ctx.process().wait_until_asleep();
    if ctx.process().has_file(&canary.0)? {
        return Err(file_created("a request"));
    }
    if hangs < MAX_HANGS {
        expect_no_calls(ctx)?;
    }
    match unanswered {
        Some(failure) => Err(failure),
        None if hangs < MAX_HANGS => {
            ctx.evidence().record_verified();
            Ok(())
        }
        // Most lines were not sent.
        None => {
            let seen = "malformed lines get no reply, with or without program code";
            Err(Failure::assumption_failed(&["malformed/syntax"], seen))
        }
    }
}

/// Returns whether a harmless line that resembles this one has the same fault. The fault is then
/// not due to the code in the line, and other cases test for it.
fn fails_without_code(ctx: &TestContext<'_>, line: &[u8], fault: Fault) -> bool {
    let has_fault = |control: Vec<u8>| send(ctx, &control).is_err_and(|it| it.fault == fault);
    KEPT_BYTES.iter().map(|kept| without_code(line, kept)).any(has_fault)
}

/// Returns a malformed line of the same length, with letters instead of all but the kept bytes.
fn without_code(line: &[u8], kept: &[u8]) -> Vec<u8> {
    line.iter().map(|byte| if kept.contains(byte) { *byte } else { b'z' }).collect()
}

/// Sends a line on a new connection, and returns the reply. Requires that the next request is
/// answered.
///
/// The server may exit after it has run the code in the line. So the case launches a new server
/// before the next line; the exit is still part of the result of the case.
fn send(ctx: &TestContext<'_>, line: &[u8]) -> Result<Vec<u8>, Failure> {
    relaunch_if_exited(ctx)?;
    let mut client = ctx.clients().connect_with_retry(&request(1))?;
    let answer = client.raw_ask_until_quiescent(line, ctx.deadlines().silence(SHORT_TIMEOUT));
    let answered = answer
        .map_err(|error| {
            // The server may be about to exit.
            ctx.process().exits_soon(QUIET);
            Failure::client_error("one reply line", &error)
        })
        .map_err(|failure| Failure {
            expected: format!("to {}: {}", printable(line), failure.expected),
            ..failure.caused_by(line)
        })?;
    let after_line = |failure: Failure| failure.on_next_request().caused_by(line);
    client.request(&request(1)).map_err(after_line)?;
    let next = ctx.learned_replies().get(&request(1)).expect("the reply was learned");
    client.expect(&next).map_err(after_line)?;
    Ok(answered)
}

/// Launches a new server if the current one has exited.
fn relaunch_if_exited(ctx: &TestContext<'_>) -> Result<(), Failure> {
    match ctx.process().wait_for_exit(Duration::ZERO) {
        Some(_) => ctx.relaunch(),
        None => Ok(()),
    }
}

/// Requires that the server calls no function and reads no attribute. In many languages, either
/// reaches the whole interpreter, even if the names that an expression may use are restricted.
fn expect_no_calls(ctx: &TestContext<'_>) -> Result<(), Failure> {
    let mut client = ctx.clients().connect_with_retry(&request(CALLED))?;
    let value = client.learn_reply(&request(CALLED))?;
    client.close();
    let evaluated = |seen: String| {
        Failure::fail("no effect except an error reply", seen)
            .fault(Fault::AttributesEvaluated)
            .hint(
                "eval is not safe, even with few permitted names or characters: parse the expression, \
                 and allow only known operations",
            )
            .replacing_exit()
    };
    for call in CALLS.into_iter().filter(|call| ctx.contract.wire.is_one_request(call)) {
        if send(ctx, call).is_ok_and(|reply| reply == value) {
            let (call, value) = (printable(call), printable(&value));
            return Err(evaluated(format!("the server evaluates {call} to {value}")));
        }
    }
    // An error message may begin with one of these values. The server evaluates attributes only if
    // each reply is exactly the value.
    for (expression, value) in ATTRIBUTES {
        match send(ctx, expression) {
            Ok(reply) if is_text(&reply, value) => {}
            // Other cases test whether the server answers at all.
            _ => return Ok(()),
        }
    }
    Err(evaluated("the server evaluates attributes of objects".to_owned()))
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

    /// Returns requests that create the file if the server evaluates them in Python, JavaScript,
    /// Perl, Ruby or PHP, or passes them to a shell.
    fn payloads(&self) -> Vec<String> {
        let path = self.0.display();
        vec![
            format!("__import__('os').system('touch {path}')"),
            format!("open('{path}','w')"),
            // Without builtins, the classes of the interpreter are still reachable.
            format!(
                "[c for c in ().__class__.__base__.__subclasses__() \
                 if c.__name__=='_wrap_close'][0].__init__.__globals__['system']('touch {path}')"
            ),
            format!("require('fs').writeFileSync('{path}','')"),
            format!("process.getBuiltinModule('fs').writeFileSync('{path}','')"),
            format!("import('fs').then(fs=>fs.writeFileSync('{path}',''))"),
            // A `vm` context of Node is no sandbox.
            format!(
                "this.constructor.constructor('return process')().getBuiltinModule('fs')\
                 .writeFileSync('{path}','')"
            ),
            format!("system(\"touch {path}\")"),
            format!("$(touch {path})"),
            format!("`touch {path}`"),
            format!("1; touch {path}"),
            format!("1\"; touch {path}; echo \"1"),
            format!("1'; touch {path}; echo '1"),
            // An index is expanded in the arithmetic of a shell.
            format!("a[$(touch {path})]"),
        ]
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        // The file exists only if a request created it.
        let _ = std::fs::remove_file(&self.0);
    }
}
