//! What servers there are: the words to describe a pattern, and the names to find one by.

use std::fmt;
use std::io;
use std::num::NonZero;
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};

use crate::{Config, Listener, PATTERNS, Service, ring};

/// The longest request by default, in bytes.
pub const MAX_LINE: usize = 4096;

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
    pub when_full: WhenFull,
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

/// The most workers that a user may ask for.
pub const MOST_WORKERS: usize = 1024;

impl Workers {
    /// Who serves, in words: `one thread`, `a process for each client`, `a thread for each core`.
    /// `asked` is the number that the user has set.
    pub fn words(self, asked: Option<usize>) -> String {
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
    pub fn words(self) -> String {
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
pub enum WhenFull {
    /// It waits in the backlog and is served later.
    Wait,
    /// Its connection is refused: ECONNREFUSED.
    Refuse,
    /// It is connected, then reset.
    Reset,
    /// It is connected, told in a line beginning with `error: busy`, and sees a clean end.
    Busy,
}

impl WhenFull {
    /// All of them.
    pub const ALL: &[WhenFull] =
        &[WhenFull::Wait, WhenFull::Refuse, WhenFull::Reset, WhenFull::Busy];

    /// What a client sees, in words.
    pub fn words(self) -> &'static str {
        match self {
            WhenFull::Wait => "waits in the backlog",
            WhenFull::Refuse => "connection refused",
            WhenFull::Reset => "connected, then reset",
            WhenFull::Busy => "a busy line, then a clean end",
        }
    }

    /// The name used on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            WhenFull::Wait => "wait",
            WhenFull::Refuse => "refuse",
            WhenFull::Reset => "reset",
            WhenFull::Busy => "busy",
        }
    }
}

/// A pattern with a service: what `harness serve` runs.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// How it serves.
    pub pattern: &'static Pattern,
    /// What it answers.
    pub service: Service,
}

/// What a user may limit. `None` leaves it to the pattern.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// The most clients taken in at once.
    pub max_connections: Option<usize>,
    /// How many threads or processes serve.
    pub workers: Option<usize>,
    /// The length of the accept queue to ask for.
    pub backlog: Option<u32>,
    /// How long a client may be silent.
    pub idle_timeout: Option<Duration>,
    /// The longest request in bytes.
    pub max_line: Option<usize>,
}

/// A limit that a pattern cannot keep.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// More or fewer clients were asked of a pattern that serves one.
    #[error("{0} serves one client at a time: leave out the limit on connections")]
    ServesOne(&'static str),
    /// A number of clients was asked of a pattern that serves one for each worker.
    #[error("{0} serves one client for each worker: set the number of workers instead")]
    ServesOnePerWorker(&'static str),
    /// Fewer clients than workers.
    #[error(
        "{0} has {1} workers, a client each: allow at least {1} connections, or set fewer workers"
    )]
    FewerThanWorkers(&'static str, usize),
    /// More clients than the pattern could serve.
    #[error("{id} serves at most {most} clients at once ({because}): ask for 1 to {most}")]
    TooMany {
        /// The pattern.
        id: &'static str,
        /// Its maximum.
        most: usize,
        /// What sets it.
        because: &'static str,
    },
    /// More clients than this process may have descriptors.
    #[error(
        "this process may open {0} descriptors, which leaves {1} for clients: ask for fewer, or raise the limit (ulimit -n)"
    )]
    TooFewDescriptors(usize, usize),
    /// A number of workers was asked of a pattern that has none to number.
    #[error("{id} has {has}: leave out the number of workers")]
    NoWorkers {
        /// The pattern.
        id: &'static str,
        /// What it has.
        has: String,
    },
    /// None, or more than is sensible.
    #[error("{0} can have 1 to {MOST_WORKERS} workers")]
    WorkersOutOfRange(&'static str),
}

/// The original four programs, by the names they had.
const ORIGINALS: &[(&str, &str, Service)] = &[
    ("server1", "iterative-refuse", Service::Calc),
    ("server2", "thread-per-connection", Service::Calc),
    ("server3", "select", Service::Calc),
    ("server4", "select", Service::Echo),
];

/// Every server: each pattern with each service.
pub fn servers() -> impl Iterator<Item = Server> {
    PATTERNS
        .iter()
        .flat_map(|pattern| Service::ALL.iter().map(move |&service| Server { pattern, service }))
}

/// Finds a server by name: `select-echo`, `select` (with calc), or one of `server1` to `server4`.
pub fn find(name: &str) -> Option<Server> {
    let original = ORIGINALS.iter().find(|(alias, ..)| *alias == name);
    let (id, service) = match original {
        Some(&(_, id, service)) => (id, service),
        None => Service::ALL
            .iter()
            .find_map(|&service| {
                let id = name.strip_suffix(service.name())?.strip_suffix('-')?;
                Some((id, service))
            })
            .unwrap_or((name, Service::Calc)),
    };
    let pattern = PATTERNS.iter().find(|pattern| pattern.id == id)?;
    Some(Server { pattern, service })
}

impl Server {
    /// Its one name, such as `select-echo`.
    pub fn name(&self) -> String {
        format!("{}-{}", self.pattern.id, self.service.name())
    }

    /// Which of the original four programs it is, if any.
    pub fn original(&self) -> Option<&'static str> {
        ORIGINALS
            .iter()
            .find(|(_, id, service)| *id == self.pattern.id && *service == self.service)
            .map(|(alias, ..)| *alias)
    }

    /// Decides every limit.
    ///
    /// # Errors
    /// A limit that the pattern cannot keep.
    pub fn config(&self, limits: &Limits) -> Result<Config, LimitsError> {
        let workers = self.pattern.workers(limits.workers)?;
        Ok(Config {
            service: self.service,
            max_line: limits.max_line.unwrap_or(MAX_LINE),
            max_connections: self.pattern.max_connections(limits.max_connections, workers)?,
            workers,
            idle_timeout: limits.idle_timeout,
        })
    }
}

impl Pattern {
    /// How many clients it serves at once, and how many more it takes in to wait for a worker.
    pub fn places(&self, config: &Config) -> (usize, usize) {
        match self.capacity {
            Capacity::PerWorkerAndQueue(_) => {
                (config.workers, config.max_connections - config.workers)
            }
            _ => (config.max_connections, 0),
        }
    }

    /// What stands against running it here, if anything: a server that cannot run is not a server
    /// that fails.
    pub fn unavailable(&self) -> Option<String> {
        match self.family {
            Family::Rings => ring::unavailable(),
            _ => None,
        }
    }

    fn workers(&self, asked: Option<usize>) -> Result<usize, LimitsError> {
        let default = match self.workers {
            Workers::One | Workers::PerClient(_) => match asked {
                None => return Ok(1),
                Some(_) => {
                    let has = self.workers.words(None);
                    return Err(LimitsError::NoWorkers { id: self.id, has });
                }
            },
            Workers::PerCore(_) => thread::available_parallelism().map_or(1, NonZero::get),
            Workers::Pool(_, default) => default,
        };
        match asked.unwrap_or(default) {
            workers @ 1..=MOST_WORKERS => Ok(workers),
            _ => Err(LimitsError::WorkersOutOfRange(self.id)),
        }
    }

    fn max_connections(&self, asked: Option<usize>, workers: usize) -> Result<usize, LimitsError> {
        match (self.capacity, asked) {
            (Capacity::One, None | Some(1)) => Ok(1),
            (Capacity::One, Some(_)) => Err(LimitsError::ServesOne(self.id)),
            (Capacity::PerWorker, None) => Ok(workers),
            (Capacity::PerWorker, Some(_)) => Err(LimitsError::ServesOnePerWorker(self.id)),
            (Capacity::PerWorkerAndQueue(queue), None) => Ok(workers + queue),
            (Capacity::PerWorkerAndQueue(_), Some(asked)) if asked < workers => {
                Err(LimitsError::FewerThanWorkers(self.id, workers))
            }
            (Capacity::PerWorkerAndQueue(_), Some(asked)) => within_descriptors(asked, workers),
            (Capacity::Limited { default, .. }, None) => {
                Ok(default.min(enough_for_clients(workers)).max(1))
            }
            (Capacity::Limited { most, because, .. }, Some(asked)) => {
                if (1..=most).contains(&asked) {
                    within_descriptors(asked, workers)
                } else {
                    Err(LimitsError::TooMany { id: self.id, most, because })
                }
            }
        }
    }
}

/// Descriptors that a server needs beside those of its clients and its workers, and then some.
const RESERVED_DESCRIPTORS: usize = 64;

/// Descriptors that a worker needs at most: a listener, one to spare, and an epoll or a ring.
const DESCRIPTORS_OF_A_WORKER: usize = 3;

fn within_descriptors(asked: usize, workers: usize) -> Result<usize, LimitsError> {
    match enough_for_clients(workers) {
        most if asked > most => Err(LimitsError::TooFewDescriptors(descriptors(), most)),
        _ => Ok(asked),
    }
}

/// For how many clients the descriptors suffice that this process may open.
fn enough_for_clients(workers: usize) -> usize {
    descriptors().saturating_sub(RESERVED_DESCRIPTORS + DESCRIPTORS_OF_A_WORKER * workers)
}

/// A program that serves raises its limit as far as it may.
fn descriptors() -> usize {
    let hard = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(_, hard)| hard);
    usize::try_from(hard).unwrap_or(usize::MAX)
}

impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_is_found_by_its_own_name() {
        for server in servers() {
            let found = find(&server.name()).expect("its own name");
            assert_eq!(found.name(), server.name());
        }
    }

    #[test]
    fn the_original_four_are_found_and_know_it() {
        for (alias, id, service) in ORIGINALS {
            let server = find(alias).expect("an original");
            assert_eq!((server.pattern.id, server.service), (*id, *service));
            assert_eq!(server.original(), Some(*alias));
        }
    }

    #[test]
    fn a_bare_pattern_is_a_calculator_and_a_wrong_name_is_nothing() {
        assert_eq!(find("select").map(|server| server.service), Some(Service::Calc));
        for wrong in ["", "selec", "select-", "select-calcs", "server5", "-calc", "calc"] {
            assert!(find(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_pattern_refuses_limits_that_it_cannot_keep() {
        let asked = |name: &str, clients| {
            let limits = Limits { max_connections: Some(clients), ..Limits::default() };
            find(name).expect("a server").config(&limits).map(|config| config.max_connections)
        };
        assert_eq!(asked("select", 64), Ok(64));
        assert!(matches!(asked("select", 0), Err(LimitsError::TooMany { .. })));
        assert!(matches!(asked("select", 1024), Err(LimitsError::TooMany { .. })));
        assert!(matches!(asked("iterative", 2), Err(LimitsError::ServesOne("iterative"))));
    }
}
