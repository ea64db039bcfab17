//! The clients of several threads, each under a lock of its own: threads that serve different clients
//! never wait for each other.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::connection::Connection;
use super::key::Key;

/// A place for each client, by its descriptor's number: the kernel gives the lowest one that is
/// free, so that they are dense, and no two clients have the same. The places are made in blocks
/// that stay where they are.
pub(crate) struct ConnectionSlots(Box<[OnceLock<Box<[Slot]>>]>);

type Slot = Mutex<Option<Connection>>;

const BLOCK: usize = 256;

impl ConnectionSlots {
    /// Descriptors below the default of `fs.nr_open`, the most that a process may hold.
    pub(crate) const MOST: usize = 1 << 20;

    /// All free.
    pub(crate) fn new() -> ConnectionSlots {
        ConnectionSlots((0..ConnectionSlots::MOST / BLOCK).map(|_| OnceLock::new()).collect())
    }

    /// The place of a client, and who is there. No other thread looks at it meanwhile.
    ///
    /// # Panics
    /// The number is not below [`MOST`](Self::MOST).
    pub(crate) fn lock(&self, key: Key) -> MutexGuard<'_, Option<Connection>> {
        let block = &self.0[key / BLOCK];
        let block = block.get_or_init(|| (0..BLOCK).map(|_| Slot::default()).collect());
        block[key % BLOCK].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that are there.
    pub(crate) fn into_clients(self) -> Vec<Connection> {
        let blocks = self.0.into_iter().filter_map(OnceLock::into_inner);
        let unlocked = |slot: Slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner);
        blocks.flatten().filter_map(unlocked).collect()
    }
}
