//! Reconnects during a load run, and the outages that they ended.

use serde::{Deserialize, Serialize};

use crate::stats::Quantiles;

/// Reconnects of `harness load --reconnect`.
///
/// An outage is the time from the close of a connection to the next correct reply on its slot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Reconnects {
    /// Number of reconnects: outages that ended with a correct reply.
    pub reconnected: u64,
    /// Number of attempts to connect that failed.
    pub failed_attempts: u64,
    /// Number of slots without a correct reply since their connection closed, at the end of the
    /// run.
    pub down_at_end: u64,
    /// Length of the outages, in nanoseconds. An outage that has not ended counts with its age,
    /// which is a lower bound.
    pub outage_ns: Quantiles,
}

impl Reconnects {
    /// Returns the reconnects of two runs: sums, and the largest quantiles.
    pub(super) fn merged(self, other: &Reconnects) -> Reconnects {
        Reconnects {
            reconnected: self.reconnected + other.reconnected,
            failed_attempts: self.failed_attempts + other.failed_attempts,
            down_at_end: self.down_at_end + other.down_at_end,
            outage_ns: self.outage_ns.largest(&other.outage_ns),
        }
    }
}
