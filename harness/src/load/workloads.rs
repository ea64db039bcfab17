//! Table of the workloads.

use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use servers::Service;

use super::connections::PATIENCE;
use super::load_spec::{ArrivalProcess, Arrivals, Group, LoadSpec};
use super::reply_template::ReplyTemplate;
use super::request_reply::{RequestReply, heavy, mixed, usual};
use crate::contract::Contract;
use crate::wire::Wire;

/// A named load pattern.
#[derive(Debug)]
pub struct Workload {
    /// Stable name, used in flags and reports.
    pub name: &'static str,
    /// One-line description.
    pub summary: &'static str,
    /// Connections and their arrival process.
    pub load: Load,
    /// Whether the shorter plans of the main job include this workload, too.
    pub is_common: bool,
}

/// Connections and arrival process of a workload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Load {
    /// Closed loop: number of connections, and requests in flight on each.
    Closed(usize, u32),
    /// Open loop: number of connections (fewer if the server's capacity is lower), arrivals, and
    /// requests per second over all connections.
    Open(usize, Arrivals, f64),
    /// Search for the highest rate whose latency stays within a limit, with open-loop runs at
    /// different rates.
    Saturation(usize),
    /// Number of clients that each connect, send one request, close and start over.
    Churn(usize),
    /// Number of clients that connect and send one request all at once, and the time after which
    /// they are reset and start over.
    Storm(usize, Duration),
    /// Closed loop over this many connections, with requests of many sizes.
    Mixed(usize),
    /// Closed loop over this many connections, next to background clients.
    Beside(usize, Others),
    /// Idle connections, as many as the plan asks for or the server takes. Up to
    /// [`WINDOW`](super::WINDOW) of them have a request in flight at a time.
    Held,
}

/// Background clients of a workload, with their number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Others {
    /// Clients that stay silent.
    Idle(usize),
    /// Clients whose requests take long to calculate.
    Heavy(usize),
    /// Clients that send one byte at a time, at intervals.
    Dripping(usize),
    /// Clients that the full server turns away, and that connect again each time.
    TurnedAway(usize),
}

const fn common(name: &'static str, summary: &'static str, load: Load) -> Workload {
    Workload { name, summary, load, is_common: true }
}

const fn special(name: &'static str, summary: &'static str, load: Load) -> Workload {
    Workload { name, summary, load, is_common: false }
}

/// All workloads, in the order of a report.
pub const WORKLOADS: &[Workload] = &[
    common("closed-1", "closed loop, 1 connection", Load::Closed(1, 1)),
    common("closed-8", "closed loop, 8 connections", Load::Closed(8, 1)),
    common("closed-64", "closed loop, 64 connections", Load::Closed(64, 1)),
    special("closed-256", "closed loop, 256 connections", Load::Closed(256, 1)),
    special("closed-1024", "closed loop, 1,024 connections", Load::Closed(1024, 1)),
    special("closed-8192", "closed loop, 8,192 connections", Load::Closed(8192, 1)),
    special(
        "pipelined-16",
        "closed loop, 8 connections, 16 requests under way on each",
        Load::Closed(8, 16),
    ),
    special(
        "pipelined-128",
        "closed loop, 8 connections, 128 requests under way on each",
        Load::Closed(8, 128),
    ),
    common(
        "open-constant",
        "open loop, 5,000 requests/s at even distances, over 16 connections or as many as it serves",
        Load::Open(16, Arrivals::Constant, 5_000.0),
    ),
    special(
        "open-poisson",
        "open loop, 5,000 requests/s at distances of chance, over 16 connections or as many as it serves",
        Load::Open(16, Arrivals::Poisson, 5_000.0),
    ),
    special(
        "saturation",
        "the highest rate, at distances of chance, whose p99 is at most 10 ms, and then a run at it",
        Load::Saturation(16),
    ),
    special("churn", "8 clients that connect, ask once and close, again and again", Load::Churn(8)),
    special(
        "idle-herd",
        "closed loop, 8 connections, beside 1,000 that are silent",
        Load::Beside(8, Others::Idle(1_000)),
    ),
    special("mixed-sizes", "closed loop, 8 connections, lines of 8 to 2,048 bytes", Load::Mixed(8)),
    special(
        "heavy-beside-light",
        "closed loop, 8 connections, beside 4 that ask for sums of 200 numbers",
        Load::Beside(8, Others::Heavy(4)),
    ),
    special(
        "dripping-crowd",
        "closed loop, 8 connections, beside 50 that send a byte every 10 ms",
        Load::Beside(8, Others::Dripping(50)),
    ),
    special(
        "reconnect-storm",
        "every 50 ms 100 clients are reset, connect all at once and ask once",
        Load::Storm(100, Duration::from_millis(50)),
    ),
    special(
        "refusal",
        "closed loop that takes all places, beside 4 clients that are turned away again and again",
        Load::Beside(0, Others::TurnedAway(4)),
    ),
    common(
        "held",
        "idle connections, as many as the plan says or as the server takes, each answered in turn",
        Load::Held,
    ),
];

/// Minimum number of idle connections: fewer would not show the cost of many connections.
pub const LEAST_HELD: usize = 1_000;

/// Additions in a heavy request: the most that every calculator of this project takes.
const HEAVY: usize = 199;

/// Time between two bytes of a slow client.
const DRIP: Duration = Duration::from_millis(10);

/// Maximum number of connections to a server with no declared capacity.
const UNDECLARED: usize = 64;

/// Maximum length of a mixed request, in bytes, unless a shorter limit is declared.
const LONGEST: usize = 4096;

/// Maximum number of connection slots to fill in order to be turned away.
const MOST_PLACES: usize = 256;

/// Descriptors that this process needs besides its connections.
const RESERVED_DESCRIPTORS: usize = 64;

/// Durations and sizes of the load runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Warm-up before the recording starts.
    pub warm_up: Duration,
    /// Duration of the recording.
    pub duration: Duration,
    /// Idle connections to open.
    pub held: usize,
    /// Whether the main job measures the common workloads only.
    pub is_short: bool,
}

impl Workload {
    /// Returns the least number of connections that this workload opens to a server with this
    /// contract.
    ///
    /// # Errors
    /// The reason why such a server cannot be measured with this workload.
    pub fn connections(&self, contract: &Contract, plan: Plan) -> Result<usize, String> {
        let serves = contract.capacity.unwrap_or(UNDECLARED);
        let (connections, least) = match self.load {
            Load::Closed(connections, _)
            | Load::Churn(connections)
            | Load::Storm(connections, _) => (connections, connections),
            Load::Mixed(connections) => (connections.min(serves), 1),
            Load::Open(connections, ..) | Load::Saturation(connections) => {
                (connections.min(serves), 1)
            }
            Load::Beside(_, Others::TurnedAway(more)) => (serves.saturating_add(more), 1),
            Load::Beside(connections, others) => {
                let all = connections + others.count();
                (all, all)
            }
            Load::Held => (plan.held.min(serves), LEAST_HELD),
        };
        if serves < least {
            return Err(match serves {
                _ if contract.capacity.is_none() => {
                    format!(
                        "how many clients it serves is not declared, and {UNDECLARED} are tried"
                    )
                }
                1 => "it serves one client at a time".to_owned(),
                clients => format!("it serves {clients} clients at once"),
            });
        }
        self.suits(contract)?;
        self.is_said_by(contract)?;
        enough_descriptors(connections).map(|()| connections)
    }

    /// Checks that the server's protocol can express the requests of this workload.
    fn is_said_by(&self, contract: &Contract) -> Result<(), String> {
        let wire = &contract.wire;
        let waits = "by its wire a request must wait for the reply to the one before it";
        let (connects_again, asks_ahead) = match self.load {
            Load::Churn(_) | Load::Storm(..) => (true, false),
            Load::Closed(_, depth) => (false, depth > 1),
            Load::Open(..) | Load::Saturation(_) => (false, true),
            _ => (false, false),
        };
        let is_long = matches!(self.load, Load::Mixed(_))
            || matches!(self.load, Load::Beside(_, Others::Heavy(_) | Others::Dripping(_)));
        match (wire.clients_per_life, wire.requests()) {
            (Some(clients), _) => Err(format!("it declares to end after {clients} client(s)")),
            (_, Some(most)) if !connects_again => {
                Err(format!("by its wire a connection is for {most} request(s)"))
            }
            _ if self.load == Load::Held && *wire != Wire::default() => {
                Err("it does not speak the line protocol, in which clients are held".to_owned())
            }
            _ if asks_ahead && !wire.is_pipelined() => Err(waits.to_owned()),
            _ if is_long && !wire.is_delimited() => {
                Err("by its wire requests have no end: what one read returns is one request".into())
            }
            _ if matches!(self.load, Load::Beside(_, Others::Heavy(_)))
                && !contract.dialect.reads("1+1+1") =>
            {
                Err("its dialect has no long sums".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn suits(&self, contract: &Contract) -> Result<(), String> {
        match self.load {
            Load::Held if contract.service != Service::Echo => {
                Err("what is answered makes no difference, so it is measured with echo".into())
            }
            Load::Beside(_, Others::Heavy(_)) if contract.service != Service::Calc => {
                Err("an echo has no requests that take long".into())
            }
            Load::Beside(_, Others::Heavy(_))
                if contract.max_line.is_some_and(|most| most < 2 * HEAVY + 4) =>
            {
                Err("its longest line is too short for a heavy request".into())
            }
            Load::Beside(_, Others::TurnedAway(_)) => match (contract.capacity, contract.when_full)
            {
                (None, _) | (_, None) => {
                    Err("when it turns clients away is not declared".to_owned())
                }
                (_, Some(servers::OverloadPolicy::Wait)) => Err("it turns nobody away".to_owned()),
                (Some(places), _) if places > MOST_PLACES => {
                    Err(format!("it serves {places} clients at once"))
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Returns the load spec of this workload for a server with this contract.
    ///
    /// The workload of idle connections and the search for a rate do not use it.
    pub(super) fn demand(
        &self,
        address: SocketAddr,
        (contract, dialog): (&Contract, &ReplyTemplate),
        connections: usize,
        seed: u64,
    ) -> LoadSpec {
        let service = contract.service;
        let group = |connections, pace, exchanges: Vec<RequestReply>| Group {
            exchanges,
            connections,
            pace,
        };
        let usual = || dialog.all(&usual(contract));
        let closed = ArrivalProcess::Closed { depth: 1 };
        let groups = match self.load {
            Load::Closed(_, depth) => {
                vec![group(connections, ArrivalProcess::Closed { depth }, usual())]
            }
            Load::Open(_, arrivals, per_s) => {
                vec![group(connections, ArrivalProcess::Open { arrivals, per_s }, usual())]
            }
            Load::Saturation(_) | Load::Held => vec![group(connections, closed, usual())],
            Load::Churn(_) => vec![group(connections, ArrivalProcess::Churn, usual())],
            Load::Storm(_, every) => {
                vec![group(connections, ArrivalProcess::Storm { every }, usual())]
            }
            Load::Mixed(_) => {
                let longest = contract.max_line.unwrap_or(LONGEST).min(LONGEST);
                vec![group(connections, closed, dialog.all(&mixed(service, longest)))]
            }
            Load::Beside(_, others) => {
                let (count, beside) = (others.count(), others.group(contract, dialog));
                vec![group(connections - count, closed, usual()), beside]
            }
        };
        let (opening, may_end) = (dialog.opening.clone(), contract.wire.requests().is_some());
        LoadSpec { address, groups, opening, may_end, patience: PATIENCE, seed }
    }
}

impl Others {
    fn count(self) -> usize {
        match self {
            Others::Idle(count)
            | Others::Heavy(count)
            | Others::Dripping(count)
            | Others::TurnedAway(count) => count,
        }
    }

    fn group(self, contract: &Contract, dialog: &ReplyTemplate) -> Group {
        let (lines, pace) = match self {
            Others::Idle(_) => (usual(contract), ArrivalProcess::Idle),
            Others::Heavy(_) => (heavy(HEAVY), ArrivalProcess::Closed { depth: 1 }),
            Others::Dripping(_) => (usual(contract), ArrivalProcess::Drip { every: DRIP }),
            Others::TurnedAway(_) => (usual(contract), ArrivalProcess::Churn),
        };
        Group { exchanges: dialog.all(&lines), connections: self.count(), pace }
    }
}

/// Checks that the descriptor limit allows this many connections.
///
/// # Errors
/// The limit is too low; the message names it.
pub fn enough_descriptors(connections: usize) -> Result<(), String> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((u64::MAX, u64::MAX));
    if soft >= (connections + RESERVED_DESCRIPTORS) as u64 {
        return Ok(());
    }
    Err(format!(
        "the harness may open {soft} descriptors, too few for {connections} clients (ulimit -n)"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::WINDOW;
    use super::*;

    #[test]
    fn a_window_of_a_herd_is_no_more_than_the_herd() {
        const { assert!(WINDOW <= LEAST_HELD) };
    }
}
