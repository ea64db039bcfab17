//! Slots whose clients connect again when their connection closes.

use super::Connections;
use super::slots::{Freed, Reconnecting};
use crate::load::recorder::Recorder;
use crate::results::Outcome;

impl Connections {
    /// Lets clients connect again: the slots that [`take_freed`](Self::take_freed) returns. A
    /// client sends at most `requests_per_connection` requests on each connection.
    pub(in crate::load) fn allow_reconnects(&mut self, requests_per_connection: Option<u32>) {
        self.reconnecting = Some(Reconnecting { requests_per_connection, slots: Vec::new() });
        self.lists_freed = true;
        // A server that closes between two requests has lost none.
        self.may_close = true;
    }

    /// Lets [`take_freed`](Self::take_freed) return the slots that become free.
    pub(in crate::load) fn list_freed(&mut self) {
        self.lists_freed = true;
    }

    /// Returns a slot that has become free, if any.
    pub(in crate::load) fn take_freed(&mut self) -> Option<Freed> {
        self.freed.pop()
    }

    /// Returns the number of requests that may still be sent on a connection.
    pub(in crate::load) fn requests_left(&self, index: usize) -> u32 {
        match &self.reconnecting {
            Some(Reconnecting { requests_per_connection: Some(limit), slots }) => {
                limit.saturating_sub(slots[index].enqueued)
            }
            _ => u32::MAX,
        }
    }

    /// Closes a connection that has had all of its requests answered.
    pub(in crate::load) fn close_if_used_up(&mut self, index: usize, recorder: &mut Recorder) {
        if self.is_open(index)
            && self.requests_left(index) == 0
            && self.connections[index].in_flight == 0
        {
            self.close_with(index, Outcome::Answered, recorder);
        }
    }

    /// Records the outages that have not ended at `now`.
    pub(in crate::load) fn record_down(&self, now: u64, recorders: &mut [Recorder]) {
        let Some(reconnecting) = &self.reconnecting else { return };
        for (connection, slot) in self.connections.iter().zip(&reconnecting.slots) {
            if let Some(since) = slot.down_since {
                recorders[usize::from(connection.group)].record_down(since, now);
            }
        }
    }

    /// Returns how the latest closed connection of a slot ended, if its client reconnects.
    pub(super) fn last_close(&self, index: usize) -> Option<Outcome> {
        self.reconnecting.as_ref()?.slots[index].last_close
    }
}
