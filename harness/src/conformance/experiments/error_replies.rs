//! Experiment: collects the replies to malformed requests.

use servers::Service;

use super::over_limit::rejection_timeout;
use crate::client::ClientError;
use crate::conformance::context::{SHORT_TIMEOUT, TestContext};
use crate::conformance::failure::Failure;
use crate::conformance::requests::{padded, request};
use crate::conformance::test_client::TestClient;
use crate::contract::Contract;
use crate::text::number;

/// Malformed requests for a calculator.
const MALFORMED: [&[u8]; 5] = [b"1+", b"(1", b"*", b"abc", b"'"];

/// An expression without a value.
const DIVISION_BY_ZERO: &[u8] = b"1/0";

/// A malformed request and the reply to it.
pub(in crate::conformance) struct ErrorReply {
    pub(in crate::conformance) request: Vec<u8>,
    pub(in crate::conformance) reply: Vec<u8>,
}

/// Collects the error replies to malformed requests.
///
/// Omits requests that get no reply or a value. Other cases test these.
///
/// # Errors
/// A plain request gets no reply. The case is then inconclusive.
pub(in crate::conformance) fn error_replies(
    ctx: &TestContext<'_>,
) -> Result<Vec<ErrorReply>, Failure> {
    let plain = request(1);
    let malformed = match ctx.contract.service {
        Service::Calc => {
            let division = ctx.contract.payload(DIVISION_BY_ZERO);
            MALFORMED.map(<[u8]>::to_vec).into_iter().chain([division]).collect()
        }
        Service::Echo => {
            let limit = ctx.contract.max_line.unwrap_or_default();
            [limit + 1, 2 * limit].map(|size| padded(ctx.contract, &plain, size)).to_vec()
        }
    };
    // If an error prefix is declared, every error reply must arrive, so wait for the full timeout.
    let quiet = match ctx.contract.error_prefix {
        Some(_) => ctx.timeout,
        None => ctx.deadlines().silence(SHORT_TIMEOUT),
    };
    let mut replies = Vec::new();
    let mut open = Vec::new();
    for request in malformed {
        let mut client = match connect_with_others(ctx, &mut open, &plain) {
            Err(_) if !replies.is_empty() => break,
            client => client?,
        };
        match client.raw_ask_until_quiescent(&request, quiet) {
            Ok(reply) if !is_value(ctx.contract, &request, &reply) => {
                replies.push(ErrorReply { request, reply });
            }
            // The end of error replies differs, so each would cost the wait.
            Err(ClientError::Silent(_, reply)) if !reply.is_empty() => break,
            _ => {}
        }
        open.push(client);
    }
    Ok(replies)
}

/// Connects a served client while the earlier clients stay open.
///
/// So a value that differs between concurrent connections, such as a thread id, differs in the
/// replies. If the server does not serve the client, closes the earlier clients and connects again.
fn connect_with_others<'s>(
    ctx: &'s TestContext<'_>,
    open: &mut Vec<TestClient<'s>>,
    plain: &[u8],
) -> Result<TestClient<'s>, Failure> {
    if !open.is_empty() {
        let served = ctx.clients().try_connect().and_then(|mut client| {
            let reply = client.ask_until_quiescent(plain, rejection_timeout(ctx))?;
            Ok((client, reply))
        });
        match served {
            Ok((client, reply)) if client.expect_learned_reply(plain, &reply).is_ok() => {
                return Ok(client);
            }
            _ => open.clear(),
        }
    }
    ctx.clients().connect_with_retry(plain)
}

/// Returns whether a reply is a value and no error: a number, or the echoed request or its
/// beginning.
fn is_value(contract: &Contract, request: &[u8], reply: &[u8]) -> bool {
    number(reply).is_some() || contract.echo(request).starts_with(reply)
}

/// Returns the first line of a reply. A reply that ends with other bytes than a line feed may have
/// several, but a declared prefix has no line feed.
pub(in crate::conformance) fn first_line(reply: &[u8]) -> &[u8] {
    let line = reply.split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Returns the common prefix of the replies' first lines, cut after a colon or a dash, or after a
/// whole word. A prefix that ends elsewhere, such as before a number, would vary with the request
/// or the connection.
pub(in crate::conformance) fn common_prefix<'l>(
    replies: impl IntoIterator<Item = &'l [u8]>,
) -> &'l [u8] {
    let common = |left: &'l [u8], right: &[u8]| {
        let length = left.iter().zip(right).take_while(|(left, right)| left == right).count();
        &left[..length]
    };
    let lines: Vec<&[u8]> = replies.into_iter().map(first_line).collect();
    let common = lines.iter().copied().reduce(common).unwrap_or_default();
    let ends_after =
        |end: &[u8]| common.windows(end.len()).position(|it| it == end).map(|at| at + end.len());
    let at_colon = ends_after(b": ").or_else(|| ends_after(b"- "));
    match at_colon.map(|end| &common[..end]).filter(|prefix| is_balanced(prefix)) {
        Some(prefix) => prefix,
        None => {
            let continues = |line: &&[u8]| line.get(common.len()).is_some_and(is_word);
            whole_words(common, lines.iter().any(continues))
        }
    }
}

/// Returns the text up to the end of its last whole word, without an open bracket. The last word is
/// not whole if `continues`.
pub(in crate::conformance) fn whole_words(text: &[u8], continues: bool) -> &[u8] {
    let is_end = |at: &usize| {
        let continues = text.get(*at).map_or(continues, is_word);
        text[*at - 1] != b' '
            && !(is_word(&text[*at - 1]) && continues)
            && is_balanced(&text[..*at])
    };
    let end = (1..=text.len()).rev().find(is_end).unwrap_or(0);
    &text[..end]
}

fn is_word(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric()
}

/// Returns whether each bracket is closed.
fn is_balanced(text: &[u8]) -> bool {
    let count = |bracket: u8| text.iter().filter(|byte| **byte == bracket).count();
    [(b'[', b']'), (b'(', b')'), (b'<', b'>')]
        .iter()
        .all(|&(open, close)| count(open) == count(close))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_prefix_ends_after_a_colon_a_dash_or_a_word() {
        for (lines, prefix) in [
            (&["error: a b", "error: a c"][..], "error: "),
            (&["error - a", "error - b"], "error - "),
            (&["ERR bad request", "ERR bad value"], "ERR bad"),
            (&["ERR:a", "ERR:b"], "ERR:"),
            (&["input 12 is invalid", "input 13 is invalid"], "input"),
            (&["invalid expression", "invalid exponent"], "invalid"),
            (&["?", "?"], "?"),
            (&["one", "two"], ""),
            (&["[Thread-140326] ?", "[Thread-140781] ?"], ""),
            (&["[Thread 1] ?", "[Thread 2] ?"], ""),
            (&["ERR [12] bad", "ERR [13] worse"], "ERR"),
            (&["E1", "E2"], ""),
            (&["-ERR", "-ERR"], "-ERR"),
            (&["bad format\nusage: A+B", "bad format\nusage: A+B"], "bad format"),
            (&["wrong\r\nusage: A+B", "wrong\r\n"], "wrong"),
            (&["\nusage: A+B", "\nusage: A+B"], ""),
            (&[], ""),
        ] {
            let found = common_prefix(lines.iter().map(|line| line.as_bytes()));
            assert_eq!(found, prefix.as_bytes(), "{lines:?}");
        }
    }
}
