//! The configuration of a running server.

use crate::protocol::Service;

/// The configuration of a pattern, with every limit decided.
#[derive(Clone, Debug)]
pub struct Config {
    /// Computes the replies.
    pub service: Service,
    /// Maximum length of a request in bytes, without its line end.
    pub max_line: usize,
    /// Maximum number of connections: served, or waiting for a worker.
    pub max_connections: usize,
    /// Number of threads or processes that serve, where the pattern has a fixed number.
    pub workers: usize,
    /// Time after which a connection without input, or with unread replies, is closed.
    pub idle_timeout: Option<std::time::Duration>,
}
