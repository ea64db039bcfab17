//! Counting clients: how many are taken in at once, across all threads of a server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// The places that a server has.
#[derive(Debug)]
pub struct ConnectionLimit {
    free: AtomicUsize,
}

/// One of them. Dropping it gives it back: before the client's socket is closed, so that the place
/// is free by the time that the client sees the end.
#[derive(Debug)]
pub struct Permit(Arc<ConnectionLimit>);

impl ConnectionLimit {
    /// So many, all free.
    pub fn new(limit: usize) -> Arc<ConnectionLimit> {
        Arc::new(ConnectionLimit { free: AtomicUsize::new(limit) })
    }

    /// Takes one, if one is free.
    pub fn try_acquire(self: &Arc<ConnectionLimit>) -> Option<Permit> {
        let less = |free: usize| free.checked_sub(1);
        self.free.fetch_update(SeqCst, SeqCst, less).ok().map(|_| Permit(Arc::clone(self)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_places_as_were_made_and_they_come_back() {
        let limit = ConnectionLimit::new(2);
        let taken = [limit.try_acquire(), limit.try_acquire()];
        assert!(taken.iter().all(Option::is_some));
        assert!(limit.try_acquire().is_none());
        drop(taken);
        assert!(limit.try_acquire().is_some());
    }
}
