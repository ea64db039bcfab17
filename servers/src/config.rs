//! The configuration of a running server.

use crate::protocol::Service;

/// What a pattern is given to serve with: every limit decided.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is answered.
    pub service: Service,
    /// The longest request in bytes, its line end not counted.
    pub max_line: usize,
    /// The most clients taken in at once: served, or waiting for a worker.
    pub max_connections: usize,
    /// How many threads or processes serve, where the pattern has a fixed number.
    pub workers: usize,
    /// How long a client may be silent, or may leave its replies unread.
    pub idle_timeout: Option<std::time::Duration>,
}
