//! Decides the limits of a server.

use std::num::NonZero;
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};

use crate::config::Config;
use crate::pattern::{Capacity, Pattern, Workers};

/// Default maximum length of a request, in bytes.
pub const MAX_LINE: usize = 4096;

/// Maximum number of workers.
pub const MAX_WORKERS: usize = 1024;

/// The limits that a user may set; `None` leaves the choice to the pattern.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// Maximum number of connections.
    pub max_connections: Option<usize>,
    /// Number of threads or processes that serve.
    pub workers: Option<usize>,
    /// Length of the accept queue.
    pub backlog: Option<u32>,
    /// Time without input, or without progress on unsent replies, after which a connection is
    /// closed.
    pub idle_timeout: Option<Duration>,
    /// Maximum length of a request, in bytes.
    pub max_line: Option<usize>,
}

/// A limit that the pattern does not support.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// The pattern serves one client, but another number was requested.
    #[error("{0} serves one client at a time; omit the connection limit")]
    ServesOne(&'static str),
    /// The pattern serves one client per worker, but a number of connections was requested.
    #[error("{0} serves one client per worker; set the number of workers instead")]
    ServesOnePerWorker(&'static str),
    /// Fewer connections than workers.
    #[error(
        "{0} runs {1} workers with one client each; allow at least {1} connections or set fewer workers"
    )]
    FewerThanWorkers(&'static str, usize),
    /// More connections than the pattern supports.
    #[error(
        "{id} serves at most {max} connections at a time: {reason}; set a limit from 1 to {max}"
    )]
    TooMany {
        /// The pattern.
        id: &'static str,
        /// Maximum of the pattern.
        max: usize,
        /// The reason for the maximum.
        reason: &'static str,
    },
    /// More connections than the descriptor limit of this process allows.
    #[error(
        "this process may open {0} descriptors, which leaves {1} for clients; set a lower connection limit or raise the descriptor limit (ulimit -n)"
    )]
    TooFewDescriptors(usize, usize),
    /// The pattern has no configurable number of workers.
    #[error("{id} runs {workers}; omit the number of workers")]
    NoWorkers {
        /// The pattern.
        id: &'static str,
        /// Description of the pattern's workers.
        workers: String,
    },
    /// The number of workers is out of range.
    #[error("{0} supports 1 to {MAX_WORKERS} workers")]
    WorkersOutOfRange(&'static str),
}

impl Pattern {
    /// Returns how many connections are served at once, and how many more may wait for a worker.
    pub fn connection_slots(&self, config: &Config) -> (usize, usize) {
        match self.capacity {
            Capacity::PerWorkerAndQueue(_) => {
                (config.workers, config.max_connections - config.workers)
            }
            _ => (config.max_connections, 0),
        }
    }

    pub(crate) fn workers(&self, requested: Option<usize>) -> Result<usize, LimitsError> {
        let default = match self.workers {
            Workers::One | Workers::PerClient(_) => match requested {
                None => return Ok(1),
                Some(_) => {
                    let workers = self.workers.description(None);
                    return Err(LimitsError::NoWorkers { id: self.id, workers });
                }
            },
            Workers::PerCore(_) => thread::available_parallelism().map_or(1, NonZero::get),
            Workers::Pool(_, default) => default,
        };
        match requested.unwrap_or(default) {
            workers @ 1..=MAX_WORKERS => Ok(workers),
            _ => Err(LimitsError::WorkersOutOfRange(self.id)),
        }
    }

    pub(crate) fn max_connections(
        &self,
        requested: Option<usize>,
        workers: usize,
    ) -> Result<usize, LimitsError> {
        match (self.capacity, requested) {
            (Capacity::One, None | Some(1)) => Ok(1),
            (Capacity::One, Some(_)) => Err(LimitsError::ServesOne(self.id)),
            (Capacity::PerWorker, None) => Ok(workers),
            (Capacity::PerWorker, Some(_)) => Err(LimitsError::ServesOnePerWorker(self.id)),
            (Capacity::PerWorkerAndQueue(queue), None) => Ok(workers + queue),
            (Capacity::PerWorkerAndQueue(_), Some(requested)) if requested < workers => {
                Err(LimitsError::FewerThanWorkers(self.id, workers))
            }
            (Capacity::PerWorkerAndQueue(_), Some(requested)) => {
                within_descriptors(requested, workers)
            }
            (Capacity::Limited { default, .. }, None) => {
                Ok(default.min(available_for_connections(workers)).max(1))
            }
            (Capacity::Limited { max, reason, .. }, Some(requested)) => {
                if (1..=max).contains(&requested) {
                    within_descriptors(requested, workers)
                } else {
                    Err(LimitsError::TooMany { id: self.id, max, reason })
                }
            }
        }
    }
}

/// Descriptors that a server needs in addition to its connections and workers, with a margin.
const RESERVED_DESCRIPTORS: usize = 64;

/// Descriptors per worker: a listener, a spare descriptor, and an epoll instance or a ring.
const DESCRIPTORS_PER_WORKER: usize = 3;

fn within_descriptors(requested: usize, workers: usize) -> Result<usize, LimitsError> {
    match available_for_connections(workers) {
        max if requested > max => Err(LimitsError::TooFewDescriptors(descriptor_limit(), max)),
        _ => Ok(requested),
    }
}

/// Returns how many connections the descriptor limit of this process allows.
fn available_for_connections(workers: usize) -> usize {
    descriptor_limit().saturating_sub(RESERVED_DESCRIPTORS + DESCRIPTORS_PER_WORKER * workers)
}

/// Returns the hard limit of descriptors. A server raises its soft limit to the hard limit.
fn descriptor_limit() -> usize {
    let hard = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(_, hard)| hard);
    usize::try_from(hard).unwrap_or(usize::MAX)
}
