//! Timeouts of a load run.

use std::time::Duration;

/// Default timeout for connecting, and for each reply.
pub(super) const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// Minimum timeout.
pub const MIN_TIMEOUT: Duration = Duration::from_millis(1);

/// Maximum timeout. The latency histograms include it.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

/// Time between two checks for overdue replies.
pub(super) fn check_interval(timeout: Duration) -> Duration {
    // A check visits all connections.
    (timeout / 10).min(Duration::from_millis(100))
}
