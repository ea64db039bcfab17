//! Bounds of the lingering close.

use std::time::Duration;

/// Maximum duration of a lingering close, in which the client's input is read and discarded. A close
/// with unread input would send a reset, which can overtake the busy line.
pub const LINGER: Duration = Duration::from_secs(1);

/// Maximum number of connections in lingering close; beyond it, the oldest is closed at once.
pub const MAX_LINGERING: usize = 16;
