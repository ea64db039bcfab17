//! Replies that are the same for every service.

/// What a client is told that finds the server full.
pub const BUSY: &[u8] = b"error: busy, try again later\n";
