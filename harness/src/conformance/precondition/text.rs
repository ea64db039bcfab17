//! Texts of preconditions: why a contract does not meet a precondition, and which servers do.

use servers::OverloadPolicy;

use super::{MAX_CLIENTS, Precondition, accepted};
use crate::conformance::requests::max_padded;
use crate::contract::{Contract, ShutdownPolicy};

impl Precondition {
    /// Returns why a contract does not meet this precondition.
    ///
    /// The contract meets the implied preconditions.
    pub(super) fn reason(self, contract: &Contract) -> String {
        use Precondition::*;
        let reason = match self {
            Calc => "the server is not a calculator",
            Echo => "the server is not an echo server",
            OwnReplies => {
                "the server sends the messages of each client to other clients (--broadcast)"
            }
            Broadcast => "no broadcast is declared (--broadcast)",
            Capacity => "the connection limit is not declared (--capacity)",
            OverloadPolicy => "the overload policy is not declared (--when-full)",
            Clients(min) => return limit_too_low(contract, min),
            Full | AnyReply | Optional(_) => "the case does not apply",
            Fillable => return limit_too_high(contract),
            Queue if contract.queue.is_none() => {
                "the length of the queue is not declared (--queue)"
            }
            Queue => "the server queues no connections over the limit",
            WhenFull(_) | RejectsOverLimit => return declared_policy(contract),
            MaxLine => "the longest request is not declared (--max-line)",
            RequestsOf(bytes) => return max_line_too_short(contract, bytes),
            Padding(_) | PaddingOverLimit => return not_padded(contract),
            Overflow => "64-bit integers are not declared (--overflow)",
            ErrorPrefix => "the prefix of error replies is not declared (--error-prefix)",
            IdleTimeout => "no idle timeout is declared (--idle-timeout)",
            ErrorReplies => {
                "an echo server rejects only requests that are too long, and the longest request \
                 is not declared (--max-line)"
            }
            Shutdown => "the behaviour on SIGTERM is not declared (--shutdown)",
            Drain | Abort => return declared_shutdown(contract),
            Host => "the command has no {host}, so the host is not configurable",
            Ipv6 => "listening on ::1 is not declared (--ipv6)",
            Port => "the port of the server is not configurable",
            Launched => {
                "the harness did not launch the server (--connect), so its processes are unknown"
            }
            Supports(expression) => return format!("the server does not support `{expression}`"),
            DelimitedRequests => "the protocol does not delimit requests: each read is one request",
            Lines => "the protocol does not use lines as requests",
            AcceptsByte(byte) => return format!("the protocol ends a request at byte {byte:#04x}"),
            Pipelining => "the protocol has no pipelining: a request must wait for the last reply",
            TerminatedReplies => "the protocol does not end replies with fixed bytes",
            UnlimitedRequests => return request_limit(contract),
            NoExitAfterConnections => return client_limit(contract),
            LimitedRequests => "the protocol does not limit the requests per connection",
            ExitsAfterConnections => {
                "the server does not declare that it exits after a number of clients"
            }
            Greeting => "the protocol has no greeting and no handshake",
            Quit => "the protocol has no quit command",
        };
        reason.to_owned()
    }

    /// Describes the servers that meet this precondition, to follow "servers that …".
    pub fn description(self) -> String {
        use Precondition::*;
        let description = match self {
            Calc => "evaluate expressions",
            Echo => "echo requests",
            OwnReplies => "do not broadcast",
            Broadcast => "broadcast messages to other clients",
            Capacity => "declare a connection limit",
            OverloadPolicy => "declare an overload policy",
            Clients(min) => return format!("serve at least {min} connections at a time"),
            Full => "declare a connection limit with an overload policy",
            Fillable => return format!("accept at most {MAX_CLIENTS} connections"),
            Queue => "queue connections over the limit",
            WhenFull(policy) => policy_description(policy),
            RejectsOverLimit => "reject connections over the limit",
            MaxLine => "declare their longest request",
            RequestsOf(bytes) => return format!("accept requests of {bytes} bytes"),
            Padding(bytes) => return format!("accept a request padded to {bytes} bytes"),
            PaddingOverLimit => "accept padded requests",
            Overflow => "declare 64-bit integers",
            ErrorPrefix => "declare a prefix of error replies",
            IdleTimeout => "declare an idle timeout",
            ErrorReplies => "send error replies",
            Shutdown => "declare their behaviour on SIGTERM",
            Drain => "drain on SIGTERM",
            Abort => "exit at once on SIGTERM",
            Host => "have a configurable host",
            Ipv6 => "can listen on ::1",
            Port => "have a configurable port",
            Launched => "are launched by the harness",
            Supports(expression) => return format!("support `{expression}`"),
            DelimitedRequests => "delimit requests",
            Lines => "use lines as requests",
            AcceptsByte(byte) => return format!("accept byte {byte:#04x} in a request"),
            Pipelining => "support pipelining",
            TerminatedReplies => "end replies with fixed bytes",
            UnlimitedRequests => "do not limit the requests per connection",
            NoExitAfterConnections => "do not exit after a fixed number of clients",
            LimitedRequests => "limit the requests per connection",
            ExitsAfterConnections => "exit after a declared number of clients",
            Greeting => "have a greeting or a handshake",
            Quit => "have a quit command",
            AnyReply => "send any reply",
            Optional(preferred) => return format!("preferably {}", preferred.description()),
        };
        description.to_owned()
    }
}

fn limit_too_low(contract: &Contract, min: usize) -> String {
    let limit = contract.capacity.unwrap_or_default();
    format!("the connection limit is {limit}, and the case needs {min} connections")
}

fn limit_too_high(contract: &Contract) -> String {
    let number = accepted(contract).unwrap_or_default();
    format!("the server accepts {number} connections, and a case opens at most {MAX_CLIENTS}")
}

fn max_line_too_short(contract: &Contract, bytes: usize) -> String {
    let limit = contract.max_line.unwrap_or_default();
    format!("the longest request is {limit} bytes, and the case needs {bytes} bytes")
}

fn not_padded(contract: &Contract) -> String {
    format!(
        "the server accepts no additional spaces, and the longest request with a known value that \
         its dialect permits has {} bytes",
        max_padded(contract)
    )
}

fn declared_policy(contract: &Contract) -> String {
    let declared = contract.when_full.map_or("none", OverloadPolicy::name);
    format!("the declared overload policy is `{declared}`")
}

fn declared_shutdown(contract: &Contract) -> String {
    let declared = contract.shutdown.map_or("none", ShutdownPolicy::name);
    format!("the declared behaviour on SIGTERM is `{declared}`")
}

fn request_limit(contract: &Contract) -> String {
    match contract.wire.requests().unwrap_or_default() {
        1 => "the protocol has one request per connection".to_owned(),
        limit => format!("the protocol has {limit} requests per connection"),
    }
}

fn client_limit(contract: &Contract) -> String {
    match contract.wire.connections_before_exit.unwrap_or_default() {
        1 => "the server declares that it exits after one client".to_owned(),
        limit => format!("the server declares that it exits after {limit} clients"),
    }
}

fn policy_description(policy: OverloadPolicy) -> &'static str {
    match policy {
        OverloadPolicy::Wait => "let connections over the limit wait",
        OverloadPolicy::Refuse => "refuse connections over the limit",
        OverloadPolicy::Reset => "reset connections over the limit",
        OverloadPolicy::Busy => "send a busy line to connections over the limit",
    }
}
