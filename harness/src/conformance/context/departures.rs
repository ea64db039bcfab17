//! Clients that have left the server, whose connection slots it may not have freed yet.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Records when clients of the server have left.
pub(in crate::conformance) struct Departures {
    /// Time at which the last client left; `None` if none has left.
    last: Cell<Option<Instant>>,
}

impl Departures {
    /// `serves_earlier_cases`: the server has had clients before this case, because the harness did
    /// not launch it.
    pub(super) fn new(serves_earlier_cases: bool) -> Departures {
        Departures { last: Cell::new(serves_earlier_cases.then(Instant::now)) }
    }

    /// Returns the mark of a client that connects.
    pub(in crate::conformance) fn arrival(&self) -> Presence<'_> {
        Presence { departures: self, is_rejected: Cell::default() }
    }

    /// Records that a client has left.
    fn record(&self) {
        self.last.set(Some(Instant::now()));
    }

    /// Returns whether a client has left, so that a rejection may be due to a slot that is not free
    /// yet.
    pub(in crate::conformance) fn have_occurred(&self) -> bool {
        self.last.get().is_some()
    }

    /// Returns whether a client has left in the last `time`.
    pub(in crate::conformance) fn are_within(&self, time: Duration) -> bool {
        self.last.get().is_some_and(|last| last.elapsed() < time)
    }
}

/// Marks that a client may use a connection slot. Dropping it records that the client has left.
pub(in crate::conformance) struct Presence<'s> {
    departures: &'s Departures,
    /// Whether the server has rejected the client, so that it leaves no slot behind.
    is_rejected: Cell<bool>,
}

impl Presence<'_> {
    /// Records that the server has rejected the client.
    pub(in crate::conformance) fn set_rejected(&self) {
        self.is_rejected.set(true);
    }
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        if !self.is_rejected.get() {
            self.departures.record();
        }
    }
}
