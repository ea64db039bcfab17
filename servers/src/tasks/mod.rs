//! Serving each connection in a task of an async runtime.

mod accept_all;
mod readiness;
mod serve_connection;

pub use accept_all::{TaskPermit, accept_all};
pub use serve_connection::{
    BUFFER, read, send, serve_connection, wait_until_acknowledged, with_timeout, yield_now,
};
