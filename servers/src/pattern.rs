//! The description of a pattern.

use std::io;

use crate::config::Config;
use crate::io_uring;
use crate::sockets::Listener;

/// A way to organise accepting, reading and answering.
#[derive(Debug)]
pub struct Pattern {
    /// Stable name.
    pub id: &'static str,
    /// The mechanism, in one line.
    pub summary: &'static str,
    /// Group of related patterns.
    pub family: Family,
    /// The designs (0 to 8) of Stevens, *UNIX Network Programming* volume 1, third edition, chapter
    /// 30, that the pattern implements.
    pub stevens: &'static [u8],
    /// Known programs with this architecture.
    pub used_by: &'static str,
    /// The units that run concurrently.
    pub workers: Workers,
    /// Number of clients that are served at once.
    pub capacity: Capacity,
    /// What happens to a connection over the limit.
    pub when_full: OverloadPolicy,
    /// Default length of the accept queue.
    pub backlog: u32,
    /// Serves until the shutdown request, then drains.
    pub serve: fn(Listener, &Config) -> io::Result<()>,
}

/// Groups of related patterns, in reading order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// One client at a time.
    Iterative,
    /// Each process serves one connection at a time.
    Processes,
    /// Each thread serves one connection at a time.
    Threads,
    /// One thread waits for events of all connections.
    Loop,
    /// Several threads, each with an event loop and separate connections.
    Loops,
    /// Worker threads share one event queue.
    Workers,
    /// Tasks of an async runtime.
    Tasks,
    /// The kernel performs the I/O and reports completions.
    Rings,
}

impl Family {
    /// All families, in reading order.
    pub const ALL: &[Family] = &[
        Family::Iterative,
        Family::Processes,
        Family::Threads,
        Family::Loop,
        Family::Loops,
        Family::Workers,
        Family::Tasks,
        Family::Rings,
    ];

    /// Returns the name in lists.
    pub fn name(self) -> &'static str {
        match self {
            Family::Iterative => "iterative",
            Family::Processes => "processes",
            Family::Threads => "threads",
            Family::Loop => "one event loop",
            Family::Loops => "one event loop per core",
            Family::Workers => "worker threads on one event queue",
            Family::Tasks => "tasks",
            Family::Rings => "io_uring",
        }
    }
}

/// The units that run concurrently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One thread.
    One,
    /// One worker per connection.
    PerClient(WorkerKind),
    /// One worker per CPU, unless the user sets another number.
    PerCore(WorkerKind),
    /// This default number of workers, unless the user sets another.
    Pool(WorkerKind, usize),
}

/// The kind of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerKind {
    /// A process.
    Process,
    /// A thread.
    Thread,
}

impl Workers {
    /// Describes the workers: `one thread`, `one process per client`, `one thread per core`.
    /// `configured` is the number that the user has set.
    pub fn description(self, configured: Option<usize>) -> String {
        match (self, configured) {
            (Workers::One, _) => "one thread".to_owned(),
            (Workers::PerClient(unit), _) => format!("one {} per client", unit.name()),
            (Workers::PerCore(unit), None) => format!("one {} per core", unit.name()),
            (Workers::PerCore(unit), Some(number)) | (Workers::Pool(unit, _), Some(number)) => {
                unit.count(number)
            }
            (Workers::Pool(unit, default), None) => unit.count(default),
        }
    }
}

impl WorkerKind {
    fn name(self) -> &'static str {
        match self {
            WorkerKind::Process => "process",
            WorkerKind::Thread => "thread",
        }
    }

    fn count(self, number: usize) -> String {
        match (self, number) {
            (_, 1) => format!("one {}", self.name()),
            (WorkerKind::Process, _) => format!("{number} processes"),
            (WorkerKind::Thread, _) => format!("{number} threads"),
        }
    }
}

/// Number of clients that a pattern serves at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// One client; not configurable.
    One,
    /// One client per worker.
    PerWorker,
    /// One client per worker, plus a queue of this many accepted connections. `--max-connections`
    /// is the sum of both.
    PerWorkerAndQueue(usize),
    /// A configurable number.
    Limited {
        /// The default number.
        default: usize,
        /// The maximum number.
        max: usize,
        /// The reason for the maximum.
        reason: &'static str,
    },
}

impl Capacity {
    /// Describes the number of clients that are served at once by default.
    pub fn description(self) -> String {
        match self {
            Capacity::One => "1".to_owned(),
            Capacity::PerWorker => "1 per worker".to_owned(),
            Capacity::PerWorkerAndQueue(queue) => format!("1 per worker, {queue} more wait"),
            Capacity::Limited { default, .. } => format!("{default}"),
        }
    }

    /// The capacity of a pattern in which a connection costs only a descriptor and some memory.
    pub const BY_DESCRIPTORS: Capacity = Capacity::Limited {
        default: 10_000,
        max: 1_000_000,
        reason: "the kernel's default limit is 1,048,576 descriptors per process",
    };
}

/// The behaviour of a server towards a connection over the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverloadPolicy {
    /// The connection waits in the accept queue and is served later.
    Wait,
    /// The connection is refused: ECONNREFUSED.
    Refuse,
    /// The connection is accepted, then reset.
    Reset,
    /// The connection is accepted, gets a line that begins with `error: busy`, and is closed
    /// cleanly.
    Busy,
}

impl OverloadPolicy {
    /// All policies.
    pub const ALL: &[OverloadPolicy] = &[
        OverloadPolicy::Wait,
        OverloadPolicy::Refuse,
        OverloadPolicy::Reset,
        OverloadPolicy::Busy,
    ];

    /// Describes what the client sees.
    pub fn description(self) -> &'static str {
        match self {
            OverloadPolicy::Wait => "waits in the accept queue",
            OverloadPolicy::Refuse => "connection refused",
            OverloadPolicy::Reset => "connected, then reset",
            OverloadPolicy::Busy => "busy line, then closed",
        }
    }

    /// Returns the name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            OverloadPolicy::Wait => "wait",
            OverloadPolicy::Refuse => "refuse",
            OverloadPolicy::Reset => "reset",
            OverloadPolicy::Busy => "busy",
        }
    }
}

impl Pattern {
    /// Returns why the pattern cannot run on this machine, or `None` if it can. A server that
    /// cannot run is not counted as failed.
    pub fn unavailable(&self) -> Option<String> {
        match self.family {
            Family::Rings => io_uring::unavailable(),
            _ => None,
        }
    }
}
