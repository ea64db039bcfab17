//! The result of one load run, with its validity.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::latency_histogram::LatencyHistogram;
use super::local_error::LocalErrors;
use super::lost_time::LostShares;
use super::outcome::{Outcome, Outcomes};
use super::reconnects::Reconnects;
use super::run_figures::{MemoryAt, RateFigures, RunFigures, TimeSeries};
use super::server_stats::ServerStats;
use super::validity::Validity;
use crate::stats::{self, Interval, Quantiles, geometric_mean};

/// Result of one load run on one server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Measurement {
    /// Name of the workload.
    pub workload: String,
    /// Number of connections requested.
    pub clients: usize,
    /// Recorded time, in milliseconds.
    pub duration_ms: u64,
    /// Planned recording time, in milliseconds. If the run ended earlier, a caveat gives the
    /// reason.
    pub planned_ms: u64,
    /// Validity of the figures, with all caveats.
    pub validity: Validity,
    /// Whether the run was interrupted.
    pub partial: bool,
    /// Outcomes of the requests.
    pub outcomes: Outcomes,
    /// Outcomes of the connections. `answered` counts the connections that got a reply and stayed
    /// open until the end of the run.
    pub connections: Outcomes,
    /// Connections that this machine or the network could not open or keep. They are not in
    /// `connections`. Their requests without a reply are in flight.
    #[serde(default, skip_serializing_if = "LocalErrors::is_empty")]
    pub local_errors: LocalErrors,
    /// Reconnects, if clients connect again when their connection closes. Then `connections` has
    /// the outcome of the latest connection of each slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconnects: Option<Reconnects>,
    /// Outcomes of the background clients' requests, by group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub background: Vec<Outcomes>,
    /// Offered rate of an open loop, in requests per second.
    pub offered_per_s: Option<f64>,
    /// Correct replies per second.
    pub throughput_per_s: f64,
    /// Latency from the scheduled time of a request to its correct reply. HdrHistogram calls the
    /// scheduled time the intended time.
    ///
    /// In a closed loop, latency begins when the request is sent, and a slow reply delays the next
    /// request. So a stall delays few requests, and the percentiles hide it (coordinated omission).
    ///
    /// In both loops, a request in flight at the end counts with its age, which is a lower bound.
    /// `outcomes` has the number of these requests.
    pub latency_intended_ns: Quantiles,
    /// Latency from the sending of a request to its correct reply.
    pub latency_sent_ns: Quantiles,
    /// 95 % confidence interval of the p99 of `latency_intended_ns`, if there are enough samples.
    pub p99_interval_ns: Option<stats::Interval<u64>>,
    /// Effective sample size: the number of independent samples that would give the same precision.
    /// It is smaller than the number of requests, because latencies in a run are correlated.
    pub effective_samples: Option<f64>,
    /// Delay from the scheduled time of a request to its sending, in an open loop.
    pub send_lateness_ns: Quantiles,
    /// Connect times.
    pub connect_ns: Quantiles,
    /// Time from the scheduled time (in a closed loop, from the sending) of a request to its
    /// failure, by outcome.
    pub failures_ns: BTreeMap<Outcome, Quantiles>,
    /// CPU time of the generator per correct reply, in nanoseconds, if there was a correct reply.
    /// In an open loop, it includes busy waits for the next scheduled time.
    pub generator_cpu_ns_per_request: Option<u64>,
    /// CPU time of the generator divided by the duration of the run; 1 is one busy CPU.
    pub generator_cpu_share: f64,
    /// Relative difference between (throughput × mean latency) and the mean number of requests in
    /// flight, which are equal by Little's law.
    ///
    /// It checks the generator: requests in flight are counted independently of the latencies.
    pub littles_residual: Option<f64>,
    /// Share of the machine's CPU time that the hypervisor gave to other guests (steal), on a
    /// virtual machine.
    pub stolen_share: f64,
    /// Time in which the generator could not run.
    pub lost_time: LostShares,
    /// System calls of the server per correct reply, counted in a separate run. `None` if the count
    /// was not requested or is not permitted.
    pub syscalls_per_request: Option<f64>,
    /// Reason why the system calls were not counted, if the count was requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syscalls_not_counted: Option<String>,
    /// CPUs of the server and the generator.
    pub placement: String,
    /// Resource use of the server; none for a server that the harness did not launch.
    pub server_stats: Option<ServerStats>,
    /// Cost of idle connections, for the workload `idle-memory`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_connections: Option<IdleConnectionCost>,
    /// The runs of this measurement, in order. The other fields summarize all of them.
    pub runs: Vec<RunFigures>,
    /// Figures of the intervals of the first run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_series: Option<TimeSeries>,
    /// Histogram of `latency_intended_ns`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_histogram: Option<LatencyHistogram>,
    /// The rates that the workload `saturation` tried, in ascending order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rates: Vec<RateFigures>,
}

/// Cost of many idle connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct IdleConnectionCost {
    /// Growth of the server's anonymous resident memory, in bytes, divided by the number of
    /// connections that got a reply and stayed open. The growth is from before the first connection
    /// to the end of the run.
    pub memory_per_connection_bytes: u64,
    /// Time until all connections were established and answered once, in milliseconds.
    pub connected_in_ms: u64,
    /// The server's memory while the connections were established, in ascending order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub growth: Vec<MemoryAt>,
}

impl Measurement {
    /// Returns the server's CPU time per correct reply, in nanoseconds, if known.
    pub fn server_cpu_ns_per_request(&self) -> Option<u64> {
        self.server_stats.as_ref()?.cpu_ns_per_request
    }

    /// Returns the main figures, for a measurement of one run.
    pub(crate) fn run_figures(&self) -> RunFigures {
        let idle = self.idle_connections.as_ref();
        RunFigures {
            validity: self.validity.label,
            throughput_per_s: self.throughput_per_s,
            p50_ns: self.latency_intended_ns.p50,
            p99_ns: self.latency_intended_ns.p99,
            server_cpu_ns_per_request: self.server_cpu_ns_per_request(),
            memory_per_connection_bytes: idle.map(|it| it.memory_per_connection_bytes),
            anonymous_bytes: self.server_stats.as_ref().map(|it| it.anonymous_bytes),
        }
    }

    /// Returns the mean of a figure over the runs, with its 95 % confidence interval if there are
    /// enough runs for one. Then the mean is the geometric one. `None` if no run has the figure.
    pub(crate) fn mean_over_runs(
        &self,
        of_run: impl Fn(&RunFigures) -> Option<f64>,
    ) -> Option<(f64, Option<Interval<f64>>)> {
        let values: Vec<f64> = self.runs.iter().filter_map(of_run).collect();
        match geometric_mean(&values) {
            Some((mean, interval)) => Some((mean, Some(interval))),
            None if values.is_empty() => None,
            None => Some((values.iter().sum::<f64>() / values.len() as f64, None)),
        }
    }

    /// Returns whether any request got a correct reply.
    pub fn has_answers(&self) -> bool {
        // Under overload, all replies in the measured interval may belong to requests of the
        // warm-up.
        self.outcomes.get(Outcome::Answered) > 0 || self.throughput_per_s > 0.0
    }

    /// Returns whether this machine or the network prevented the measurement: no request was
    /// answered, and no connection has an outcome of the server.
    pub fn is_prevented(&self) -> bool {
        !self.local_errors.is_empty() && !self.has_answers() && self.connections.sum() == 0
    }

    /// Describes the faults of the server under this load, if any.
    pub fn problem(&self) -> Option<String> {
        self.validity.problem()
    }
}

impl RunFigures {
    /// Returns the figures of a measurement of one run.
    pub fn of(measurement: &Measurement) -> RunFigures {
        let idle = measurement.idle_connections.as_ref();
        RunFigures {
            validity: measurement.validity.label,
            throughput_per_s: measurement.throughput_per_s,
            p50_ns: measurement.latency_intended_ns.p50,
            p99_ns: measurement.latency_intended_ns.p99,
            server_cpu_ns_per_request: measurement.server_cpu_ns_per_request(),
            memory_per_connection_bytes: idle.map(|it| it.memory_per_connection_bytes),
            anonymous_bytes: measurement.server_stats.as_ref().map(|it| it.anonymous_bytes),
        }
    }
}
