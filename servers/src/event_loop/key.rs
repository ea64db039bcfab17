//! Names a connection with_timeout its loop.

/// What a client is known by to its loop, and in the kernel's list of what is ready. A key may
/// come to belong to another client while an event for the first is still under way; a turn out
/// of turn does no harm.
pub type Key = usize;
