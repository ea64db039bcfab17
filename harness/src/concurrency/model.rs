//! The concurrency models.

use std::fmt;

use serde::Serialize;

/// How a server is built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mechanism {
    /// One client at a time.
    Iterative,
    /// A process for each connection.
    Fork,
    /// Processes that serve a client each, or have a loop each, and are there before the clients.
    Prefork,
    /// A thread for each connection.
    Threads,
    /// A pool of threads that serve a client each.
    ThreadPool,
    /// One or several event loops over select.
    Select,
    /// The same over poll.
    Poll,
    /// The same over epoll.
    Epoll,
    /// The same over io_uring.
    #[serde(rename = "io_uring")]
    IoUring,
    /// An event loop and the threads of a runtime.
    AsyncRuntime,
    /// An event loop and other threads, or one for which several threads wait: half-sync/half-async,
    /// stages, leader and followers.
    LoopAndWorkers,
    /// It asks again and again instead of waiting.
    BusyLoop,
    /// It cannot be told.
    #[default]
    Unknown,
}

impl Mechanism {
    /// Its word.
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
