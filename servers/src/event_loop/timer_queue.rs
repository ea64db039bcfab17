//! Whose patience ends when, for a loop with many clients.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::key::Key;

/// When to look at whom: one entry for each client that has a deadline. It may be early, for a
/// client that was heard of since has a later deadline than it had; so nothing is moved about
/// when a client is heard of.
#[derive(Debug, Default)]
pub struct Deadlines {
    looks: BTreeSet<(Instant, Key)>,
    /// When each client is looked at.
    of: Vec<Option<Instant>>,
}

impl Deadlines {
    /// The client has this deadline. Changes nothing if it is to be looked at already.
    pub fn note(&mut self, key: Key, deadline: Option<Instant>) {
        let Some(deadline) = deadline else { return };
        if self.of.len() <= key {
            self.of.resize(key + 1, None);
        }
        if self.of[key].is_none() {
            self.of[key] = Some(deadline);
            self.looks.insert((deadline, key));
        }
    }

    /// The client is there no more.
    pub fn forget(&mut self, key: Key) {
        if let Some(look) = self.of.get_mut(key).and_then(Option::take) {
            self.looks.remove(&(look, key));
        }
    }

    /// When the first client is to be looked at, even if nothing happens.
    pub fn first(&self) -> Option<Instant> {
        self.looks.first().map(|(look, _)| *look)
    }

    /// How long to wait for something to happen.
    pub fn timeout(&self) -> Option<Duration> {
        self.first().map(|look| look.saturating_duration_since(Instant::now()))
    }

    /// A client that is to be looked at by now, and is not noted any more.
    pub fn due(&mut self, now: Instant) -> Option<Key> {
        let (_, key) = self.looks.first().copied().filter(|(look, _)| *look <= now)?;
        self.forget(key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_due_in_order_once_and_not_when_forgotten() {
        let now = Instant::now();
        let after = |ms| Some(now + Duration::from_millis(ms));
        let mut deadlines = Deadlines::default();
        for (key, deadline) in [(3, after(30)), (1, after(10)), (2, after(20)), (0, None)] {
            deadlines.note(key, deadline);
        }
        deadlines.note(1, after(5));
        assert_eq!(deadlines.first(), after(10), "the first word counts until the look");
        deadlines.forget(2);
        let later = now + Duration::from_millis(30);
        assert_eq!(deadlines.due(now), None);
        let due: Vec<Key> = std::iter::from_fn(|| deadlines.due(later)).collect();
        assert_eq!(due, [1, 3]);
        assert_eq!(deadlines.timeout(), None);
    }
}
