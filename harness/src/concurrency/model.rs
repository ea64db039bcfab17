//! The concurrency models.

use std::fmt;

use serde::Serialize;

/// Concurrency model of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mechanism {
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
    /// An event loop with worker threads, or one that several threads wait for:
    /// half-sync/half-async, staged event-driven, or leader/followers.
    LoopAndWorkers,
    /// Polls in a loop instead of waiting.
    BusyLoop,
    /// Not detected.
    #[default]
    Unknown,
}

impl Mechanism {
    /// Returns its name in flags and files.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Iterative => "iterative",
            Mechanism::Fork => "fork",
            Mechanism::Prefork => "prefork",
            Mechanism::Threads => "threads",
            Mechanism::ThreadPool => "thread-pool",
            Mechanism::Select => "select",
            Mechanism::Poll => "poll",
            Mechanism::Epoll => "epoll",
            Mechanism::IoUring => "io_uring",
            Mechanism::AsyncRuntime => "async-runtime",
            Mechanism::LoopAndWorkers => "loop-and-workers",
            Mechanism::BusyLoop => "busy-loop",
            Mechanism::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
