//! Delays the replacement of worker processes that fail.

use std::time::{Duration, Instant};

/// Exponential backoff. A child that ran for [`MIN_LIFETIME`](Self::MIN_LIFETIME) is replaced at
/// once. A child that exits earlier has failed. The cause may persist, and forking without a pause
/// would use all CPU time.
#[derive(Debug, Default)]
pub(super) struct RestartBackoff {
    /// Number of consecutive delays.
    failures: u32,
    /// End of the current delay, if any.
    pub(super) not_before: Option<Instant>,
}

impl RestartBackoff {
    /// A child that exits earlier has failed.
    const MIN_LIFETIME: Duration = Duration::from_secs(1);

    /// First delay; each further one is twice as long.
    const FIRST_DELAY: Duration = Duration::from_millis(10);

    const MAX_DELAY: Duration = Duration::from_secs(1);

    /// The delays of this many failures add up to 6 s.
    const MAX_FAILURES: u32 = 12;

    pub(super) fn record_exit(&mut self, age: Duration, now: Instant) {
        if age < RestartBackoff::MIN_LIFETIME {
            self.record_failure(now);
        } else {
            self.failures = 0;
        }
    }

    /// Records a failure. Failures during a delay are not counted.
    pub(super) fn record_failure(&mut self, now: Instant) {
        if self.not_before.is_none() {
            let pause = RestartBackoff::FIRST_DELAY * (1 << self.failures.min(10));
            self.not_before = Some(now + pause.min(RestartBackoff::MAX_DELAY));
            self.failures = self.failures.saturating_add(1);
        }
    }

    /// Returns whether no delay is in progress at `now`.
    pub(super) fn may_restart(&mut self, now: Instant) -> bool {
        let may = self.not_before.is_none_or(|not_before| not_before <= now);
        if may {
            self.not_before = None;
        }
        may
    }

    pub(super) fn has_given_up(&self) -> bool {
        self.failures > RestartBackoff::MAX_FAILURES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_ran_long_enough_is_restarted_at_once() {
        let (mut backoff, now) = (RestartBackoff::default(), Instant::now());
        for _ in 0..100 {
            backoff.record_exit(RestartBackoff::MIN_LIFETIME, now);
            assert!(backoff.may_restart(now) && !backoff.has_given_up());
        }
    }

    #[test]
    fn failing_workers_are_restarted_with_growing_delays_then_given_up() {
        let (mut backoff, mut now) = (RestartBackoff::default(), Instant::now());
        let mut pauses = Vec::new();
        while !backoff.has_given_up() {
            // These count as one failure.
            (0..64).for_each(|_| backoff.record_exit(Duration::ZERO, now));
            assert!(!backoff.may_restart(now), "no delay");
            let until = backoff.not_before.expect("a delay");
            assert!(!backoff.may_restart(until - Duration::from_millis(1)), "restarted too early");
            assert!(backoff.may_restart(until), "not restarted");
            pauses.push(until - now);
            now = until;
        }
        assert!(pauses.is_sorted() && pauses[0] <= Duration::from_millis(10), "{pauses:?}");
        assert!(pauses.iter().sum::<Duration>() > Duration::from_secs(5), "{pauses:?}");
    }

    #[test]
    fn workers_that_fail_occasionally_are_always_restarted() {
        let (mut backoff, mut now) = (RestartBackoff::default(), Instant::now());
        for _ in 0..100 {
            backoff.record_exit(Duration::ZERO, now);
            now = backoff.not_before.expect("a delay");
            assert!(backoff.may_restart(now) && !backoff.has_given_up());
            backoff.record_exit(RestartBackoff::MIN_LIFETIME * 2, now);
        }
    }
}
