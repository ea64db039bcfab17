//! Timeouts for poll(2).

use std::time::{Duration, Instant};

use nix::poll::PollTimeout;

/// What to tell poll(2) to be woken at `deadline`: a millisecond late rather than early, so as not
/// to go round for nothing.
pub(crate) fn until(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else { return PollTimeout::NONE };
    let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}
