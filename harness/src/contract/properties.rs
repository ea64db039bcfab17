//! The contract of a server: the properties that its tests rely on.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use servers::{Limits, LimitsError, OverloadPolicy, Service};

use super::{Dialect, Expected};
use crate::exit::Exit;
use crate::wire::{Wire, respaced};

/// Contract of a server. `None` means undeclared: a case that needs the property does not apply,
/// and reports which declaration is missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Contract {
    /// Service: calculator or echo.
    pub service: Service,
    /// Arithmetic of the calculator.
    pub dialect: Dialect,
    /// Number of connections served at the same time.
    pub capacity: Option<usize>,
    /// Number of further connections that are accepted and wait for a free slot.
    pub queue: Option<usize>,
    /// Behaviour towards a connection over the limit.
    pub when_full: Option<OverloadPolicy>,
    /// Longest request in bytes; a request one byte longer is answered with an error.
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
    pub ending: Option<Ending>,
    /// The host to listen on can be configured.
    pub takes_host: bool,
    /// The server can be configured to listen on ::1.
    pub ipv6: bool,
    /// Framing of requests and replies.
    pub wire: Wire,
    /// The port to listen on can be configured.
    pub takes_port: bool,
    /// The harness launches the server, so that its processes can be inspected.
    pub is_launched: bool,
    /// Expected concurrency model.
    pub expect: Option<Expected>,
}

/// Behaviour of a server on SIGTERM and SIGINT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// Answers the received requests, then exits with code 0.
    Drain,
    /// Exits at once, even with requests in flight.
    Abort,
}

impl Ending {
    /// All variants.
    pub const ALL: &[Ending] = &[Ending::Drain, Ending::Abort];

    /// Returns its name in flags and files.
    pub fn name(self) -> &'static str {
        match self {
            Ending::Drain => "drain",
            Ending::Abort => "abort",
        }
    }
}

/// Minimum of the permitted delay after the idle timeout, unless declared. Schedulers are late.
const IDLE_TOLERANCE: Duration = Duration::from_millis(500);

/// Prefix of the reply to a connection over the limit, unless declared.
pub const BUSY_PREFIX: &str = "error: busy";

impl Contract {
    /// Returns the contract of a server that declares only its service.
    pub fn undeclared(service: Service) -> Contract {
        Contract {
            service,
            dialect: Dialect::default(),
            capacity: None,
            queue: None,
            when_full: None,
            max_line: None,
            error_prefix: None,
            busy_prefix: BUSY_PREFIX.to_owned(),
            idle_timeout: None,
            idle_tolerance: None,
            ending: None,
            takes_host: false,
            ipv6: false,
            wire: Wire::default(),
            takes_port: true,
            is_launched: true,
            expect: None,
        }
    }

    /// Returns the bytes that are sent for a request. If each request must have two operands, `+0`
    /// is appended to a lone number. It replaces trailing spaces where there are any, so that the
    /// length stays the same.
    pub fn sent(&self, request: &[u8]) -> Vec<u8> {
        if self.service == Service::Echo {
            return self.wire.sent(request);
        }
        let mut request = request.to_vec();
        let number = request.trim_ascii_end();
        let is_number = !number.is_empty()
            && number.iter().all(|byte| byte.is_ascii_digit() || b".-".contains(byte))
            && !number[1..].contains(&b'-');
        if self.dialect.is_binary && is_number {
            let (length, size) = (number.len(), request.len());
            request.splice(length..(length + 2).min(size), *b"+0");
        }
        match self.wire.spaced {
            Some(spaced) => self.wire.sent(&respaced(&request, spaced)),
            None => self.wire.sent(&request),
        }
    }

    /// Returns whether a reply is an error, or `None` if the format of errors is undeclared.
    pub fn is_error(&self, reply: &[u8]) -> Option<bool> {
        let begins = self.error_prefix.as_ref().map(|it| reply.starts_with(it.as_bytes()));
        let matches = self.wire.error.as_ref().map(|pattern| pattern.is_in(reply));
        match (begins, matches) {
            (None, found) | (found, None) => found,
            (Some(one), Some(other)) => Some(one || other),
        }
    }

    /// Returns whether this exit is expected without a signal: after the declared number of
    /// connections.
    pub fn may_end_by(&self, exit: Exit) -> bool {
        self.wire.clients_per_life.is_some() && exit == Exit::Code(0)
    }

    /// Returns whether a line reports that the server is full.
    pub fn is_busy(&self, line: &[u8]) -> bool {
        line.starts_with(self.busy_prefix.as_bytes())
    }

    /// Returns the time by which an idle connection must have been closed.
    pub fn idle_until(&self) -> Duration {
        let timeout = self.idle_timeout.unwrap_or_default();
        timeout + self.idle_tolerance.unwrap_or(IDLE_TOLERANCE.max(timeout / 4))
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
            capacity: Some(capacity),
            queue: Some(queue),
            when_full: Some(server.pattern.when_full),
            max_line: Some(config.max_line),
            error_prefix: Some("error: ".to_owned()),
            busy_prefix: BUSY_PREFIX.to_owned(),
            idle_timeout: config.idle_timeout,
            idle_tolerance: None,
            ending: Some(Ending::Drain),
            takes_host: true,
            ipv6: true,
            wire: Wire::default(),
            takes_port: true,
            is_launched: true,
            expect: None,
        })
    }

    /// Returns a summary of the contract for the output.
    pub fn words(&self) -> String {
        let mut words = vec![self.service.name().to_owned(), self.places()];
        words.extend(self.wire.words());
        if let Some(bytes) = self.max_line {
            words.push(format!("lines up to {bytes} bytes"));
        }
        if let Some(timeout) = self.idle_timeout {
            words.push(format!("idle timeout {}", humantime::format_duration(timeout)));
        }
        words.join(", ")
    }

    /// Returns a summary of the connection limit and of the overload policy.
    pub fn places(&self) -> String {
        let mut words = vec![match self.capacity {
            Some(1) => "one client at a time".to_owned(),
            Some(clients) => format!("{clients} clients at once"),
            None => "capacity not declared".to_owned(),
        }];
        if let Some(queue @ 1..) = self.queue {
            words.push(format!("{queue} more wait"));
        }
        let next = match self.when_full {
            Some(OverloadPolicy::Wait) => "the next waits",
            Some(OverloadPolicy::Refuse) => "the next is refused",
            Some(OverloadPolicy::Reset) => "the next is reset",
            Some(OverloadPolicy::Busy) => "the next is told busy",
            None => return words.join(", "),
        };
        words.push(next.to_owned());
        words.join(", ")
    }
}
