//! Limits the number of connections across all threads of a server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// The connection slots of a server, as a counting semaphore that never blocks.
#[derive(Debug)]
pub struct ConnectionLimit {
    free: AtomicUsize,
}

/// A connection slot. Drop the permit before the client's socket is closed, so that the slot is
/// free when the client sees the close.
#[derive(Debug)]
pub struct Permit(Arc<ConnectionLimit>);

impl ConnectionLimit {
    /// Returns a limit with all slots free.
    pub fn new(limit: usize) -> Arc<ConnectionLimit> {
        Arc::new(ConnectionLimit { free: AtomicUsize::new(limit) })
    }

    /// Takes a slot if one is free.
    pub fn try_acquire(self: &Arc<ConnectionLimit>) -> Option<Permit> {
        let decrement = |free: usize| free.checked_sub(1);
        self.free.fetch_update(SeqCst, SeqCst, decrement).ok().map(|_| Permit(Arc::clone(self)))
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
    fn permits_are_limited_and_released_on_drop() {
        let limit = ConnectionLimit::new(2);
        let taken = [limit.try_acquire(), limit.try_acquire()];
        assert!(taken.iter().all(Option::is_some));
        assert!(limit.try_acquire().is_none());
        drop(taken);
        assert!(limit.try_acquire().is_some());
    }
}
