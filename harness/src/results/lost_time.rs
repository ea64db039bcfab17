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
