//! Time in which the load generator could not run.

use serde::{Deserialize, Serialize};

/// Time in which the generator could not run, by cause, as shares of the run (0 to 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LostShares {
    /// Gaps in the generator's loop, in which the loop neither ran nor waited for an event.
    pub gaps_share: f64,
    /// Longest gap, in nanoseconds.
    pub longest_gap_ns: u64,
    /// Time on the run queue: the generator was runnable, but another thread had the CPU.
    pub run_queue_share: Option<f64>,
    /// Time in which the CPU quota of a cgroup was used up.
    pub throttled_share: Option<f64>,
    /// CPU time of other processes on the generator's CPU. `None` if the generator is not pinned.
    pub other_load_share: Option<f64>,
}

impl LostShares {
    /// Returns the larger of each share.
    pub(super) fn largest(&self, other: &LostShares) -> LostShares {
        let larger = |one: Option<f64>, other: Option<f64>| match (one, other) {
            (Some(one), Some(other)) => Some(one.max(other)),
            (one, other) => one.or(other),
        };
        LostShares {
            gaps_share: self.gaps_share.max(other.gaps_share),
            longest_gap_ns: self.longest_gap_ns.max(other.longest_gap_ns),
            run_queue_share: larger(self.run_queue_share, other.run_queue_share),
            throttled_share: larger(self.throttled_share, other.throttled_share),
            other_load_share: larger(self.other_load_share, other.other_load_share),
        }
    }
}
