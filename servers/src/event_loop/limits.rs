//! Bounds of the lingering close.

use std::time::Duration;

/// How long a refused client may take to close its side. Until then what it sends is read and
/// thrown away, for closing over unread input resets the connection and can overtake the line.
pub const LINGER: Duration = Duration::from_secs(1);

/// Refused clients that are waited for at once; beyond, the oldest is closed at once.
pub const MAX_LINGERING: usize = 16;
