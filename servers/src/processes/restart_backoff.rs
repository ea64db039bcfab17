//! Paces the replacement of worker processes.

use std::time::{Duration, Instant};

/// When to fork a child in the place of one that ended: at once, unless it ended young. Then the
/// cause may be there still, and to fork without a pause would be to do nothing else.
#[derive(Debug, Default)]
pub(super) struct RestartBackoff {
    /// Pauses in a row.
    failures: u32,
    pub(super) not_before: Option<Instant>,
}

impl RestartBackoff {
    /// A child that ended sooner ended young.
    const MIN_LIFETIME: Duration = Duration::from_secs(1);

    /// The first; each that follows is twice as long.
    const FIRST_DELAY: Duration = Duration::from_millis(10);

    const LONGEST_DELAY: Duration = Duration::from_secs(1);

    /// Together six seconds of pauses.
    const MAX_FAILURES: u32 = 12;

    pub(super) fn ended(&mut self, age: Duration, now: Instant) {
        if age < RestartBackoff::MIN_LIFETIME {
            self.record_failure(now);
        } else {
            self.failures = 0;
        }
    }

    /// However many end during a pause, they are one reason for it.
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
    fn a_child_that_lived_is_replaced_at_once() {
        let (mut pace, now) = (RestartBackoff::default(), Instant::now());
        for _ in 0..100 {
            pace.ended(RestartBackoff::MIN_LIFETIME, now);
            assert!(pace.may_restart(now) && !pace.has_given_up());
        }
    }

    #[test]
    fn children_that_end_young_are_replaced_ever_more_slowly_and_then_no_more() {
        let (mut pace, mut now) = (RestartBackoff::default(), Instant::now());
        let mut pauses = Vec::new();
        while !pace.has_given_up() {
            // However many there are, they are one reason to pause.
            (0..64).for_each(|_| pace.ended(Duration::ZERO, now));
            assert!(!pace.may_restart(now), "it pauses first");
            let until = pace.not_before.expect("there is something to wait for");
            assert!(!pace.may_restart(until - Duration::from_millis(1)), "not yet");
            assert!(pace.may_restart(until), "another try");
            pauses.push(until - now);
            now = until;
        }
        assert!(pauses.is_sorted() && pauses[0] <= Duration::from_millis(10), "{pauses:?}");
        assert!(pauses.iter().sum::<Duration>() > Duration::from_secs(5), "{pauses:?}");
    }

    #[test]
    fn children_that_end_young_now_and_then_are_replaced_for_ever() {
        let (mut pace, mut now) = (RestartBackoff::default(), Instant::now());
        for _ in 0..100 {
            pace.ended(Duration::ZERO, now);
            now = pace.not_before.expect("a pause");
            assert!(pace.may_restart(now) && !pace.has_given_up());
            pace.ended(RestartBackoff::MIN_LIFETIME * 2, now);
        }
    }
}
