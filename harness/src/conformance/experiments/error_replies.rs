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
