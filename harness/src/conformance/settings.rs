//! How servers are judged.

use std::time::{Duration, Instant};

use super::known_failures::KnownFailures;
use crate::server::Launcher;

/// How often the patience of a case may be used up before the case is over: a server that is slow
/// at everything is not waited for without end.
pub(super) const PATIENCES: u32 = 6;

/// The cases that say whether a plain request is answered by one line.
pub(super) const PLAIN: &[&str] = &["framing/single", "framing/one-line"];

/// How to judge.
#[derive(Clone, Debug)]
pub struct Runner {
    /// What starts the servers. They are bounded.
    pub launcher: Launcher,
    /// For all chance in the cases.
    pub seed: u64,
    /// How long to wait for what should come.
    pub patience: Duration,
    /// What servers are expected to fail in.
    pub expected: KnownFailures,
    /// Cases at a time. They mostly wait, so more than there are processors.
    pub at_once: usize,
    /// A counterexample to try again, and nothing else, in cases that draw what they try.
    pub replay: Option<serde_json::Value>,
    /// How long the judgement of one server may take: no case is begun after that, nor goes on.
    pub within: Option<Duration>,
    /// When that is over.
    pub until: Option<Instant>,
}

impl Runner {
    /// A judge with the usual patience.
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

    /// By when a case that begins now must be over.
    pub(super) fn out_of_time(&self) -> Instant {
        self.not_later(Instant::now() + self.patience * PATIENCES)
    }

    /// This moment, or the one at which the judgement of the server must be over.
    pub(super) fn not_later(&self, moment: Instant) -> Instant {
        self.until.map_or(moment, |until| moment.min(until))
    }
}
