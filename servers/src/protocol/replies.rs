//! Replies that are the same for every service.

/// The reply to a connection or a request that the server sheds.
pub const BUSY: &[u8] = b"error: busy, try again later\n";
