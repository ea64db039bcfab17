//! Serving each connection in a task of an async runtime.

mod acceptor;
mod readiness;
mod serve_connection;

pub use acceptor::{Leave, accept_all};
pub use serve_connection::{BUFFER, converse, give_way, read, see_out, send, within};
