//! Which workloads can measure a server with a given contract.

use nix::sys::resource::{Resource, getrlimit};
use servers::Service;

use super::{Background, HEAVY, Load, MIN_IDLE_CONNECTIONS, Plan, Workload};
use crate::contract::Contract;
use crate::figures::counted;
use crate::wire::Wire;

/// Maximum number of connections to a server without a declared capacity.
const UNDECLARED: usize = 64;

/// Maximum capacity of a server for a workload with rejected clients. The closed loop of such a
/// workload must take all connection slots.
const MAX_CAPACITY: usize = 256;

/// Number of descriptors that this process needs for purposes other than load connections.
const RESERVED_DESCRIPTORS: usize = 64;

impl Workload {
    /// Returns the number of connections that this workload opens to a server with this contract.
    ///
    /// # Errors
    /// The reason why such a server cannot be measured with this workload.
    pub fn connections(&self, contract: &Contract, plan: Plan) -> Result<usize, String> {
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
                _ if contract.capacity.is_none() => {
                    format!(
                        "the connection limit is not declared, and undeclared limits are taken as \
                         {UNDECLARED}"
                    )
                }
                1 => "the server serves one client at a time".to_owned(),
                clients => format!("the server serves at most {clients} clients at a time"),
            });
        }
        self.check_contract(contract)?;
        self.check_protocol(contract)?;
        enough_descriptors(connections).map(|()| connections)
    }

    /// Checks that the server's protocol and dialect permit the requests of this workload.
    fn check_protocol(&self, contract: &Contract) -> Result<(), String> {
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
            (Some(clients), _) => {
                Err(format!("the server exits after {}", counted(clients, "client")))
            }
            (_, Some(limit)) if !reconnects => {
                let requests = counted(limit, "request");
                Err(format!("the server's protocol allows {requests} per connection"))
            }
            _ if self.load == Load::IdleConnections && *wire != Wire::default() => {
                Err("this workload needs the line protocol".to_owned())
            }
            _ if pipelines && !wire.is_pipelined() => {
                Err("the server's protocol does not allow pipelining".to_owned())
            }
            _ if is_long && !wire.is_delimited() => {
                Err("requests have no delimiter in the server's protocol, so the server takes the \
                     bytes of each read as one request"
                    .into())
            }
            _ if matches!(self.load, Load::WithBackground(_, Background::Heavy(_)))
                && !contract.dialect.reads("1+1+1") =>
            {
                Err("the server's dialect has no sums of more than two numbers".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Checks that the service and the limits of the server permit this workload.
    fn check_contract(&self, contract: &Contract) -> Result<(), String> {
        match self.load {
            Load::IdleConnections if contract.service != Service::Echo => Err(
                "the service makes no difference to this workload; it measures the echo server \
                     only"
                    .into(),
            ),
            Load::WithBackground(_, Background::Heavy(_)) if contract.service != Service::Calc => {
                Err("an echo server has no expensive requests".into())
            }
            Load::WithBackground(_, Background::Heavy(_))
                if contract.max_line.is_some_and(|limit| limit < 2 * HEAVY + 4) =>
            {
                Err("the server's longest line is too short for an expensive request".into())
            }
            Load::WithBackground(_, Background::Rejected(_)) => {
                match (contract.capacity, contract.when_full) {
                    (None, _) | (_, None) => {
                        Err("the connection limit and the policy beyond it are not declared"
                            .to_owned())
                    }
                    (_, Some(servers::OverloadPolicy::Wait)) => {
                        Err("connections over the limit wait and are not rejected".to_owned())
                    }
                    (Some(capacity), _) if capacity > MAX_CAPACITY => Err(format!(
                        "the server serves {capacity} clients at a time, more than the \
                                 {MAX_CAPACITY} that this workload opens"
                    )),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
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
