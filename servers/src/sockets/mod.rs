//! Listening, accepting and asking the kernel about a connection.

mod address;
mod connection_limit;
mod drain_limit;
mod listener;
mod poll_timeout;
mod tcp_state;

pub use address::{BindError, resolve};
pub use connection_limit::{Place, Places};
pub(crate) use drain_limit::LastInput;
pub use listener::Listener;
pub(crate) use poll_timeout::until;
pub(crate) use tcp_state::{LOOK_EVERY, is_ended_by_client, unacknowledged};
