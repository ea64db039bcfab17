//! The load generator: measures a server under load.
//!
//! The generator checks every reply. A wrong reply is counted as an outcome and gives no latency.
//!
//! A [`LoadSpec`] describes the requests, their connections and their arrival process. Each
//! [`Generator`] runs on a thread of its own and sends the requests of its connections. [`run`]
//! starts the generators and collects their intervals. A [`Measurement`] is the result of a run,
//! with its validity.

mod assessment;
mod connections;
mod engine;
mod generator;
pub mod histogram_log;
mod idle_connections;
pub mod interleaved;
mod load_spec;
mod lost_time;
mod machine;
mod measure;
mod measurement;
mod outcome;
pub mod placement;
mod recorder;
mod reply_template;
mod request_reply;
pub mod server_stats;
pub mod syscalls;
mod validity;
mod workloads;

pub use engine::{Course, Ran, Watch, run};
pub use generator::{Generator, Until};
pub use idle_connections::{IdleConnections, WINDOW};
pub use load_spec::{ArrivalProcess, Arrivals, Group, LoadSpec};
pub use lost_time::{LostShares, LostTime};
pub use measure::{Measuring, load, measure};
pub use measurement::{About, Held, Measurement};
pub use outcome::{Outcome, Outcomes};
pub use recorder::{Interval, Recorder};
pub use reply_template::ReplyTemplate;
pub use request_reply::{RequestReply, exchanges, usual};
pub use validity::{Caveat, CaveatKind, Validity, Verdict};
pub use workloads::{LEAST_HELD, Load, Others, Plan, WORKLOADS, Workload, enough_descriptors};
