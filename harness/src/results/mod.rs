//! The data that the test cases and the load generator produce, and from which reports are made.
//!
//! All types are owned data, and can be written to and read from `report.json`. A [`Report`] has
//! the results of a run.

mod case_result;
mod concurrency_model;
mod discovery;
mod event;
mod fault;
mod known_failure;
mod latency_histogram;
mod launch_findings;
mod local_error;
mod lost_time;
mod measurement;
mod merge;
mod obstacle;
mod outcome;
mod overload;
mod provocation;
mod quoted;
mod read;
mod reconnects;
mod report;
mod resources;
mod run_figures;
#[cfg(test)]
mod schema;
mod server_stats;
mod start_state;
mod stimulus;
mod survivor;
mod validity;
mod verdict;

pub use crate::environment::Environment;
pub use crate::exit::Exit;
pub use crate::stats::{Interval, Quantiles};
pub use case_result::CaseResult;
pub use concurrency_model::ConcurrencyModel;
pub use discovery::Discovery;
pub use event::{Event, EventKind};
pub use fault::Fault;
pub use known_failure::{KnownFailure, KnownVerdict};
pub use latency_histogram::LatencyHistogram;
pub use launch_findings::{HiddenBy, LaunchFindings, ProcessView};
pub use local_error::{LocalError, LocalErrors};
pub use lost_time::LostShares;
pub use measurement::{IdleConnectionCost, Measurement};
pub use obstacle::Obstacle;
pub use outcome::{Outcome, Outcomes};
pub use overload::{Overload, OverloadOutcome};
pub use provocation::{Provocation, Provoked};
pub use quoted::Quoted;
pub use read::ReadError;
pub use reconnects::Reconnects;
pub use report::{FORMAT, NotMeasured, Report, ServerResult};
pub use resources::{Sample, format_changes};
pub use run_figures::{MemoryAt, RateFigures, RunFigures, TimeSeries};
pub use server_stats::ServerStats;
pub use start_state::StartState;
pub use stimulus::{Difference, Stimulus};
pub use survivor::Survivor;
pub use validity::{Caveat, CaveatKind, Validity, ValidityLabel};
pub use verdict::{Kind, Level, State, Verdict};
