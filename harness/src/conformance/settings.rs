//! Settings of a test run.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::known_failures::KnownFailures;
use super::round_trip::RoundTrip;
use crate::server::Launcher;

/// Time limit of a case, as a multiple of the timeout of one wait. It bounds the delay by a server
/// whose replies are all slow.
pub(super) const TIMEOUTS_PER_CASE: u32 = 6;

/// Time limit of all cases of a server, if none is set, as a multiple of the timeout of one wait.
/// It bounds the check of a server that takes the CPUs from the harness.
const TIMEOUTS_PER_SERVER: u32 = 120;

/// Minimum of the time limit of all cases of a server, if none is set.
const MIN_TIME_PER_SERVER: Duration = Duration::from_secs(600);

/// A function that the runner calls with the name of each case before it runs the case.
#[derive(Clone)]
pub struct OnCaseStart(pub Arc<dyn Fn(&'static str) + Send + Sync>);

impl fmt::Debug for OnCaseStart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OnCaseStart")
    }
}

/// Runs cases with these settings.
#[derive(Clone, Debug)]
pub struct Runner {
    /// Launcher of the servers under test, with resource limits.
    pub launcher: Launcher,
    /// Random seed of the cases.
    pub seed: u64,
    /// Timeout of one wait, for a reply or an event.
    pub timeout: Duration,
    /// The known failures of servers.
    pub known_failures: KnownFailures,
    /// Number of cases that run in parallel. Because cases mostly wait, it may exceed the number of
    /// CPUs.
    pub parallel_cases: usize,
    /// The counterexample to replay, if any. A case with random inputs then tests only this value.
    pub replay: Option<serde_json::Value>,
    /// Time limit for all cases of one server; `None` for the default. After this time, no case
    /// starts, and waits of running cases time out.
    pub within: Option<Duration>,
    /// The deadline that follows from the time limit; set when the cases start.
    pub deadline: Option<Instant>,
    /// Round-trip time to the server, if the harness did not launch it.
    pub round_trip: RoundTrip,
    /// Set to start no further case; see [`stop`](Self::stop).
    pub stopped: Arc<AtomicBool>,
    /// Called when a case starts.
    pub on_case_start: Option<OnCaseStart>,
}

impl Runner {
    /// Returns a runner with a timeout of 5 s and 12 cases in parallel.
    pub fn new(launcher: Launcher, seed: u64) -> Runner {
        Runner {
            launcher: launcher.with_task_limit(),
            seed,
            timeout: Duration::from_secs(5),
            known_failures: KnownFailures::default(),
            parallel_cases: 12,
            replay: None,
            within: None,
            deadline: None,
            round_trip: RoundTrip::default(),
            stopped: Arc::default(),
            on_case_start: None,
        }
    }

    /// Returns the time limit of all cases of a server.
    pub(super) fn time_limit(&self) -> Duration {
        self.within.unwrap_or_else(|| MIN_TIME_PER_SERVER.max(self.timeout * TIMEOUTS_PER_SERVER))
    }

    /// Starts no further case of any server. Cases that run are completed; the others have no
    /// result.
    pub fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    /// Returns whether [`stop`](Self::stop) was called.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }
}
