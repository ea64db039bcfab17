//! Serving with calls that block: one thread or process for each client.

mod serve_connection;
pub mod threads;

pub use serve_connection::{STACK_SIZE, serve_connection};
