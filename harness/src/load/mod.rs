//! The load generator: measures a server under load.
//!
//! The generator checks every reply. It counts wrong replies, and leaves them out of the latency
//! figures.
//!
//! A [`LoadSpec`] describes the requests, their connections and their arrival process. Each
//! [`Generator`] runs on a separate thread and sends the requests of its connections. [`run`]
//! starts the generators and collects their records, one for each interval of the run. A
//! [`Measurement`](crate::results::Measurement) has the results of a run and their validity.

mod assessment;
mod clock;
mod connections;
mod engine;
mod generator;
pub mod histogram_log;
mod idle_connections;
mod idle_measurement;
pub mod interleaved;
mod interval;
mod load_spec;
mod lost_time;
mod machine;
mod measure;
mod measurement_settings;
pub mod placement;
mod recorder;
mod reply_template;
mod request_reply;
mod run_description;
mod saturation;
pub mod server_stats;
pub mod syscalls;
mod timeouts;
mod workloads;

pub use engine::{Observer, RunResult, RunSettings, run};
pub use generator::Generator;
pub use generator::quota::Until;
pub use idle_connections::{IdleConnections, WINDOW};
pub use interval::Interval;
pub use load_spec::{ArrivalProcess, Arrivals, ConnectionGroup, LoadSpec};
pub use lost_time::LostTime;
pub use measure::measure;
pub use measurement_settings::{LiveEvent, LiveEvents, MeasurementSettings, load, load_live};
pub use recorder::Recorder;
pub use reply_template::ReplyTemplate;
pub use request_reply::{RequestReply, exchanges, exchanges_for};
pub use run_description::RunDescription;
pub use timeouts::{MAX_TIMEOUT, MIN_TIMEOUT};
pub use workloads::applicable::{Unsuitable, enough_descriptors};
pub use workloads::{
    Background, Load, MIN_IDLE_CONNECTIONS, Plan, WORKLOADS, Workload, WorkloadSet,
};
