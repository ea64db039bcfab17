//! Keys of connections.

/// Identifies a connection within its loop and in the kernel's interest list. A key may be reused
/// while an event for its previous connection is queued; a spurious event does no harm.
pub type Key = usize;
