//! Concurrency models of servers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Concurrency model of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ConcurrencyModel {
    /// One connection at a time.
    Iterative,
    /// One process per connection.
    Fork,
    /// Pre-forked processes. Each serves one connection or runs an event loop.
    Prefork,
    /// One thread per connection.
    Threads,
    /// A pool of threads that serve one connection each.
    ThreadPool,
    /// One or more event loops over select.
    Select,
    /// One or more event loops over poll.
    Poll,
    /// One or more event loops over epoll.
    Epoll,
    /// One or more event loops over io_uring.
    #[serde(rename = "io_uring")]
    IoUring,
    /// An event loop and the threads of an asynchronous runtime.
    AsyncRuntime,
    /// An event loop with worker threads (half-sync/half-async, staged event-driven), or an event
    /// source for which several threads wait (leader/followers).
    LoopAndWorkers,
    /// Repeated non-blocking calls instead of waits in the kernel.
    BusyLoop,
    /// Not detected.
    #[default]
    Unknown,
}

impl ConcurrencyModel {
    /// Returns the name used in flags and files.
    pub fn name(self) -> &'static str {
        match self {
            ConcurrencyModel::Iterative => "iterative",
            ConcurrencyModel::Fork => "fork",
            ConcurrencyModel::Prefork => "prefork",
            ConcurrencyModel::Threads => "threads",
            ConcurrencyModel::ThreadPool => "thread-pool",
            ConcurrencyModel::Select => "select",
            ConcurrencyModel::Poll => "poll",
            ConcurrencyModel::Epoll => "epoll",
            ConcurrencyModel::IoUring => "io_uring",
            ConcurrencyModel::AsyncRuntime => "async-runtime",
            ConcurrencyModel::LoopAndWorkers => "loop-and-workers",
            ConcurrencyModel::BusyLoop => "busy-loop",
            ConcurrencyModel::Unknown => "unknown",
        }
    }
}

impl fmt::Display for ConcurrencyModel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::RequiredModel;

    #[test]
    fn a_detected_model_has_the_name_of_the_required_one() {
        for name in ["iterative", "fork", "prefork", "threads", "thread-pool", "async-runtime"] {
            let detected: ConcurrencyModel =
                serde_json::from_value(name.into()).expect("a concurrency model");
            let required: RequiredModel = name.parse().expect("a concurrency model");
            assert_eq!((detected.name(), required.name()), (name, name));
        }
    }
}
