//! Properties that the owner of a server declares, one table row per property.

use std::time::Duration;

use serde::Deserialize;
use servers::{OverloadPolicy, Service};

use super::{Contract, Dialect, Division, Ending, Expected};
use crate::config_source::inline;
use crate::units::{self, written};
use crate::wire::Wire;

/// Minimum of `--max-line`, in bytes. A lower limit leaves too little room for requests.
pub(crate) const SHORTEST_JUDGED: usize = 64;

/// Declared properties of a server. Cases that depend on an undeclared property do not apply.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// Service: calculator or echo.
    pub service: Option<Service>,
    /// Number of connections served at the same time.
    pub capacity: Option<usize>,
    /// Number of further connections that are accepted and wait for a free slot.
    pub queue: Option<usize>,
    /// Behaviour towards a connection over the limit.
    pub when_full: Option<OverloadPolicy>,
    /// Result of `7 / 2`.
    pub division: Option<Division>,
    /// Integers have 64 bits, and overflow is an error.
    pub overflow: bool,
    /// Prefix of every error reply.
    pub error_prefix: Option<String>,
    /// Prefix of the reply to a connection over the limit.
    pub busy_prefix: Option<String>,
    /// Longest request in bytes.
    pub max_line: Option<usize>,
    /// Idle time after which the server closes a connection.
    pub idle_timeout: Option<Duration>,
    /// Permitted delay of the close after the idle timeout.
    pub idle_tolerance: Option<Duration>,
    /// Behaviour on SIGTERM and SIGINT.
    pub ending: Option<Ending>,
    /// The server can be configured to listen on ::1.
    pub ipv6: bool,
    /// Wire protocol.
    pub wire: Option<Wire>,
    /// Expected concurrency model.
    pub expect: Option<Expected>,
    /// Port of a server whose port cannot be configured.
    pub port: Option<u16>,
    /// Text written to the server's standard input.
    pub input: Option<String>,
}

/// A declarable property: its flag, the parser and formatter of its value, and its help.
pub struct Property {
    /// Name of the flag, without the dashes.
    pub name: &'static str,
    /// Placeholder for the value in help; `None` if the flag takes no value.
    pub value: Option<&'static str>,
    /// Help text.
    pub help: &'static str,
    /// Applies only to a server that is started by a command.
    pub is_of_command: bool,
    /// Sets the property. The text is empty for a flag without a value. The error names the valid
    /// values.
    pub read: fn(&mut Declared, &str) -> Result<(), String>,
    /// Returns the value in the format that `read` parses, or `None` if the property is undeclared.
    pub written: fn(&Declared) -> Option<String>,
}

/// All properties, in the order of the help.
pub const PROPERTIES: &[Property] = &[
    Property {
        name: "service",
        value: Some("calc|echo"),
        help: "What it answers [default: calc]",
        is_of_command: false,
        read: |it, text| set(&mut it.service, service(text)),
        written: |it| it.service.map(|service| service.name().to_owned()),
    },
    Property {
        name: "capacity",
        value: Some("N"),
        help: "How many clients it serves at once",
        is_of_command: false,
        read: |it, text| set(&mut it.capacity, units::positive(text)),
        written: |it| it.capacity.map(|clients| clients.to_string()),
    },
    Property {
        name: "queue",
        value: Some("N"),
        help: "How many more it accepts and lets wait until one of those has left",
        is_of_command: false,
        read: |it, text| set(&mut it.queue, units::count(text)),
        written: |it| it.queue.map(|clients| clients.to_string()),
    },
    Property {
        name: "when-full",
        value: Some("wait|refuse|reset|busy"),
        help: "What a connection over the limit meets",
        is_of_command: false,
        read: |it, text| set(&mut it.when_full, when_full(text)),
        written: |it| it.when_full.map(|when_full| when_full.name().to_owned()),
    },
    Property {
        name: "division",
        value: Some("integer|exact"),
        help: "What 7 / 2 is: `integer` for 3, `exact` for 3.5",
        is_of_command: false,
        read: |it, text| set(&mut it.division, named(Division::ALL, Division::name, text)),
        written: |it| it.division.map(|division| division.name().to_owned()),
    },
    Property {
        name: "overflow",
        value: None,
        help: "Integers have 64 bits, and leaving them is an error",
        is_of_command: false,
        read: |it, _| set_to_true(&mut it.overflow),
        written: |it| it.overflow.then(String::new),
    },
    Property {
        name: "error-prefix",
        value: Some("TEXT"),
        help: "Prefix of every error reply",
        is_of_command: false,
        read: |it, text| set(&mut it.error_prefix, Ok(text.to_owned())),
        written: |it| it.error_prefix.clone(),
    },
    Property {
        name: "busy-prefix",
        value: Some("TEXT"),
        help: "Prefix of the reply to a connection over the limit [default: error: busy]",
        is_of_command: false,
        read: |it, text| set(&mut it.busy_prefix, Ok(text.to_owned())),
        written: |it| it.busy_prefix.clone(),
    },
    Property {
        name: "max-line",
        value: Some("BYTES"),
        help: "The longest request in bytes, at least 64",
        is_of_command: false,
        read: |it, text| set(&mut it.max_line, judged_size(text)),
        written: |it| it.max_line.map(|bytes| bytes.to_string()),
    },
    Property {
        name: "idle-timeout",
        value: Some("TIME"),
        help: "Connections that are idle for longer than TIME are closed",
        is_of_command: false,
        read: |it, text| set(&mut it.idle_timeout, units::duration(text)),
        written: |it| it.idle_timeout.map(written),
    },
    Property {
        name: "idle-tolerance",
        value: Some("TIME"),
        help: "How much later they may be closed [default: 500ms, or a quarter of the idle timeout if that is more]",
        is_of_command: false,
        read: |it, text| set(&mut it.idle_tolerance, units::duration(text)),
        written: |it| it.idle_tolerance.map(written),
    },
    Property {
        name: "ending",
        value: Some("drain|abort"),
        help: "What SIGTERM and SIGINT do: `drain` answers what was received, then exits with 0; `abort` exits at once",
        is_of_command: false,
        read: |it, text| set(&mut it.ending, named(Ending::ALL, Ending::name, text)),
        written: |it| it.ending.map(|ending| ending.name().to_owned()),
    },
    Property {
        name: "ipv6",
        value: None,
        help: "It can be told to listen on ::1",
        is_of_command: false,
        read: |it, _| set_to_true(&mut it.ipv6),
        written: |it| it.ipv6.then(String::new),
    },
    Property {
        name: "wire",
        value: Some("TOML"),
        help: "The protocol, as in the `wire` table of a manifest: 'reply-end = \"\\r\\n\", prompt = \"> \"'",
        is_of_command: false,
        read: |it, text| set(&mut it.wire, wire(text)),
        written: |it| it.wire.as_ref().map(in_line),
    },
    Property {
        name: "expect",
        value: Some("MODEL"),
        help: "The concurrency model that it must have: iterative, fork, prefork, threads, thread-pool, select, poll, epoll, io_uring, async, event-loop, processes or single-thread",
        is_of_command: false,
        read: |it, text| set(&mut it.expect, text.parse::<Expected>().map_err(|it| it.to_string())),
        written: |it| it.expect.map(|expected| expected.to_string()),
    },
    Property {
        name: "port",
        value: Some("PORT"),
        help: "The port that it always listens on, if it cannot be told one",
        is_of_command: true,
        read: |it, text| set(&mut it.port, units::port(text)),
        written: |it| it.port.map(|port| port.to_string()),
    },
    Property {
        name: "input",
        value: Some("TEXT"),
        help: "What it is given on standard input, such as '{port}\\n'",
        is_of_command: true,
        read: |it, text| set(&mut it.input, units::text(text)),
        written: |it| it.input.as_ref().map(|text| text.escape_default().to_string()),
    },
];

impl Declared {
    /// Returns the contract with the declared properties.
    pub fn contract(&self) -> Contract {
        let undeclared = Contract::undeclared(self.service.unwrap_or(Service::Calc));
        Contract {
            dialect: Dialect {
                division: self.division,
                overflow_is_error: self.overflow,
                ..Dialect::default()
            },
            capacity: self.capacity,
            queue: self.queue,
            when_full: self.when_full,
            max_line: self.max_line,
            error_prefix: self.error_prefix.clone(),
            busy_prefix: self.busy_prefix.clone().unwrap_or(undeclared.busy_prefix.clone()),
            idle_timeout: self.idle_timeout,
            idle_tolerance: self.idle_tolerance,
            ending: self.ending,
            ipv6: self.ipv6,
            wire: self.wire.clone().unwrap_or_default(),
            expect: self.expect,
            ..undeclared
        }
    }

    /// Returns the flags that declare the same properties.
    pub fn flags(&self) -> Vec<String> {
        let flags = |property: &Property| {
            let (name, value) = (property.name, (property.written)(self));
            match value {
                None => Vec::new(),
                Some(_) if property.value.is_none() => vec![format!("--{name}")],
                Some(value) if value.starts_with('-') => vec![format!("--{name}={value}")],
                Some(value) => vec![format!("--{name}"), value],
            }
        };
        PROPERTIES.iter().flat_map(flags).collect()
    }
}

fn set<T>(property: &mut Option<T>, value: Result<T, String>) -> Result<(), String> {
    *property = Some(value?);
    Ok(())
}

fn set_to_true(property: &mut bool) -> Result<(), String> {
    *property = true;
    Ok(())
}

/// Returns the value with this name, or an error that lists all names.
fn named<T: Copy>(all: &[T], name: fn(T) -> &'static str, text: &str) -> Result<T, String> {
    let found = all.iter().find(|&&one| name(one) == text);
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|&one| name(one)).collect();
        match names.split_last() {
            Some((last, [])) => format!("choose {last}"),
            Some((last, others)) => format!("choose {} or {last}", others.join(", ")),
            None => "there is nothing to choose".to_owned(),
        }
    })
}

/// Parses a wire protocol in one line, in the syntax of the `wire` table of a manifest.
pub(crate) fn wire(text: &str) -> Result<Wire, String> {
    let read = toml::from_str::<InLine>(&format!("wire = {{ {text} }}"));
    let InLine { wire } = read.map_err(|error| error.message().to_owned())?;
    wire.check().map(|()| wire)
}

/// Formats a wire protocol as [`wire`] parses it.
fn in_line(wire: &Wire) -> String {
    let written = toml::Value::try_from(wire).map(|value| inline(&value)).unwrap_or_default();
    let inner = written.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    inner.unwrap_or_default().trim().to_owned()
}

/// Wrapper that parses a wire protocol as the value of a key.
#[derive(Deserialize)]
struct InLine {
    wire: Wire,
}

pub(crate) fn service(name: &str) -> Result<Service, String> {
    named(Service::ALL, Service::name, name)
}

pub(crate) fn when_full(name: &str) -> Result<OverloadPolicy, String> {
    named(OverloadPolicy::ALL, OverloadPolicy::name, name)
}

/// Parses a request length limit of at least [`SHORTEST_JUDGED`] bytes.
fn judged_size(text: &str) -> Result<usize, String> {
    match units::size(text)? {
        0..SHORTEST_JUDGED => {
            Err(format!("a server is not judged on lines of less than {SHORTEST_JUDGED} bytes"))
        }
        bytes => Ok(bytes),
    }
}
