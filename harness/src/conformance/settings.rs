//! Settings of a test run.

use std::time::{Duration, Instant};

use super::known_failures::KnownFailures;
use crate::server::Launcher;

/// Deadline of a case, as a multiple of the timeout of one wait. A server that is slow at
/// everything must not delay the run without bound.
pub(super) const PATIENCES: u32 = 6;

/// The cases that test whether a plain request is answered by one line.
pub(super) const PLAIN: &[&str] = &["framing/single", "framing/one-line"];

/// Runs cases with these settings.
#[derive(Clone, Debug)]
pub struct Runner {
    /// Launches the servers under test, with resource limits.
    pub launcher: Launcher,
    /// Random seed of the cases.
    pub seed: u64,
    /// Timeout of one wait, for a reply or an event.
    pub patience: Duration,
    /// The known failures of servers.
    pub expected: KnownFailures,
    /// Number of cases that run in parallel. Cases mostly wait, so it may exceed the number of
    /// CPUs.
    pub at_once: usize,
    /// A counterexample to replay. A case with random inputs tests only this value.
    pub replay: Option<serde_json::Value>,
    /// Time limit for all cases of one server. After it no case starts and running cases stop.
    pub within: Option<Duration>,
    /// The deadline that follows from `within`.
    pub until: Option<Instant>,
}

impl Runner {
    /// Returns a runner with a timeout of 5 s and 12 cases in parallel.
    pub fn new(launcher: Launcher, seed: u64) -> Runner {
        let (patience, expected) = (Duration::from_secs(5), KnownFailures::default());
        let launcher = launcher.bounded();
        Runner {
            launcher,
            seed,
            patience,
            expected,
            at_once: 12,
            replay: None,
            within: None,
            until: None,
        }
    }

    /// Returns the deadline of a case that starts now.
    pub(super) fn out_of_time(&self) -> Instant {
        self.not_later(Instant::now() + self.patience * PATIENCES)
    }

    /// Limits a deadline to that of the server.
    pub(super) fn not_later(&self, moment: Instant) -> Instant {
        self.until.map_or(moment, |until| moment.min(until))
    }
}
