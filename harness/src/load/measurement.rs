//! What one server did under one load, and whether that is to be believed.

use std::collections::BTreeMap;

use serde::Serialize;

use super::lost_time::LostShares;
use super::outcome::{Outcome, Outcomes};
use super::placement::Placement;
use super::server_stats::ServerSide;
use super::validity::Validity;
use crate::stats::{self, Quantiles};

/// What one server did under one load.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    /// The workload's name.
    pub workload: String,
    /// Connections asked for.
    pub clients: usize,
    /// How long was recorded, in milliseconds.
    pub duration_ms: u64,
    /// How long was to be recorded, in milliseconds. A run that ended earlier says why.
    pub planned_ms: u64,
    /// Whether the figures are to be believed, and why not.
    #[serde(flatten)]
    pub validity: Validity,
    /// Whether the run was interrupted.
    pub partial: bool,
    /// What became of the requests.
    pub outcomes: Outcomes,
    /// What became of the connections; `answered` are those that lasted and were answered.
    pub connections: Outcomes,
    /// What became of the requests of others, who were there beside, by group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<Outcomes>,
    /// Requests that were due per second, in an open loop.
    pub offered_per_s: Option<f64>,
    /// Right replies per second.
    pub throughput_per_s: f64,
    /// From when a request was due to its right reply. In a closed loop it is due when it is sent,
    /// and a slow reply delays the next request: that is what a client saw, not what an independent
    /// arrival would have. Requests still in flight at the end are there with their age, which is a
    /// lower bound: `outcomes` says how many.
    pub latency_intended_ns: Quantiles,
    /// From when a request was sent to its right reply.
    pub latency_sent_ns: Quantiles,
    /// Where the p99 of `latency_intended_ns` is with 95 % confidence, if enough was measured.
    pub p99_interval_ns: Option<stats::Interval<u64>>,
    /// As many independent requests would say as much: those of a run depend on each other.
    pub effective_samples: Option<f64>,
    /// How much later than due requests were sent, in an open loop.
    pub send_lateness_ns: Quantiles,
    /// How long it took to connect.
    pub connect_ns: Quantiles,
    /// How long it took until requests met anything but their right reply, by that.
    pub failures_ns: BTreeMap<&'static str, Quantiles>,
    /// Processor time of the generator for each right reply, if there was any. That of an open loop
    /// counts the waiting for the next request, too.
    pub generator_cpu_ns_per_request: Option<u64>,
    /// Processor time of the generator over the run's, 1 for one processor that was kept busy.
    pub generator_cpu_share: f64,
    /// By how much the requests under way, on average over time, differ from throughput times mean
    /// latency (Little's law), as a part: a check of the generator's own counting, as those under way
    /// are counted apart from the latencies.
    pub littles_residual: Option<f64>,
    /// The part of the machine's processor time that others were given meanwhile, where it is a
    /// virtual one.
    pub stolen_share: f64,
    /// Time that the generator lost.
    pub lost: LostShares,
    /// System calls of the server for each right reply, counted in a run of its own, where that was
    /// asked for and is permitted.
    pub syscalls_per_request: Option<f64>,
    /// Why they were not counted, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syscalls_not_counted: Option<String>,
    /// Who ran where.
    pub placement: String,
    /// What the server did meanwhile; not known of one that the harness has not launched.
    pub server: Option<ServerSide>,
    /// What holding the connections took, where that is what the workload is about.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

/// What holding many connections took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Anonymous resident memory of the server's processes for each connection: what they hold
    /// with all connected and answered, less what they held with none.
    pub memory_per_connection_bytes: u64,
    /// How long it took until all were connected and answered once, in milliseconds.
    pub connected_in_ms: u64,
}

/// What a measurement is of.
#[derive(Clone, Debug)]
pub struct About {
    /// The workload's name.
    pub workload: String,
    /// Connections asked for.
    pub clients: usize,
    /// Requests due per second, in an open loop.
    pub offered_per_s: Option<f64>,
    /// Whether those beside are there to be turned away.
    pub are_turned_away: bool,
    /// Who ran where.
    pub placement: Placement,
    /// How wide the interval of the p99 may be to either side, as a part of it, if that was asked
    /// for.
    pub precision: Option<f64>,
}

impl Measurement {
    /// Processor time of the server for each right reply, in nanoseconds, where it is known.
    pub fn server_cpu_ns_per_request(&self) -> Option<u64> {
        self.server.as_ref()?.cpu_ns_per_request
    }

    /// Whether any request was answered rightly: without, there is no result.
    pub fn has_answers(&self) -> bool {
        // Where much is late, all that came in time may have been due before.
        self.outcomes.get(Outcome::Answered) > 0 || self.throughput_per_s > 0.0
    }

    /// What the server did wrong under this load, if so.
    pub fn problem(&self) -> Option<String> {
        self.validity.problem()
    }
}
