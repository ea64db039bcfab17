//! Which workloads can measure a server with a given contract.

use nix::sys::resource::{Resource, getrlimit};
use servers::Service;

use super::{Background, HEAVY, Load, MIN_IDLE_CONNECTIONS, Plan, Workload};
use crate::contract::Contract;
use crate::figures::{count, counted};
use crate::wire::Wire;

/// Maximum number of connections to a server without a declared capacity.
const UNDECLARED: usize = 64;

/// Maximum capacity of a server for a workload with rejected clients. The closed loop of such a
/// workload must take all connection slots.
const MAX_CAPACITY: usize = 256;

/// Number of descriptors that this process needs for purposes other than load connections.
const RESERVED_DESCRIPTORS: usize = 64;

impl Workload {
    /// Returns whether the workload measures the server's processes rather than its replies.
    pub fn needs_processes(&self) -> bool {
        matches!(self.load, Load::IdleConnections)
    }

    /// Returns the number of connections that this workload opens to a server with this contract.
    ///
    /// # Errors
    /// The reason why such a server cannot be measured with this workload.
    pub fn connections(&self, contract: &Contract, plan: Plan) -> Result<usize, Unsuitable> {
        let capacity = contract.capacity.unwrap_or(UNDECLARED);
        let (connections, required) = match self.load {
            Load::Closed(connections, _)
            | Load::Churn(connections)
            | Load::Storm(connections, _) => (connections, connections),
            Load::Mixed(connections) => (connections.min(capacity), 1),
            Load::Open(connections, ..) | Load::Saturation(connections) => {
                (connections.min(capacity), 1)
            }
            Load::WithBackground(_, Background::Rejected(more)) => {
                (capacity.saturating_add(more), 1)
            }
            Load::WithBackground(connections, others) => {
                let all = connections + others.count();
                (all, all)
            }
            Load::IdleConnections => (plan.idle_connections.min(capacity), MIN_IDLE_CONNECTIONS),
        };
        if capacity < required {
            return Err(match capacity {
                _ if contract.capacity.is_none() => Unsuitable::new(
                    "limit not declared",
                    format!(
                        "the connection limit is not declared, and undeclared limits are taken as \
                         {UNDECLARED}"
                    ),
                ),
                1 => Unsuitable::new("one client only", "the server serves one client at a time"),
                clients => Unsuitable::new(
                    format!("{} clients only", count(clients as f64)),
                    format!("the server serves at most {clients} clients at a time"),
                ),
            });
        }
        self.check_contract(contract)?;
        self.check_protocol(contract)?;
        enough_descriptors(connections)
            .map(|()| connections)
            .map_err(|reason| Unsuitable::new("too few descriptors", reason))
    }

    /// Checks that the server's protocol and dialect permit the requests of this workload.
    fn check_protocol(&self, contract: &Contract) -> Result<(), Unsuitable> {
        let unsuitable = |short: &str, reason: &str| Err(Unsuitable::new(short, reason));
        let wire = &contract.wire;
        let (reconnects, pipelines) = match self.load {
            Load::Churn(_) | Load::Storm(..) => (true, false),
            Load::Closed(_, depth) => (false, depth > 1),
            Load::Open(..) | Load::Saturation(_) => (false, true),
            _ => (false, false),
        };
        let is_long = matches!(self.load, Load::Mixed(_))
            || matches!(
                self.load,
                Load::WithBackground(_, Background::Heavy(_) | Background::Dripping(_))
            );
        match (wire.connections_before_exit, wire.requests()) {
            (Some(clients), _) => unsuitable(
                "exits early",
                &format!("the server exits after {}", counted(clients, "client")),
            ),
            (_, Some(limit)) if !reconnects => {
                let requests = counted(limit, "request");
                let reason = format!("the server's protocol allows {requests} per connection");
                unsuitable(&format!("{requests} only"), &reason)
            }
            _ if self.load == Load::IdleConnections && *wire != Wire::default() => {
                unsuitable("line protocol only", "this workload needs the line protocol")
            }
            _ if pipelines && !wire.is_pipelined() => {
                unsuitable("no pipelining", "the server's protocol does not allow pipelining")
            }
            _ if is_long && !wire.is_delimited() => unsuitable(
                "no delimiter",
                "requests have no delimiter in the server's protocol, so the server takes the \
                     bytes of each read as one request",
            ),
            _ if matches!(self.load, Load::WithBackground(_, Background::Heavy(_)))
                && !contract.dialect.reads("1+1+1") =>
            {
                unsuitable(
                    "no long sums",
                    "the server's dialect has no sums of more than two numbers",
                )
            }
            _ => Ok(()),
        }
    }

    /// Checks that the service and the limits of the server permit this workload.
    fn check_contract(&self, contract: &Contract) -> Result<(), Unsuitable> {
        let unsuitable = |short: &str, reason: &str| Err(Unsuitable::new(short, reason));
        match self.load {
            _ if contract.broadcast.is_some() => unsuitable(
                "broadcasts",
                "the server sends the messages of each client to other clients, so replies cannot \
                 be compared",
            ),
            Load::IdleConnections if contract.transform.is_some() => unsuitable(
                "with identical echo only",
                "this workload needs an echo server whose replies are identical to the requests",
            ),
            Load::IdleConnections if contract.service != Service::Echo => unsuitable(
                "with echo only",
                "the service makes no difference to this workload; it measures the echo server \
                 only",
            ),
            Load::WithBackground(_, Background::Heavy(_)) if contract.service != Service::Calc => {
                unsuitable("with calc only", "an echo server has no expensive requests")
            }
            Load::WithBackground(_, Background::Heavy(_))
                if contract.max_line.is_some_and(|limit| limit < 2 * HEAVY + 4) =>
            {
                let reason = "the server's longest line is too short for an expensive request";
                unsuitable("short lines only", reason)
            }
            Load::WithBackground(_, Background::Rejected(_)) => {
                match (contract.capacity, contract.when_full) {
                    (None, _) | (_, None) => unsuitable(
                        "limit not declared",
                        "the connection limit and the policy beyond it are not declared",
                    ),
                    (_, Some(servers::OverloadPolicy::Wait)) => unsuitable(
                        "no rejection",
                        "connections over the limit wait and are not rejected",
                    ),
                    (Some(capacity), _) if capacity > MAX_CAPACITY => unsuitable(
                        "high limit",
                        &format!(
                            "the server serves {capacity} clients at a time, more than the \
                             {MAX_CAPACITY} that this workload opens"
                        ),
                    ),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

/// Reason why a workload cannot measure a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsuitable {
    /// The reason in two or three words, for a table.
    pub short: String,
    /// The reason.
    pub reason: String,
}

impl Unsuitable {
    fn new(short: impl Into<String>, reason: impl Into<String>) -> Unsuitable {
        Unsuitable { short: short.into(), reason: reason.into() }
    }
}

/// Checks that the descriptor limit of this process allows this number of connections.
///
/// # Errors
/// The limit is too low; the message gives the limit.
pub fn enough_descriptors(connections: usize) -> Result<(), String> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((u64::MAX, u64::MAX));
    if soft >= (connections + RESERVED_DESCRIPTORS) as u64 {
        return Ok(());
    }
    Err(format!(
        "the harness may open {soft} descriptors, too few for {connections} connections; raise the \
         limit (ulimit -n)"
    ))
}
