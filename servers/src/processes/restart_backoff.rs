//! Delays the replacement of worker processes that fail.

use std::time::{Duration, Instant};

/// Exponential backoff. A child is replaced at once unless it lived only briefly: the cause may
/// persist, and forking without a pause would use all CPU time.
#[derive(Debug, Default)]
pub(super) struct RestartBackoff {
    /// Consecutive delays.
    failures: u32,
    pub(super) not_before: Option<Instant>,
}

impl RestartBackoff {
    /// A child that lived for less counts as failed.
    const MIN_LIFETIME: Duration = Duration::from_secs(1);

    /// First delay; each further one is twice as long.
    const FIRST_DELAY: Duration = Duration::from_millis(10);

    const LONGEST_DELAY: Duration = Duration::from_secs(1);

    /// Six seconds of delays in total.
    const MAX_FAILURES: u32 = 12;

    pub(super) fn ended(&mut self, age: Duration, now: Instant) {
        if age < RestartBackoff::MIN_LIFETIME {
            self.record_failure(now);
        } else {
            self.failures = 0;
        }
    }

    /// Failures during a delay count once.
    pub(super) fn record_failure(&mut self, now: Instant) {
        if self.not_before.is_none() {
            let pause = RestartBackoff::FIRST_DELAY * (1 << self.failures.min(10));
            self.not_before = Some(now + pause.min(RestartBackoff::LONGEST_DELAY));
            self.failures = self.failures.saturating_add(1);
        }
    }

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
    fn a_child_that_ran_is_replaced_at_once() {
        let (mut backoff, now) = (RestartBackoff::default(), Instant::now());
        for _ in 0..100 {
            backoff.ended(RestartBackoff::MIN_LIFETIME, now);
            assert!(backoff.may_restart(now) && !backoff.has_given_up());
        }
    }

    #[test]
    fn children_that_fail_are_replaced_with_growing_delays_and_then_no_more() {
        let (mut backoff, mut now) = (RestartBackoff::default(), Instant::now());
        let mut pauses = Vec::new();
        while !backoff.has_given_up() {
            // All of them count as one failure.
            (0..64).for_each(|_| backoff.ended(Duration::ZERO, now));
            assert!(!backoff.may_restart(now), "it pauses first");
            let until = backoff.not_before.expect("there is something to wait for");
            assert!(!backoff.may_restart(until - Duration::from_millis(1)), "not yet");
            assert!(backoff.may_restart(until), "another try");
            pauses.push(until - now);
            now = until;
        }
        assert!(pauses.is_sorted() && pauses[0] <= Duration::from_millis(10), "{pauses:?}");
        assert!(pauses.iter().sum::<Duration>() > Duration::from_secs(5), "{pauses:?}");
    }

    #[test]
    fn children_that_fail_occasionally_are_replaced_for_ever() {
        let (mut backoff, mut now) = (RestartBackoff::default(), Instant::now());
        for _ in 0..100 {
            backoff.ended(Duration::ZERO, now);
            now = backoff.not_before.expect("a pause");
            assert!(backoff.may_restart(now) && !backoff.has_given_up());
            backoff.ended(RestartBackoff::MIN_LIFETIME * 2, now);
        }
    }
}
