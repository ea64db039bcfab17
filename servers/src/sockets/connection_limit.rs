//! Counting clients: how many are taken in at once, across all threads of a server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// The places that a server has.
#[derive(Debug)]
pub struct Places {
    free: AtomicUsize,
}

/// One of them. Dropping it gives it back: before the client's socket is closed, so that the place
/// is free by the time that the client sees the end.
#[derive(Debug)]
pub struct Place(Arc<Places>);

impl Places {
    /// So many, all free.
    pub fn new(places: usize) -> Arc<Places> {
        Arc::new(Places { free: AtomicUsize::new(places) })
    }

    /// Takes one, if one is free.
    pub fn take(self: &Arc<Places>) -> Option<Place> {
        let less = |free: usize| free.checked_sub(1);
        self.free.fetch_update(SeqCst, SeqCst, less).ok().map(|_| Place(Arc::clone(self)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_places_as_were_made_and_they_come_back() {
        let places = Places::new(2);
        let taken = [places.take(), places.take()];
        assert!(taken.iter().all(Option::is_some));
        assert!(places.take().is_none());
        drop(taken);
        assert!(places.take().is_some());
    }
}
