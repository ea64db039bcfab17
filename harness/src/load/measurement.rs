//! The result of one load run, with its validity.

use std::collections::BTreeMap;

use serde::Serialize;

use super::lost_time::LostShares;
use super::outcome::{Outcome, Outcomes};
use super::placement::Placement;
use super::server_stats::ServerSide;
use super::validity::Validity;
use crate::stats::{self, Quantiles};

/// Result of one load run on one server.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    /// Name of the workload.
    pub workload: String,
    /// Connections requested.
    pub clients: usize,
    /// Recorded time, in milliseconds.
    pub duration_ms: u64,
    /// Planned recording time, in milliseconds. If the run ended earlier, a caveat gives the
    /// reason.
    pub planned_ms: u64,
    /// Validity of the figures, with all caveats.
    #[serde(flatten)]
    pub validity: Validity,
    /// Whether the run was interrupted.
    pub partial: bool,
    /// Outcomes of the requests.
    pub outcomes: Outcomes,
    /// Outcomes of the connections; `answered` counts those that lasted and got a reply.
    pub connections: Outcomes,
    /// Outcomes of the background clients' requests, by group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<Outcomes>,
    /// Offered rate of an open loop, in requests per second.
    pub offered_per_s: Option<f64>,
    /// Correct replies per second.
    pub throughput_per_s: f64,
    /// Time from a request's due time to its correct reply.
    ///
    /// In a closed loop a request is due when it is sent, and a slow reply delays the next request.
    /// So this is the latency that one client saw, not that of independent arrivals. Requests still
    /// in flight at the end count with their age, which is a lower bound; `outcomes` has their
    /// number.
    pub latency_intended_ns: Quantiles,
    /// Time from sending a request to its correct reply.
    pub latency_sent_ns: Quantiles,
    /// 95 % confidence interval of the p99 of `latency_intended_ns`, if there are enough samples.
    pub p99_interval_ns: Option<stats::Interval<u64>>,
    /// Effective sample size: the number of independent requests with the same information, as the
    /// requests of a run are correlated.
    pub effective_samples: Option<f64>,
    /// Delay between a request's due time and its sending, in an open loop.
    pub send_lateness_ns: Quantiles,
    /// Connect times.
    pub connect_ns: Quantiles,
    /// Time until a request got an outcome other than its correct reply, by outcome.
    pub failures_ns: BTreeMap<&'static str, Quantiles>,
    /// CPU time of the generator per correct reply, if there was one. In an open loop it includes
    /// the busy wait for the next due time.
    pub generator_cpu_ns_per_request: Option<u64>,
    /// CPU time of the generator over the run's time; 1 is one CPU kept busy.
    pub generator_cpu_share: f64,
    /// Relative difference between the mean number of requests in flight and throughput times mean
    /// latency (Little's law).
    ///
    /// It checks the generator's own counting: requests in flight are counted apart from the
    /// latencies.
    pub littles_residual: Option<f64>,
    /// Share of the machine's CPU time that the hypervisor gave to other guests (steal), on a
    /// virtual machine.
    pub stolen_share: f64,
    /// Time that the generator lost.
    pub lost: LostShares,
    /// System calls of the server per correct reply, counted in a run of its own, if that was
    /// requested and is permitted.
    pub syscalls_per_request: Option<f64>,
    /// Reason why the system calls were not counted, if that was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syscalls_not_counted: Option<String>,
    /// CPUs of the server and the generator.
    pub placement: String,
    /// Server stats of the run; none for a server that the harness did not launch.
    pub server: Option<ServerSide>,
    /// Cost of the idle connections, for the workload that measures it.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

/// Cost of many idle connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Anonymous resident memory of the server's processes per connection: with all connections
    /// answered once, minus with none.
    pub memory_per_connection_bytes: u64,
    /// Time until all connections were established and answered once, in milliseconds.
    pub connected_in_ms: u64,
}

/// Description of a measurement: the facts that the run itself does not record.
#[derive(Clone, Debug)]
pub struct About {
    /// Name of the workload.
    pub workload: String,
    /// Connections requested.
    pub clients: usize,
    /// Offered rate of an open loop, in requests per second.
    pub offered_per_s: Option<f64>,
    /// Whether the server must turn the background clients away.
    pub are_turned_away: bool,
    /// CPUs of the server and the generator.
    pub placement: Placement,
    /// Maximum half-width of the p99's confidence interval, relative to the p99, if requested.
    pub precision: Option<f64>,
}

impl Measurement {
    /// Returns the server's CPU time per correct reply, in nanoseconds, if known.
    pub fn server_cpu_ns_per_request(&self) -> Option<u64> {
        self.server.as_ref()?.cpu_ns_per_request
    }

    /// Returns whether any request got a correct reply. Without one there is no result.
    pub fn has_answers(&self) -> bool {
        // Under overload all replies within the run may belong to requests due before it.
        self.outcomes.get(Outcome::Answered) > 0 || self.throughput_per_s > 0.0
    }

    /// Returns what the server did wrong under this load, if anything.
    pub fn problem(&self) -> Option<String> {
        self.validity.problem()
    }
}
