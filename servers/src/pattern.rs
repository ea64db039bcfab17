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
    /// The designs 0 to 8 of Stevens, *UNIX Network Programming* volume 1 (third edition, chapter
    /// 30), that it implements.
    pub stevens: &'static [u8],
    /// Known programs with this architecture.
    pub used_by: &'static str,
    /// The units that run concurrently.
    pub workers: Workers,
    /// Number of clients that it serves at once.
    pub capacity: Capacity,
    /// Its behaviour towards a connection over the limit.
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
    /// One process for each connection.
    Processes,
    /// One thread for each connection.
    Threads,
    /// One thread waits for all connections.
    Loop,
    /// Several threads, each with its own connections.
    Loops,
    /// One thread detects readiness, others serve.
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
            Family::Loops => "several event loops",
            Family::Workers => "a loop and workers",
            Family::Tasks => "tasks",
            Family::Rings => "io_uring",
        }
    }
}

/// The units that run concurrently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One thread serves.
    One,
    /// One per connection.
    PerClient(Unit),
    /// One per CPU, unless the user sets another number.
    PerCore(Unit),
    /// A fixed number, unless the user sets another.
    Pool(Unit, usize),
}

/// The kind of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A process.
    Process,
    /// A thread.
    Thread,
}

impl Workers {
    /// Describes the workers: `one thread`, `one process per client`, `one thread per core`.
    /// `asked` is the number that the user has set.
    pub fn description(self, asked: Option<usize>) -> String {
        match (self, asked) {
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

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Unit::Process => "process",
            Unit::Thread => "thread",
        }
    }

    fn count(self, number: usize) -> String {
        match (self, number) {
            (_, 1) => format!("one {}", self.name()),
            (Unit::Process, _) => format!("{number} processes"),
            (Unit::Thread, _) => format!("{number} threads"),
        }
    }
}

/// Number of clients that a pattern serves at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// One, by construction.
    One,
    /// One per worker.
    PerWorker,
    /// One per worker, and this many more may wait for a worker, unless the user limits both
    /// together.
    PerWorkerAndQueue(usize),
    /// As many as the user sets.
    Limited {
        /// Default.
        default: usize,
        /// Maximum.
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

    /// The capacity of a pattern whose cost per connection is a descriptor and some memory.
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

    /// Describes the client's view.
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
    /// Returns why the pattern cannot run on this machine, if so. Such a server is not counted as
    /// failed.
    pub fn unavailable(&self) -> Option<String> {
        match self.family {
            Family::Rings => io_uring::unavailable(),
            _ => None,
        }
    }
}
