//! Idle-timeout queue of an event loop, earliest deadline first.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::key::Key;

/// The queue has one entry per connection with a deadline.
///
/// A read moves the connection's deadline but not its entry. When an entry expires, the caller
/// compares the connection's deadline with the clock, and inserts a new entry if the deadline is
/// later.
#[derive(Debug, Default)]
pub struct TimerQueue {
    entries: BTreeSet<(Instant, Key)>,
    /// The deadline in the entry of each connection.
    by_key: Vec<Option<Instant>>,
}

impl TimerQueue {
    /// Inserts an entry, unless the connection already has one or has no deadline.
    pub fn insert(&mut self, key: Key, deadline: Option<Instant>) {
        let Some(deadline) = deadline else { return };
        if self.by_key.len() <= key {
            self.by_key.resize(key + 1, None);
        }
        if self.by_key[key].is_none() {
            self.by_key[key] = Some(deadline);
            self.entries.insert((deadline, key));
        }
    }

    /// Removes the entry of a connection.
    pub fn remove(&mut self, key: Key) {
        if let Some(deadline) = self.by_key.get_mut(key).and_then(Option::take) {
            self.entries.remove(&(deadline, key));
        }
    }

    /// Returns the earliest deadline.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.entries.first().map(|(deadline, _)| *deadline)
    }

    /// Returns the time until the earliest deadline.
    pub fn timeout(&self) -> Option<Duration> {
        self.next_deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Removes the entry of a connection whose entry has expired, and returns its key.
    pub fn pop_expired(&mut self, now: Instant) -> Option<Key> {
        let (_, key) = self.entries.first().copied().filter(|(deadline, _)| *deadline <= now)?;
        self.remove(key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_expire_in_order_once_and_not_after_removal() {
        let now = Instant::now();
        let after = |ms| Some(now + Duration::from_millis(ms));
        let mut timers = TimerQueue::default();
        for (key, deadline) in [(3, after(30)), (1, after(10)), (2, after(20)), (0, None)] {
            timers.insert(key, deadline);
        }
        timers.insert(1, after(5));
        assert_eq!(timers.next_deadline(), after(10), "a second insert leaves the entry as it is");
        timers.remove(2);
        let later = now + Duration::from_millis(30);
        assert_eq!(timers.pop_expired(now), None);
        let due: Vec<Key> = std::iter::from_fn(|| timers.pop_expired(later)).collect();
        assert_eq!(due, [1, 3]);
        assert_eq!(timers.timeout(), None);
    }
}
