//! What a server declares about itself, before it is judged.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use servers::{Limits, LimitsError, OverloadPolicy, Service};

use super::{Dialect, Expected};
use crate::exit::Exit;
use crate::wire::{Wire, respaced};

/// What a server declares. `None` is "says nothing": a case that needs to know is then not
/// applicable, and says which declaration is missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Contract {
    /// What it answers.
    pub service: Service,
    /// What its arithmetic means.
    pub dialect: Dialect,
    /// How many clients it serves at once.
    pub capacity: Option<usize>,
    /// How many more it takes in to wait until one of those has left.
    pub queue: Option<usize>,
    /// What one client more meets.
    pub when_full: Option<OverloadPolicy>,
    /// The longest request in bytes; one byte more is answered with an error.
    pub max_line: Option<usize>,
    /// What every error reply begins with.
    pub error_prefix: Option<String>,
    /// What the line begins with that a client is told who finds the server full.
    pub busy_prefix: String,
    /// How long a client may be silent before it is closed.
    pub idle_timeout: Option<Duration>,
    /// How much later it may be closed.
    pub idle_tolerance: Option<Duration>,
    /// What SIGTERM and SIGINT do.
    pub ending: Option<Ending>,
    /// Whether it can be told on which host to listen.
    pub takes_host: bool,
    /// Whether that can be ::1.
    pub ipv6: bool,
    /// How requests and replies lie on the wire.
    pub wire: Wire,
    /// Whether it can be told on which port to listen.
    pub takes_port: bool,
    /// Whether it is launched here, so that its processes can be looked at.
    pub is_launched: bool,
    /// How it is to be built.
    pub expect: Option<Expected>,
}

/// What SIGTERM and SIGINT do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// Requests that have been received are answered, then it exits with code 0.
    Drain,
    /// It ends at once, whatever is under way.
    Abort,
}

impl Ending {
    /// Both of them.
    pub const ALL: &[Ending] = &[Ending::Drain, Ending::Abort];

    /// Returns its name in flags and files.
    pub fn name(self) -> &'static str {
        match self {
            Ending::Drain => "drain",
            Ending::Abort => "abort",
        }
    }
}

/// How much later than declared an idle client may be closed, at the least, unless declared
/// otherwise: schedulers are late.
const IDLE_TOLERANCE: Duration = Duration::from_millis(500);

/// What a busy line begins with, unless declared otherwise.
pub const BUSY_PREFIX: &str = "error: busy";

impl Contract {
    /// That of a server which says no more than what it answers.
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

    /// A request as it is sent. Where each must be of two numbers, a number alone becomes the sum of
    /// it and nothing, in as many bytes if there is space behind it.
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

    /// Whether a reply is an error; none where it is not declared what one looks like.
    pub fn is_error(&self, reply: &[u8]) -> Option<bool> {
        let begins = self.error_prefix.as_ref().map(|it| reply.starts_with(it.as_bytes()));
        let matches = self.wire.error.as_ref().map(|pattern| pattern.is_in(reply));
        match (begins, matches) {
            (None, found) | (found, None) => found,
            (Some(one), Some(other)) => Some(one || other),
        }
    }

    /// Whether it may end so by itself: because it has served as many clients as it lives for.
    pub fn may_end_by(&self, exit: Exit) -> bool {
        self.wire.clients_per_life.is_some() && exit == Exit::Code(0)
    }

    /// Whether a line tells a client that the server is full.
    pub fn is_busy(&self, line: &[u8]) -> bool {
        line.starts_with(self.busy_prefix.as_bytes())
    }

    /// By when a client that is silent must have been closed.
    pub fn idle_until(&self) -> Duration {
        let timeout = self.idle_timeout.unwrap_or_default();
        timeout + self.idle_tolerance.unwrap_or(IDLE_TOLERANCE.max(timeout / 4))
    }

    /// The contract of a built-in server under the given limits.
    ///
    /// # Errors
    /// A limit that the pattern cannot keep.
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

    /// The contract in words, for people.
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

    /// What it says about how many clients are served, and what the next one meets.
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
