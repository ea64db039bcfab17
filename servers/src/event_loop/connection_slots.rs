//! The connections of several threads, each behind its own lock, so that threads with different
//! connections never contend.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::connection::Connection;
use super::key::Key;

/// One slot per descriptor number. The kernel assigns the lowest free number, so the numbers are
/// dense, and no two connections share one. Slots are allocated in blocks that never move.
pub(crate) struct ConnectionSlots(Box<[OnceLock<Box<[Slot]>>]>);

type Slot = Mutex<Option<Connection>>;

const BLOCK: usize = 256;

impl ConnectionSlots {
    /// The default of `fs.nr_open`, the limit of a process.
    pub(crate) const MOST: usize = 1 << 20;

    /// Returns empty slots.
    pub(crate) fn new() -> ConnectionSlots {
        ConnectionSlots((0..ConnectionSlots::MOST / BLOCK).map(|_| OnceLock::new()).collect())
    }

    /// Locks the slot of a connection.
    ///
    /// # Panics
    /// The number is not below [`MOST`](Self::MOST).
    pub(crate) fn lock(&self, key: Key) -> MutexGuard<'_, Option<Connection>> {
        let block = &self.0[key / BLOCK];
        let block = block.get_or_init(|| (0..BLOCK).map(|_| Slot::default()).collect());
        block[key % BLOCK].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns all connections.
    pub(crate) fn into_connections(self) -> Vec<Connection> {
        let blocks = self.0.into_iter().filter_map(OnceLock::into_inner);
        let unlocked = |slot: Slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner);
        blocks.flatten().filter_map(unlocked).collect()
    }
}
