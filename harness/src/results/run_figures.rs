//! The main figures of each run behind a measurement, and the figures over the time of one run.

use serde::{Deserialize, Serialize};

use super::validity::ValidityLabel;

/// The main figures of one run. A measurement that was repeated has one entry for each run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunFigures {
    /// Validity label of the run.
    pub validity: ValidityLabel,
    /// Correct replies per second.
    pub throughput_per_s: f64,
    /// Median latency from the scheduled time, in nanoseconds.
    pub p50_ns: Option<u64>,
    /// 99th percentile of the latency from the scheduled time, in nanoseconds.
    pub p99_ns: Option<u64>,
    /// CPU time of the server per correct reply, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_cpu_ns_per_request: Option<u64>,
    /// Memory per idle connection, in bytes, for the workload `idle-memory`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_per_connection_bytes: Option<u64>,
    /// Maximum anonymous memory of the server in the samples, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous_bytes: Option<u64>,
}

/// Figures of the successive intervals of one run, for a plot over time. All lists have the same
/// length.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TimeSeries {
    /// Planned duration of an interval, in milliseconds.
    pub interval_ms: f64,
    /// Correct replies per second.
    pub throughput_per_s: Vec<f64>,
    /// 99th percentile of the latency from the scheduled time, in nanoseconds; `null` with fewer
    /// than 1,000 values.
    pub p99_ns: Vec<Option<u64>>,
    /// CPU time of the server divided by the duration of the interval; 1 is one busy CPU. `null` if
    /// unknown.
    pub server_cpu_share: Vec<Option<f64>>,
}

/// Result of an attempt of the workload `saturation` at one rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RateFigures {
    /// Offered rate, in requests per second.
    pub offered_per_s: f64,
    /// Correct replies per second.
    pub throughput_per_s: f64,
    /// Median latency from the scheduled time, in nanoseconds.
    pub p50_ns: Option<u64>,
    /// 99th percentile of the latency from the scheduled time, in nanoseconds.
    pub p99_ns: Option<u64>,
    /// Whether the server sustained the rate: 98 % of the requests were answered in time, with a
    /// p99 within the limit.
    pub is_sustained: bool,
    /// Whether the generator or the machine limited the attempt. Then the figures say nothing
    /// about the server.
    pub is_limited: bool,
}

/// The server's memory at a number of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemoryAt {
    /// Number of open connections.
    pub connections: u64,
    /// Anonymous resident memory of the server, in bytes.
    pub anonymous_bytes: u64,
}
