//! Describes a pattern.

use std::io;

use crate::config::Config;
use crate::io_uring;
use crate::sockets::Listener;

/// A way to organise accepting, reading and answering.
#[derive(Debug)]
pub struct Pattern {
    /// Its stable name.
    pub id: &'static str,
    /// How it works, in a line.
    pub summary: &'static str,
    /// What it is akin to.
    pub family: Family,
    /// Which of the designs 0 to 8 of Stevens, *UNIX Network Programming* volume 1 (third edition,
    /// chapter 30), it is.
    pub stevens: &'static [u8],
    /// Known programs that are built so.
    pub used_by: &'static str,
    /// What runs at the same time.
    pub workers: Workers,
    /// How many clients it serves at once.
    pub capacity: Capacity,
    /// What a client meets when the capacity is used up.
    pub when_full: OverloadPolicy,
    /// The length of the accept queue that it asks for, where the user asks for none.
    pub backlog: u32,
    /// Serves until asked to stop, then drains.
    pub serve: fn(Listener, &Config) -> io::Result<()>,
}

/// What patterns have in common, in the order in which to read about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A client at a time.
    Iterative,
    /// A process serves a client to its end.
    Processes,
    /// A thread serves a client to its end.
    Threads,
    /// One thread waits for all clients.
    Loop,
    /// Several threads, each of which waits for clients of its own.
    Loops,
    /// What is ready is found in one place and served in another.
    Workers,
    /// A runtime makes tasks that seem to block out of an event loop.
    Tasks,
    /// The kernel does the input and output, and tells when it is done.
    Rings,
}

impl Family {
    /// All of them.
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

    /// The name used in lists.
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

/// What runs at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// Nothing: one thread serves.
    One,
    /// One for each client.
    PerClient(Unit),
    /// So many as there are processors, unless the user sets another number.
    PerCore(Unit),
    /// So many, unless the user sets another number.
    Pool(Unit, usize),
}

/// What a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A process.
    Process,
    /// A thread.
    Thread,
}

impl Workers {
    /// Who serves, in words: `one thread`, `a process for each client`, `a thread for each core`.
    /// `asked` is the number that the user has set.
    pub fn description(self, asked: Option<usize>) -> String {
        match (self, asked) {
            (Workers::One, _) => "one thread".to_owned(),
            (Workers::PerClient(unit), _) => format!("a {} for each client", unit.name()),
            (Workers::PerCore(unit), None) => format!("a {} for each core", unit.name()),
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

/// How many clients a pattern serves at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// One, by construction.
    One,
    /// One for each worker.
    PerWorker,
    /// One for each worker, and so many more are taken in and wait for a worker, unless the user
    /// sets another limit on both together.
    PerWorkerAndQueue(usize),
    /// As many as the user sets.
    Limited {
        /// Unless the user sets another.
        default: usize,
        /// What the pattern could serve at most.
        most: usize,
        /// What sets that maximum.
        because: &'static str,
    },
}

impl Capacity {
    /// How many clients are served at once where the user sets nothing, in words.
    pub fn description(self) -> String {
        match self {
            Capacity::One => "1".to_owned(),
            Capacity::PerWorker => "1 for each of them".to_owned(),
            Capacity::PerWorkerAndQueue(queue) => format!("1 for each of them, {queue} more wait"),
            Capacity::Limited { default, .. } => format!("{default}"),
        }
    }

    /// That of a pattern for which a client is a descriptor and some memory.
    pub const BY_DESCRIPTORS: Capacity = Capacity::Limited {
        default: 10_000,
        most: 1_000_000,
        because: "the kernel's default limit is 1,048,576 descriptors for a process",
    };
}

/// What a client meets when a server is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverloadPolicy {
    /// It waits in the backlog and is served later.
    Wait,
    /// Its connection is refused: ECONNREFUSED.
    Refuse,
    /// It is connected, then reset.
    Reset,
    /// It is connected, told in a line beginning with `error: busy`, and sees a clean end.
    Busy,
}

impl OverloadPolicy {
    /// All of them.
    pub const ALL: &[OverloadPolicy] = &[
        OverloadPolicy::Wait,
        OverloadPolicy::Refuse,
        OverloadPolicy::Reset,
        OverloadPolicy::Busy,
    ];

    /// What a client sees, in words.
    pub fn description(self) -> &'static str {
        match self {
            OverloadPolicy::Wait => "waits in the backlog",
            OverloadPolicy::Refuse => "connection refused",
            OverloadPolicy::Reset => "connected, then reset",
            OverloadPolicy::Busy => "a busy line, then a clean end",
        }
    }

    /// The name used on the command line and in reports.
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
    /// What stands against running it here, if anything: a server that cannot run is not a server
    /// that fails.
    pub fn unavailable(&self) -> Option<String> {
        match self.family {
            Family::Rings => io_uring::unavailable(),
            _ => None,
        }
    }
}
