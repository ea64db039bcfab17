//! Paces the replacement of worker processes.

use std::time::{Duration, Instant};

/// When to fork a child in the place of one that ended: at once, unless it ended young. Then the
/// cause may be there still, and to fork without a pause would be to do nothing else.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Pauses in a row.
    strikes: u32,
    pub(super) not_before: Option<Instant>,
}

impl Pace {
    /// A child that ended sooner ended young.
    const YOUNG: Duration = Duration::from_secs(1);

    /// The first; each that follows is twice as long.
    const FIRST_PAUSE: Duration = Duration::from_millis(10);

    const LONGEST_PAUSE: Duration = Duration::from_secs(1);

    /// Together six seconds of pauses.
    const MOST_STRIKES: u32 = 12;

    pub(super) fn ended(&mut self, age: Duration, now: Instant) {
        if age < Pace::YOUNG {
            self.strike(now);
        } else {
            self.strikes = 0;
        }
    }

    /// However many end during a pause, they are one reason for it.
    pub(super) fn strike(&mut self, now: Instant) {
        if self.not_before.is_none() {
            let pause = Pace::FIRST_PAUSE * (1 << self.strikes.min(10));
            self.not_before = Some(now + pause.min(Pace::LONGEST_PAUSE));
            self.strikes = self.strikes.saturating_add(1);
        }
    }

    pub(super) fn may_fork(&mut self, now: Instant) -> bool {
        let may = self.not_before.is_none_or(|not_before| not_before <= now);
        if may {
            self.not_before = None;
        }
        may
    }

    pub(super) fn is_hopeless(&self) -> bool {
        self.strikes > Pace::MOST_STRIKES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_lived_is_replaced_at_once() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for _ in 0..100 {
            pace.ended(Pace::YOUNG, now);
            assert!(pace.may_fork(now) && !pace.is_hopeless());
        }
    }

    #[test]
    fn children_that_end_young_are_replaced_ever_more_slowly_and_then_no_more() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        let mut pauses = Vec::new();
        while !pace.is_hopeless() {
            // However many there are, they are one reason to pause.
            (0..64).for_each(|_| pace.ended(Duration::ZERO, now));
            assert!(!pace.may_fork(now), "it pauses first");
            let until = pace.not_before.expect("there is something to wait for");
            assert!(!pace.may_fork(until - Duration::from_millis(1)), "not yet");
            assert!(pace.may_fork(until), "another try");
            pauses.push(until - now);
            now = until;
        }
        assert!(pauses.is_sorted() && pauses[0] <= Duration::from_millis(10), "{pauses:?}");
        assert!(pauses.iter().sum::<Duration>() > Duration::from_secs(5), "{pauses:?}");
    }

    #[test]
    fn children_that_end_young_now_and_then_are_replaced_for_ever() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        for _ in 0..100 {
            pace.ended(Duration::ZERO, now);
            now = pace.not_before.expect("a pause");
            assert!(pace.may_fork(now) && !pace.is_hopeless());
            pace.ended(Pace::YOUNG * 2, now);
        }
    }
}
