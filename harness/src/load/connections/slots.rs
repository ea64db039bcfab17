//! Slots of connections: what a generator knows of a slot beyond its current connection.

use crate::results::Outcome;

/// State of the slots whose clients reconnect.
#[derive(Debug)]
pub(super) struct Reconnecting {
    /// Maximum number of requests on one connection.
    pub(super) requests_per_connection: Option<u32>,
    pub(super) slots: Vec<Slot>,
}

/// State of a slot, in addition to that of its connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    /// Number of requests enqueued on the current connection.
    pub(super) enqueued: u32,
    /// Time at which the connection closed, until the next correct reply.
    pub(super) down_since: Option<u64>,
    /// How the latest closed connection ended.
    pub(super) last_close: Option<Outcome>,
}

/// A slot that has become free.
#[derive(Clone, Copy, Debug)]
pub(in crate::load) struct Freed {
    pub(in crate::load) index: usize,
    /// Whether the closed connection had got a correct reply.
    pub(in crate::load) has_answered: bool,
}
