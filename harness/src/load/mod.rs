//! Measuring a server under load. Every reply is checked: a wrong one is an outcome, never a
//! latency.
//!
//! A [`Demand`] says what is asked by whom and when; [`Generator`]s ask, each on a thread of its
//! own with its connections; [`run`] makes a run of them, interval by interval; a [`Measurement`]
//! is what that comes to, and whether it is to be believed.

pub mod alternation;
mod assessment;
mod connections;
mod demand;
mod dialog;
mod engine;
mod exchange;
mod generator;
mod herd;
pub mod histogram_log;
mod lost_time;
mod machine;
mod measure;
mod measurement;
mod outcome;
pub mod placement;
mod recorder;
pub mod side;
pub mod syscalls;
mod validity;
mod workloads;

pub use demand::{Arrivals, Demand, Group, Pace};
pub use dialog::Dialog;
pub use engine::{Course, Ran, Watch, run};
pub use exchange::{Exchange, exchanges, usual};
pub use generator::{Generator, Until};
pub use herd::{Herd, WINDOW};
pub use lost_time::{LostShares, LostTime};
pub use measure::{Measuring, load, measure};
pub use measurement::{About, Held, Measurement};
pub use outcome::{Outcome, Outcomes};
pub use recorder::{Interval, Recorder};
pub use validity::{Caveat, CaveatKind, Validity, Verdict};
pub use workloads::{LEAST_HELD, Load, Others, Plan, WORKLOADS, Workload, enough_descriptors};
