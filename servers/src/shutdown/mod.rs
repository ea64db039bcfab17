//! Shutting down by signal: the first drains, the second ends the process at once.

mod request;

pub use request::{DRAIN_DEADLINE_MS, Enrolled, Stop};
