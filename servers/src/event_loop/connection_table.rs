//! The connections of several threads. Each connection has a separate lock, so threads that serve
//! different connections never contend.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::connection::Connection;
use super::key::Key;

/// A table with one slot per descriptor number. The kernel assigns the lowest free number, so the
/// numbers are dense and unique. Slots are allocated in blocks that never move.
pub(crate) struct ConnectionTable(Box<[OnceLock<Box<[Slot]>>]>);

type Slot = Mutex<Option<Connection>>;

/// Number of slots per block.
const BLOCK: usize = 256;

impl ConnectionTable {
    /// Number of slots: the default of `fs.nr_open`, the descriptor limit of a process.
    pub(crate) const MAX: usize = 1 << 20;

    /// Returns an empty table.
    pub(crate) fn new() -> ConnectionTable {
        ConnectionTable((0..ConnectionTable::MAX / BLOCK).map(|_| OnceLock::new()).collect())
    }

    /// Locks the slot of a connection.
    ///
    /// # Panics
    /// `key` is not below [`MAX`](Self::MAX).
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
