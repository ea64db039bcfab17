//! When a generator stops sending: after a time or a number of requests.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Condition on which a generator stops sending.
#[derive(Clone, Copy, Debug)]
pub enum Until<'a> {
    /// This time has passed since the start.
    Elapsed(Duration),
    /// This number of requests of the measured group has been sent.
    Sent(u64),
    /// The run's clock has reached this time, in nanoseconds. The time may change during the run.
    ClockReaches(&'a AtomicU64),
}

/// Quota of requests that may still be sent.
pub(super) struct Quota<'a> {
    until: Until<'a>,
    began: u64,
    sent: u64,
}

impl Quota<'_> {
    pub(super) fn new(until: Until<'_>, began: u64) -> Quota<'_> {
        Quota { until, began, sent: 0 }
    }

    /// Returns the time at which the quota ends, or `u64::MAX` for a number of requests.
    pub(super) fn end(&self) -> u64 {
        match self.until {
            Until::Elapsed(time) => self.began + time.as_nanos() as u64,
            Until::Sent(_) => u64::MAX,
            Until::ClockReaches(end) => end.load(Relaxed),
        }
    }

    pub(super) fn is_used_up(&self, now: u64) -> bool {
        match self.until {
            Until::Sent(limit) => self.sent >= limit,
            _ => now >= self.end(),
        }
    }

    /// Takes at most `requested` requests from the quota, and returns the number taken.
    pub(super) fn take(&mut self, requested: u32, now: u64) -> u32 {
        let granted = match self.until {
            Until::Sent(limit) => u64::from(requested).min(limit - self.sent) as u32,
            _ if now >= self.end() => 0,
            _ => requested,
        };
        self.sent += u64::from(granted);
        granted
    }
}
