//! What kept the harness from judging a case.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::figures::round_trip;

/// What kept the harness from judging a case. It is no fault of the server.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Obstacle {
    /// The server is so far away that the time limit of the case does not suffice.
    Distance {
        /// Round-trip time to the server, in microseconds.
        round_trip_us: u64,
    },
    /// Other programs, or other servers under test, used the CPUs.
    Overload {
        /// Share of the time of the case in which the harness was ready to run and got no CPU.
        waited_share: f64,
    },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::Distance { round_trip_us } => {
                let time = round_trip(*round_trip_us);
                write!(to, "the server is far away: the round-trip time is {time}")
            }
            Obstacle::Overload { waited_share } => {
                write!(to, "the machine was overloaded: the harness waited for a CPU for ")?;
                write!(to, "{:.0} % of the time", waited_share * 100.0)
            }
        }
    }
}
