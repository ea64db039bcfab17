//! Table of the workloads.

pub(super) mod applicable;

use std::net::SocketAddr;
use std::time::Duration;

use super::load_spec::{ArrivalProcess, Arrivals, ConnectionGroup, LoadSpec};
use super::reply_template::ReplyTemplate;
use super::request_reply::{RequestReply, exchanges_for, long_sums, mixed_sizes};
use crate::contract::Contract;

/// A named load pattern.
#[derive(Debug)]
pub struct Workload {
    /// Stable name, used in flags and reports.
    pub name: &'static str,
    /// One-line description.
    pub summary: &'static str,
    /// Connections and their arrival process.
    pub load: Load,
    /// Smallest set of workloads that includes this one.
    pub set: WorkloadSet,
}

/// The workloads that `harness run` measures. Each set includes the sets before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkloadSet {
    /// For a first impression.
    Common,
    /// What the summary table and the curves of a report need.
    Figures,
    /// All workloads.
    All,
}

/// Connections and arrival process of a workload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Load {
    /// Closed loop: number of connections, and requests in flight on each.
    Closed(usize, u32),
    /// Open loop: number of connections (fewer if the server's capacity is lower), arrivals, and
    /// requests per second over all connections.
    Open(usize, Arrivals, f64),
    /// Search for the highest rate whose latency is within a limit, with open-loop runs over this
    /// many connections.
    Saturation(usize),
    /// Number of clients. Each client repeatedly connects, sends one request and closes.
    Churn(usize),
    /// Number of clients that connect at once and send one request each, and time after which they
    /// reset their connections and start over.
    Storm(usize, Duration),
    /// Closed loop over this many connections, with requests of many sizes.
    Mixed(usize),
    /// Closed loop over this many connections, with background clients. With 0 connections and
    /// rejected clients, the closed loop takes all connection slots of the server.
    WithBackground(usize, Background),
    /// Idle connections: the number in the plan, or the server's capacity if that is lower. Up to
    /// [`WINDOW`](super::WINDOW) connections have a request in flight at a time.
    IdleConnections,
}

/// Background clients of a workload, with their number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Background {
    /// Clients that send one request, and then nothing.
    Idle(usize),
    /// Clients that request long calculations.
    Heavy(usize),
    /// Clients that send one byte at a time, at intervals.
    Dripping(usize),
    /// Clients over the connection limit, which reconnect after each rejection.
    Rejected(usize),
}

const fn common(name: &'static str, summary: &'static str, load: Load) -> Workload {
    Workload { name, summary, load, set: WorkloadSet::Common }
}

const fn figure(name: &'static str, summary: &'static str, load: Load) -> Workload {
    Workload { name, summary, load, set: WorkloadSet::Figures }
}

const fn special(name: &'static str, summary: &'static str, load: Load) -> Workload {
    Workload { name, summary, load, set: WorkloadSet::All }
}

/// All workloads, in the order of reports.
pub const WORKLOADS: &[Workload] = &[
    common("closed-1", "closed loop, 1 connection", Load::Closed(1, 1)),
    common("closed-8", "closed loop, 8 connections", Load::Closed(8, 1)),
    common("closed-64", "closed loop, 64 connections", Load::Closed(64, 1)),
    figure("closed-256", "closed loop, 256 connections", Load::Closed(256, 1)),
    figure("closed-1024", "closed loop, 1,024 connections", Load::Closed(1024, 1)),
    figure("closed-8192", "closed loop, 8,192 connections", Load::Closed(8192, 1)),
    special(
        "pipelined-16",
        "closed loop, 8 connections, 16 requests in flight on each",
        Load::Closed(8, 16),
    ),
    special(
        "pipelined-128",
        "closed loop, 8 connections, 128 requests in flight on each",
        Load::Closed(8, 128),
    ),
    common(
        "open-constant",
        "open loop, 5,000 requests/s at equal intervals, over 16 connections or the server's limit",
        Load::Open(16, Arrivals::Constant, 5_000.0),
    ),
    special(
        "open-poisson",
        "open loop, 5,000 requests/s at exponentially distributed intervals, over 16 connections \
         or the server's limit",
        Load::Open(16, Arrivals::Poisson, 5_000.0),
    ),
    figure(
        "saturation",
        "open loop: finds the highest rate with a p99 of at most 10 ms, then measures at that rate",
        Load::Saturation(16),
    ),
    special(
        "churn",
        "8 clients that repeatedly connect, send one request and close",
        Load::Churn(8),
    ),
    special(
        "idle-connections",
        "closed loop, 8 connections, with 1,000 idle connections",
        Load::WithBackground(8, Background::Idle(1_000)),
    ),
    special("mixed-sizes", "closed loop, 8 connections, lines of 8 to 2,048 bytes", Load::Mixed(8)),
    special(
        "heavy-beside-light",
        "closed loop, 8 connections, with 4 background clients that request sums of 200 numbers",
        Load::WithBackground(8, Background::Heavy(4)),
    ),
    special(
        "dripping-crowd",
        "closed loop, 8 connections, with 50 background clients that send one byte every 10 ms",
        Load::WithBackground(8, Background::Dripping(50)),
    ),
    special(
        "reconnect-storm",
        "every 50 ms, 100 clients reset, reconnect at once and send one request",
        Load::Storm(100, Duration::from_millis(50)),
    ),
    special(
        "refusal",
        "closed loop that takes all connection slots, with 4 background clients that are rejected \
         and reconnect",
        Load::WithBackground(0, Background::Rejected(4)),
    ),
    common(
        "idle-memory",
        "memory per idle connection; the connections send requests in turn",
        Load::IdleConnections,
    ),
];

/// Minimum number of idle connections: fewer would not show the cost of many connections.
pub const MIN_IDLE_CONNECTIONS: usize = 1_000;

/// Number of additions in a heavy request: the maximum that all calculators of this project accept.
const HEAVY: usize = 199;

/// Time between two bytes of a dripping client.
const DRIP: Duration = Duration::from_millis(10);

/// Maximum length of a request of mixed size, in bytes, unless the contract declares a lower limit.
const MAX_MIXED_LENGTH: usize = 4096;

/// Durations and sizes of the load runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Warm-up before the recording starts.
    pub warm_up: Duration,
    /// Duration of the recording.
    pub duration: Duration,
    /// Number of idle connections to open.
    pub idle_connections: usize,
    /// Workloads that `harness run` measures.
    pub workloads: WorkloadSet,
    /// Number of runs of each workload, in an order that is random in each round.
    pub rounds: u32,
    /// Whether each workload runs on a newly launched server.
    pub relaunches: bool,
}

impl Plan {
    /// One run of any workload on one server.
    pub const ONE_RUN: Plan = Plan {
        warm_up: Duration::ZERO,
        duration: Duration::from_secs(1),
        idle_connections: MIN_IDLE_CONNECTIONS,
        workloads: WorkloadSet::All,
        rounds: 1,
        relaunches: true,
    };
}

impl Workload {
    /// Returns the load spec of this workload for a server with this contract.
    ///
    /// `Load::IdleConnections` does not use the result, and `Load::Saturation` replaces the arrival
    /// process.
    pub(super) fn load_spec(
        &self,
        address: SocketAddr,
        (contract, template): (&Contract, &ReplyTemplate),
        connections: usize,
        (timeout, seed): (Duration, u64),
    ) -> LoadSpec {
        let service = contract.service;
        let group = |connections, arrival_process, requests: Vec<RequestReply>| ConnectionGroup {
            requests,
            connections,
            arrival_process,
        };
        let standard = || template.all(&exchanges_for(contract));
        let closed = ArrivalProcess::Closed { depth: 1 };
        let groups = match self.load {
            Load::Closed(_, depth) => {
                vec![group(connections, ArrivalProcess::Closed { depth }, standard())]
            }
            Load::Open(_, arrivals, per_s) => {
                vec![group(connections, ArrivalProcess::Open { arrivals, per_s }, standard())]
            }
            Load::Saturation(_) | Load::IdleConnections => {
                vec![group(connections, closed, standard())]
            }
            Load::Churn(_) => vec![group(connections, ArrivalProcess::Churn, standard())],
            Load::Storm(_, every) => {
                vec![group(connections, ArrivalProcess::Storm { every }, standard())]
            }
            Load::Mixed(_) => {
                let longest = contract.max_line.unwrap_or(MAX_MIXED_LENGTH).min(MAX_MIXED_LENGTH);
                vec![group(connections, closed, template.all(&mixed_sizes(service, longest)))]
            }
            Load::WithBackground(_, others) => {
                let (count, background) = (others.count(), others.group(contract, template));
                vec![group(connections - count, closed, standard()), background]
            }
        };
        let (opening, may_close) = (template.opening.clone(), contract.wire.requests().is_some());
        LoadSpec {
            address,
            groups,
            opening,
            may_close,
            reconnect: false,
            requests_per_connection: None,
            reply_timeout: timeout,
            seed,
        }
    }
}

impl Background {
    pub(super) fn count(self) -> usize {
        match self {
            Background::Idle(count)
            | Background::Heavy(count)
            | Background::Dripping(count)
            | Background::Rejected(count) => count,
        }
    }

    fn group(self, contract: &Contract, template: &ReplyTemplate) -> ConnectionGroup {
        let (lines, arrival_process) = match self {
            Background::Idle(_) => (exchanges_for(contract), ArrivalProcess::Idle),
            Background::Heavy(_) => (long_sums(HEAVY), ArrivalProcess::Closed { depth: 1 }),
            Background::Dripping(_) => {
                (exchanges_for(contract), ArrivalProcess::Drip { every: DRIP })
            }
            Background::Rejected(_) => (exchanges_for(contract), ArrivalProcess::Churn),
        };
        ConnectionGroup {
            requests: template.all(&lines),
            connections: self.count(),
            arrival_process,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::WINDOW;
    use super::*;

    #[test]
    fn the_window_is_at_most_the_number_of_idle_connections() {
        const { assert!(WINDOW <= MIN_IDLE_CONNECTIONS) };
    }
}
