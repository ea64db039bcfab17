//! Bounds of the lingering close.

use std::time::Duration;

/// Time that a refused client has to close its side. Until then its input is read and discarded:
/// closing with unread input sends a reset, which can overtake the busy reply.
pub const LINGER: Duration = Duration::from_secs(1);

/// Maximum number of connections in lingering close; beyond it, the oldest is closed at once.
pub const MAX_LINGERING: usize = 16;
