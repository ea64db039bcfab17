//! The contract of a server: the properties that its tests rely on.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use servers::{Limits, LimitsError, OverloadPolicy, Service};

use super::{Broadcast, Dialect, RequiredModel, Transform};
use crate::exit::Exit;
use crate::wire::{Wire, respaced};

/// Contract of a server. `None` means that a property is undeclared. A case that needs the property
/// then does not apply, and reports the missing declaration.
#[derive(Clone, Debug, PartialEq)]
pub struct Contract {
    /// Service: calculator or echo.
    pub service: Service,
    /// Arithmetic of the calculator.
    pub dialect: Dialect,
    /// Transformation of the replies of an echo server; `None` if a reply is identical to its
    /// request.
    pub transform: Option<Transform>,
    /// The clients that receive a client's messages; `None` if only the sender gets a reply.
    pub broadcast: Option<Broadcast>,
    /// Number of connections served at the same time.
    pub capacity: Option<usize>,
    /// Number of connections beyond the capacity that the server accepts and keeps waiting.
    pub queue: Option<usize>,
    /// Behaviour towards a connection over the limit.
    pub when_full: Option<OverloadPolicy>,
    /// Longest accepted request in bytes; a longer request gets an error reply.
    pub max_line: Option<usize>,
    /// Prefix of every error reply.
    pub error_prefix: Option<String>,
    /// Prefix of the reply to a connection over the limit.
    pub busy_prefix: String,
    /// Idle time after which the server closes a connection.
    pub idle_timeout: Option<Duration>,
    /// Permitted delay of the close after the idle timeout.
    pub idle_tolerance: Option<Duration>,
    /// Behaviour on SIGTERM and SIGINT.
    pub shutdown: Option<ShutdownPolicy>,
    /// Whether the host to listen on can be configured.
    pub takes_host: bool,
    /// Whether the server can listen on ::1.
    pub ipv6: bool,
    /// Framing of requests and replies.
    pub wire: Wire,
    /// Whether the port to listen on can be configured.
    pub takes_port: bool,
    /// Whether the harness launches the server, and so can inspect the server's processes.
    pub is_launched: bool,
    /// Required concurrency model.
    pub concurrency_model: Option<RequiredModel>,
}

/// Behaviour of a server on SIGTERM and SIGINT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShutdownPolicy {
    /// Answers the received requests, then exits with code 0.
    Drain,
    /// Exits at once, even with requests in flight.
    Abort,
}

impl ShutdownPolicy {
    /// All variants.
    pub const ALL: &[ShutdownPolicy] = &[ShutdownPolicy::Drain, ShutdownPolicy::Abort];

    /// Returns the policy's name in flags and files.
    pub fn name(self) -> &'static str {
        match self {
            ShutdownPolicy::Drain => "drain",
            ShutdownPolicy::Abort => "abort",
        }
    }
}

/// Default tolerance of the idle timeout. A quarter of the timeout applies if that is longer.
/// Allows for scheduling delays.
const DEFAULT_IDLE_TOLERANCE: Duration = Duration::from_millis(500);

/// Default prefix of the reply to a connection over the limit.
pub const BUSY_PREFIX: &str = "error: busy";

impl Contract {
    /// Returns the contract of a server that declares only its service.
    pub fn undeclared(service: Service) -> Contract {
        Contract {
            service,
            dialect: Dialect::default(),
            transform: None,
            broadcast: None,
            capacity: None,
            queue: None,
            when_full: None,
            max_line: None,
            error_prefix: None,
            busy_prefix: BUSY_PREFIX.to_owned(),
            idle_timeout: None,
            idle_tolerance: None,
            shutdown: None,
            takes_host: false,
            ipv6: false,
            wire: Wire::default(),
            takes_port: true,
            is_launched: true,
            concurrency_model: None,
        }
    }

    /// Returns the bytes to send for an expression: [`payload`](Self::payload) in its frame. For
    /// any other payload, use [`Wire::sent`], which changes nothing.
    pub fn sent(&self, expression: &[u8]) -> Vec<u8> {
        self.wire.sent(&self.payload(expression))
    }

    /// Returns an expression as the server's dialect requires it. If the dialect requires two
    /// operands, appends `+0` to a single number. The `+0` overwrites trailing spaces, if any, so
    /// that the length does not change.
    pub fn payload(&self, expression: &[u8]) -> Vec<u8> {
        if self.service == Service::Echo {
            return expression.to_vec();
        }
        let mut request = expression.to_vec();
        let number = request.trim_ascii_end();
        let is_number = !number.is_empty()
            && number.iter().all(|byte| byte.is_ascii_digit() || b".-".contains(byte))
            && !number[1..].contains(&b'-');
        if self.dialect.two_operands && is_number {
            let (length, size) = (number.len(), request.len());
            request.splice(length..(length + 2).min(size), *b"+0");
        }
        if let Some(spaced) = self.wire.spaced {
            request = respaced(&request, spaced);
        }
        self.dialect.symbols.replace_operators(&request)
    }

    /// Returns the reply of an echo server to a request.
    pub fn echo(&self, request: &[u8]) -> Vec<u8> {
        self.transform.map_or_else(|| request.to_vec(), |transform| transform.apply(request))
    }

    /// Returns whether a reply is an error, or `None` if the format of errors is undeclared.
    pub fn is_error(&self, reply: &[u8]) -> Option<bool> {
        let has_prefix = self.error_prefix.as_ref().map(|it| reply.starts_with(it.as_bytes()));
        let matches = self.wire.error.as_ref().map(|regex| regex.is_match(reply));
        match (has_prefix, matches) {
            (None, is_error) | (is_error, None) => is_error,
            (Some(has_prefix), Some(matches)) => Some(has_prefix || matches),
        }
    }

    /// Returns whether the server may exit with this status without a signal from the harness. Only
    /// code 0 is permitted, and only if the server declares `connections-before-exit`.
    pub fn permits_exit(&self, exit: Exit) -> bool {
        self.wire.connections_before_exit.is_some() && exit == Exit::Code(0)
    }

    /// Returns whether a line begins with the busy prefix.
    pub fn is_busy(&self, line: &[u8]) -> bool {
        line.starts_with(self.busy_prefix.as_bytes())
    }

    /// Returns the idle time within which the server must have closed a connection: the idle
    /// timeout and its tolerance.
    pub fn idle_until(&self) -> Duration {
        let timeout = self.idle_timeout.unwrap_or_default();
        timeout + self.idle_tolerance.unwrap_or(DEFAULT_IDLE_TOLERANCE.max(timeout / 4))
    }

    /// Returns the contract of a built-in server with the given limits.
    ///
    /// # Errors
    /// The pattern cannot enforce one of the limits.
    pub fn of(server: &servers::Server, limits: &Limits) -> Result<Contract, LimitsError> {
        let config = server.config(limits)?;
        let (capacity, queue) = server.pattern.connection_slots(&config);
        Ok(Contract {
            service: server.service,
            dialect: Dialect::of_64_bits(),
            transform: None,
            broadcast: None,
            capacity: Some(capacity),
            queue: Some(queue),
            when_full: Some(server.pattern.when_full),
            max_line: Some(config.max_line),
            error_prefix: Some("error: ".to_owned()),
            busy_prefix: BUSY_PREFIX.to_owned(),
            idle_timeout: config.idle_timeout,
            idle_tolerance: None,
            shutdown: Some(ShutdownPolicy::Drain),
            takes_host: true,
            ipv6: true,
            wire: Wire::default(),
            takes_port: true,
            is_launched: true,
            concurrency_model: None,
        })
    }

    /// Formats the contract in one line.
    pub fn summary(&self) -> String {
        let mut parts = vec![self.service.name().to_owned()];
        if let Some(transform) = self.transform {
            parts.push(format!("transforms replies ({transform})"));
        }
        match self.broadcast {
            Some(Broadcast::All) => parts.push("broadcasts to all clients".to_owned()),
            Some(Broadcast::Others) => parts.push("broadcasts to all other clients".to_owned()),
            None => {}
        }
        parts.push(self.limits_summary());
        parts.extend(self.wire.description());
        if let Some(bytes) = self.max_line {
            parts.push(format!("requests up to {bytes} bytes"));
        }
        if let Some(timeout) = self.idle_timeout {
            parts.push(format!("idle timeout {}", humantime::format_duration(timeout)));
        }
        parts.join(", ")
    }

    /// Formats the connection limit, the queue and the overload policy in one line.
    pub fn limits_summary(&self) -> String {
        let mut parts = vec![match self.capacity {
            Some(limit) => format!("connection limit {limit}"),
            None => "connection limit not declared".to_owned(),
        }];
        if let Some(queue @ 1..) = self.queue {
            parts.push(format!("queue of {queue}"));
        }
        let policy = match self.when_full {
            Some(OverloadPolicy::Wait) => "connections over the limit wait",
            Some(OverloadPolicy::Refuse) => "connections over the limit are refused",
            Some(OverloadPolicy::Reset) => "connections over the limit are reset",
            Some(OverloadPolicy::Busy) => "connections over the limit get a busy line",
            None => return parts.join(", "),
        };
        parts.push(policy.to_owned());
        parts.join(", ")
    }
}
