//! Timeouts for poll(2).

use std::time::{Duration, Instant};

use nix::poll::PollTimeout;

/// Returns the timeout for poll(2) to wake at `deadline`. Rounds up by a millisecond, so that the
/// caller does not wake before the deadline.
pub(crate) fn poll_timeout(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else { return PollTimeout::NONE };
    let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}
