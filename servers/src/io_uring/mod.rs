//! io_uring for one thread and its connections, behind a safe interface.

mod availability;
mod buffers;
mod ring;
mod ring_connection;
mod setup;

pub use availability::unavailable;
pub use buffers::{BUFFER, MAX_BUFFERS};
pub use ring::{Completion, Ring};
pub use ring_connection::RingConnection;
