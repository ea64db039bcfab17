//! Experiment: a client that is served and then stays idle.

use std::time::{Duration, Instant};

use crate::client::ClientError;
use crate::conformance::context::TestContext;
use crate::conformance::failure::Failure;
use crate::conformance::requests::request;
use crate::conformance::test_client::QUIET;

/// Outcome of a client that was served and then stayed idle.
pub(in crate::conformance) struct IdleOutcome {
    /// What the client received: the close of the connection, silence, or unexpected data.
    pub(in crate::conformance) received: Result<Vec<u8>, ClientError>,
    /// Upper bound of the time for which the client was idle.
    pub(in crate::conformance) max_idle_time: Duration,
}

/// Connects a client that sends one request and then stays idle for `duration`.
///
/// The client waits longer while the server uses the CPU, because the server may lack the CPU time
/// to close the connection.
///
/// # Errors
/// The request gets no reply. The case is then inconclusive.
pub(in crate::conformance) fn stay_idle(
    ctx: &TestContext<'_>,
    duration: Duration,
) -> Result<IdleOutcome, Failure> {
    let mut client = ctx.clients().connect()?;
    // The server receives the request after this time, so the measured idle time is not too short.
    let began = Instant::now();
    client.learn_reply(&request(1))?;
    let received = match client.reply_within(duration) {
        Err(ClientError::Silent(..)) => client.reply_until_asleep(ctx.with_round_trips(QUIET)),
        received => received,
    };
    let received = received.map_err(|error| match error {
        ClientError::Silent(_, bytes) => ClientError::Silent(began.elapsed(), bytes),
        other => other,
    });
    Ok(IdleOutcome { received, max_idle_time: began.elapsed() })
}

impl IdleOutcome {
    /// Returns whether the server closed or reset the connection.
    pub(in crate::conformance) fn is_closed(&self) -> bool {
        matches!(self.received, Err(ClientError::Closed(_) | ClientError::Reset))
    }
}
