//! Listening, accepting, and querying the state of a connection.

mod address;
mod connection_limit;
mod drain_limit;
mod listener;
mod poll_timeout;
mod tcp_state;

pub use address::{BindError, resolve};
pub use connection_limit::{ConnectionLimit, Permit};
pub(crate) use drain_limit::DrainLimit;
pub use listener::Listener;
pub(crate) use poll_timeout::poll_timeout;
pub(crate) use tcp_state::{DRAIN_POLL_INTERVAL, is_at_end_of_input, unacknowledged};
