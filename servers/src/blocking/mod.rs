//! Serving with blocking calls: one thread or process for each connection.

mod serve_connection;
pub mod threads;

pub use serve_connection::{STACK_SIZE, serve_connection};
