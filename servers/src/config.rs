//! The configuration of a running server.

use crate::protocol::Service;

/// The configuration of a pattern, with a value for every limit.
#[derive(Clone, Debug)]
pub struct Config {
    /// Computes the replies.
    pub service: Service,
    /// Maximum length of a request in bytes, without its line end.
    pub max_line: usize,
    /// Maximum number of connections: served, or waiting for a worker.
    pub max_connections: usize,
    /// Number of worker threads or processes, if the pattern has a fixed number.
    pub workers: usize,
    /// Time without input, or without progress on unsent replies, after which a connection is
    /// closed.
    pub idle_timeout: Option<std::time::Duration>,
}

#[cfg(test)]
impl Config {
    /// Returns a configuration for tests: an echo server for one connection.
    pub(crate) fn for_test() -> Config {
        Config {
            service: Service::Echo,
            max_line: 4096,
            max_connections: 1,
            workers: 1,
            idle_timeout: None,
        }
    }
}
