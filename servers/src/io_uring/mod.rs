//! io_uring for one thread and its clients, with an interface that cannot be misused.

mod availability;
mod buffers;
mod ring;
mod ring_connection;
mod setup;

pub use availability::unavailable;
pub use buffers::{BUFFER, MAX_BUFFERS};
pub use ring::{Event, Ring};
pub use ring_connection::RingConnection;
