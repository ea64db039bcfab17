//! Experiment: one connection over the connection limit.

use std::time::{Duration, Instant};

use servers::OverloadPolicy;

use super::reply_prefix::stable_prefix;
use crate::client::ClientError;
use crate::conformance::context::{SHORT_TIMEOUT, TestContext};
use crate::conformance::requests::request;
use crate::conformance::test_client::{QUIET, TestClient};
use crate::contract::Declared;
use crate::results::{Overload, OverloadOutcome};
use crate::text::printable;

/// Outcome of a connection over the limit.
#[derive(Debug)]
pub(in crate::conformance) enum OverLimit {
    /// The connection was refused.
    Refused,
    /// The connection was reset.
    Reset,
    /// The client got the busy line, then a FIN.
    Busy(Vec<u8>),
    /// The client got a line other than the declared busy line, then a FIN.
    Message(Vec<u8>),
    /// The server closed the connection without data.
    Closed,
    /// The client got no data, and the connection stays open.
    Unanswered,
    /// The client got this reply to its request.
    Served(Vec<u8>),
    /// The connection was not established in time.
    TimedOut(String),
    /// Another outcome, described.
    Other(String),
}

/// Returns the silence after which a client counts as unanswered.
///
/// If the server may reject connections, the time is longer. The time stays below the idle timeout,
/// so that the server does not close the connections of the served clients.
pub(super) fn rejection_timeout(ctx: &TestContext<'_>) -> Duration {
    let quiet = match ctx.contract.when_full {
        Some(OverloadPolicy::Wait) => QUIET * 2,
        _ => SHORT_TIMEOUT * 2,
    };
    let quiet = ctx.contract.idle_timeout.map_or(quiet, |timeout| quiet.min(timeout / 4));
    ctx.deadlines().silence(ctx.with_round_trips(quiet))
}

/// Connects one more client. The client first only reads, and then sends a request. Returns the
/// outcome, and the time until data, a close or the end of the first wait.
pub(in crate::conformance) fn connect_over_limit(ctx: &TestContext<'_>) -> (OverLimit, Duration) {
    let began = Instant::now();
    let mut client = match ctx.clients().try_connect() {
        Ok(client) => client,
        Err(error) => return (OverLimit::of_connect_error(error), began.elapsed()),
    };
    let mut received = client.reply_until_quiescent(rejection_timeout(ctx));
    let after = began.elapsed();
    if let Err(ClientError::Silent(..)) = received {
        received = client.ask_until_quiescent(
            &request(7),
            ctx.deadlines().silence(ctx.with_round_trips(QUIET * 2)),
        );
        match received {
            Err(ClientError::Silent(..)) => return (OverLimit::Unanswered, after),
            Ok(line) if !ctx.contract.is_busy(&line) => return (OverLimit::Served(line), after),
            _ => {}
        }
    }
    (OverLimit::of_received(ctx, &mut client, received), after)
}

impl OverLimit {
    /// Returns the outcome for a client that could not connect.
    pub(super) fn of_connect_error(error: ClientError) -> OverLimit {
        match error {
            ClientError::Refused => OverLimit::Refused,
            ClientError::Reset => OverLimit::Reset,
            error @ ClientError::ConnectTimedOut(_) => OverLimit::TimedOut(error.to_string()),
            other => OverLimit::Other(other.to_string()),
        }
    }

    /// Returns the outcome for a client that received a line or an error.
    pub(super) fn of_received(
        ctx: &TestContext<'_>,
        client: &mut TestClient<'_>,
        received: Result<Vec<u8>, ClientError>,
    ) -> OverLimit {
        match received {
            Ok(line) => match client.rest() {
                Ok(rest) if !rest.is_empty() => {
                    OverLimit::Other(format!("{}, then {}", printable(&line), printable(&rest)))
                }
                Ok(_) if ctx.contract.is_busy(&line) => OverLimit::Busy(line),
                Ok(_) => OverLimit::Message(line),
                Err(error) => OverLimit::Other(format!("{}, then {error}", printable(&line))),
            },
            Err(ClientError::Reset) => OverLimit::Reset,
            Err(ClientError::Closed(bytes)) if bytes.is_empty() => OverLimit::Closed,
            Err(error) => OverLimit::Other(error.to_string()),
        }
    }

    /// Returns the overload policy that has this outcome, if any.
    pub(in crate::conformance) fn policy(&self) -> Option<OverloadPolicy> {
        match self {
            OverLimit::Refused => Some(OverloadPolicy::Refuse),
            OverLimit::Reset => Some(OverloadPolicy::Reset),
            OverLimit::Busy(_) => Some(OverloadPolicy::Busy),
            OverLimit::Unanswered => Some(OverloadPolicy::Wait),
            OverLimit::Message(_)
            | OverLimit::Closed
            | OverLimit::Served(_)
            | OverLimit::TimedOut(_)
            | OverLimit::Other(_) => None,
        }
    }

    /// Returns the outcome for a report, with the time until it was known.
    pub(in crate::conformance) fn observed(&self, after: Duration) -> Overload {
        let (outcome, line) = match self {
            OverLimit::Refused => (OverloadOutcome::Refused, None),
            OverLimit::Reset => (OverloadOutcome::Reset, None),
            OverLimit::Busy(line) => (OverloadOutcome::Busy, Some(line)),
            OverLimit::Message(line) => (OverloadOutcome::Message, Some(line)),
            OverLimit::Closed => (OverloadOutcome::Closed, None),
            OverLimit::Unanswered => (OverloadOutcome::Waits, None),
            OverLimit::Served(line) => (OverloadOutcome::Served, Some(line)),
            OverLimit::TimedOut(_) => (OverloadOutcome::TimesOut, None),
            OverLimit::Other(_) => (OverloadOutcome::Other, None),
        };
        let after_us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        Overload { outcome, after_us, line: line.map(|line| printable(line)) }
    }

    /// Describes the outcome.
    pub(in crate::conformance) fn text(&self) -> String {
        match self {
            OverLimit::Refused => "connection refused".to_owned(),
            OverLimit::Reset => "connected, then reset".to_owned(),
            OverLimit::Busy(line) | OverLimit::Message(line) => {
                format!("{}, then a clean close (FIN)", printable(line))
            }
            OverLimit::Closed => "connected, then closed without a message".to_owned(),
            OverLimit::Unanswered => "connected, but no reply".to_owned(),
            OverLimit::Served(reply) => format!("served with the reply {}", printable(reply)),
            OverLimit::TimedOut(text) | OverLimit::Other(text) => text.clone(),
        }
    }

    /// Returns the likely cause, if known, of this outcome on a server that declares another
    /// policy.
    pub(in crate::conformance) fn hint(&self, declared: OverloadPolicy) -> Option<String> {
        let text = match (self, declared) {
            (OverLimit::Served(_), _) => {
                "the server serves more clients than it declares: count a connection before it is \
                 handed to a worker"
            }
            (OverLimit::Unanswered, _) => {
                "the connection was accepted, by the server or into the kernel's accept queue, and \
                 never read: it waits and is not refused. listen(0) does not refuse either; to \
                 refuse, close the listening socket or shut it down while clients are served"
            }
            (OverLimit::Message(_), OverloadPolicy::Busy) => {
                "if this line is the busy line, declare it with --busy-prefix"
            }
            (OverLimit::Closed, OverloadPolicy::Busy | OverloadPolicy::Reset) => {
                "accept() followed by close() gives a client that has sent nothing an end of file"
            }
            (OverLimit::Reset, OverloadPolicy::Busy) => {
                "a reset discarded the busy line: the server probably closed the socket with \
                 unread input"
            }
            (OverLimit::Refused, OverloadPolicy::Wait) => {
                "the server probably closes the listening socket while it serves clients"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }

    /// Returns the declaration of the overload policy that has this outcome. It is empty if there
    /// is no such policy.
    pub(in crate::conformance) fn declaration(&self) -> Declared {
        let (when_full, busy_prefix) = match self {
            OverLimit::Message(line) => match stable_prefix(line) {
                Some(prefix) => (Some(OverloadPolicy::Busy), Some(prefix)),
                None => (None, None),
            },
            other => (other.policy(), None),
        };
        Declared { when_full, busy_prefix, ..Declared::default() }
    }
}

/// Describes the outcome that this policy requires.
pub(in crate::conformance) fn expected_outcome(policy: OverloadPolicy) -> &'static str {
    match policy {
        OverloadPolicy::Wait => "connected, and served when a connection slot is free",
        OverloadPolicy::Refuse => "connection refused",
        OverloadPolicy::Reset => "connected, then reset",
        OverloadPolicy::Busy => "the busy line (--busy-prefix), then a clean close (FIN)",
    }
}
