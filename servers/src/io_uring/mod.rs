//! io_uring for one thread and its clients, with an interface that cannot be misused.

mod availability;
mod buffers;
mod client;
mod ring;
mod setup;

pub use availability::unavailable;
pub use buffers::{BUFFER, MOST_BUFFERS};
pub use client::Client;
pub use ring::{Event, Ring};
