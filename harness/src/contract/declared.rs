//! Declarable properties of a server, one table row per property.

use std::time::Duration;

use servers::{OverloadPolicy, Service};

use super::parsers::{
    connections, format_wire, max_line, named, prefix, service, set, set_to_true, when_full, wire,
};
use super::{Broadcast, Contract, Dialect, Division, RequiredModel, ShutdownPolicy, Transform};
use crate::units::{self, format_duration};
use crate::wire::Wire;

/// Declared properties of a server. Cases that depend on an undeclared property do not apply.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Declared {
    /// Service: calculator or echo.
    pub service: Option<Service>,
    /// Transformation of the replies of an echo server.
    pub transform: Option<Transform>,
    /// The clients that receive a client's messages, for a server that broadcasts.
    pub broadcast: Option<Broadcast>,
    /// Number of connections served at the same time.
    pub capacity: Option<usize>,
    /// Number of connections beyond the capacity that the server accepts and keeps waiting.
    pub queue: Option<usize>,
    /// Behaviour towards a connection over the limit.
    pub when_full: Option<OverloadPolicy>,
    /// Result of `7 / 2`.
    pub division: Option<Division>,
    /// Whether integers have 64 bits and an overflow gets an error reply.
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
    pub shutdown: Option<ShutdownPolicy>,
    /// Whether the server can listen on ::1.
    pub ipv6: bool,
    /// Wire protocol.
    pub wire: Option<Wire>,
    /// Required concurrency model.
    pub concurrency_model: Option<RequiredModel>,
    /// Port of the server, if it always listens on the same port.
    pub port: Option<u16>,
    /// Text written to the server's standard input.
    pub input: Option<String>,
}

/// A declarable property: name and help of its flag, parser and formatter of its value.
pub struct Property {
    /// Name of the flag, without the dashes.
    pub name: &'static str,
    /// Placeholder for the value in the help; `None` if the flag takes no value.
    pub placeholder: Option<&'static str>,
    /// Type of the value in JSON and in a manifest.
    pub value_type: ValueType,
    /// Table of a manifest that has the key of the property.
    pub table: ManifestTable,
    /// Help text.
    pub help: &'static str,
    /// Whether the flag requires `--cmd`, because it determines how the server is launched.
    pub requires_cmd: bool,
    /// Parses the value and sets the property. For a flag without a value, the text is empty. The
    /// error names the valid values.
    pub parse: fn(&mut Declared, &str) -> Result<(), String>,
    /// Formats the value as `parse` reads it. Returns `None` if the property is undeclared.
    pub format: fn(&Declared) -> Option<String>,
}

/// Table of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestTable {
    /// `[[server]]`.
    Server,
    /// `[server.contract]`.
    Contract,
    /// `[server.dialect]`.
    Dialect,
}

/// Type of the value of a property in JSON and in a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// `true`, for a flag without a value.
    Flag,
    /// A number without a unit.
    Number,
    /// The text that the flag takes.
    Text,
}

/// All properties, in the order of the help.
pub const PROPERTIES: &[Property] = &[
    Property {
        name: "service",
        placeholder: Some("calc|echo"),
        value_type: ValueType::Text,
        table: ManifestTable::Server,
        help: "Service: `calc` evaluates expressions, `echo` returns each request [default: calc]",
        requires_cmd: false,
        parse: |it, text| set(&mut it.service, service(text)),
        format: |it| it.service.map(|service| service.name().to_owned()),
    },
    Property {
        name: "transform",
        placeholder: Some("upper|lower|reverse|trim|trim-end|rot13"),
        value_type: ValueType::Text,
        table: ManifestTable::Contract,
        help: "Transformation of each reply of an echo server: `upper` or `lower` case, `reverse`, `trim` (without white space at both ends), `trim-end` (without white space at the end), `rot13` (each letter replaced by the 13th after it), or several, separated by commas [default: the reply is identical to the request]",
        requires_cmd: false,
        parse: |it, text| set(&mut it.transform, text.parse()),
        format: |it| it.transform.map(|transform| transform.to_string()),
    },
    Property {
        name: "broadcast",
        placeholder: Some("all|others"),
        value_type: ValueType::Text,
        table: ManifestTable::Contract,
        help: "The server sends each message of a client to all clients (`all`), or to all clients except the sender (`others`) [default: only the sender gets a reply]",
        requires_cmd: false,
        parse: |it, text| set(&mut it.broadcast, named(Broadcast::ALL, Broadcast::name, text)),
        format: |it| it.broadcast.map(|broadcast| broadcast.name().to_owned()),
    },
    Property {
        name: "capacity",
        placeholder: Some("N"),
        value_type: ValueType::Number,
        table: ManifestTable::Contract,
        help: "Connection limit: number of connections served at the same time",
        requires_cmd: false,
        parse: |it, text| set(&mut it.capacity, connections(text, 1)),
        format: |it| it.capacity.map(|clients| clients.to_string()),
    },
    Property {
        name: "queue",
        placeholder: Some("N"),
        value_type: ValueType::Number,
        table: ManifestTable::Contract,
        help: "Number of connections beyond --capacity that the server accepts and keeps waiting until a connection slot is free",
        requires_cmd: false,
        parse: |it, text| set(&mut it.queue, connections(text, 0)),
        format: |it| it.queue.map(|clients| clients.to_string()),
    },
    Property {
        name: "when-full",
        placeholder: Some("wait|refuse|reset|busy"),
        value_type: ValueType::Text,
        table: ManifestTable::Contract,
        help: "Overload policy for connections beyond --capacity and --queue: they stay in the accept queue (`wait`), are refused (`refuse`), are accepted and reset (`reset`), or are accepted, get a line that begins with --busy-prefix and are closed (`busy`)",
        requires_cmd: false,
        parse: |it, text| set(&mut it.when_full, when_full(text)),
        format: |it| it.when_full.map(|when_full| when_full.name().to_owned()),
    },
    Property {
        name: "division",
        placeholder: Some("integer|exact"),
        value_type: ValueType::Text,
        table: ManifestTable::Dialect,
        help: "Result of 7 / 2: `integer` for 3, `exact` for 3.5",
        requires_cmd: false,
        parse: |it, text| set(&mut it.division, named(Division::ALL, Division::name, text)),
        format: |it| it.division.map(|division| division.name().to_owned()),
    },
    Property {
        name: "overflow",
        placeholder: None,
        value_type: ValueType::Flag,
        table: ManifestTable::Dialect,
        help: "The server computes with 64-bit integers, and an overflow gets an error reply",
        requires_cmd: false,
        parse: |it, _| set_to_true(&mut it.overflow),
        format: |it| it.overflow.then(String::new),
    },
    Property {
        name: "error-prefix",
        placeholder: Some("TEXT"),
        value_type: ValueType::Text,
        table: ManifestTable::Contract,
        help: "Prefix of every error reply",
        requires_cmd: false,
        parse: |it, text| set(&mut it.error_prefix, prefix(text)),
        format: |it| it.error_prefix.clone(),
    },
    Property {
        name: "busy-prefix",
        placeholder: Some("TEXT"),
        value_type: ValueType::Text,
        table: ManifestTable::Contract,
        help: "Prefix of the reply to a connection over the limit [default: error: busy]",
        requires_cmd: false,
        parse: |it, text| set(&mut it.busy_prefix, prefix(text)),
        format: |it| it.busy_prefix.clone(),
    },
    Property {
        name: "max-line",
        placeholder: Some("BYTES"),
        value_type: ValueType::Number,
        table: ManifestTable::Contract,
        help: "Longest accepted request in bytes, without the line end (minimum: 64)",
        requires_cmd: false,
        parse: |it, text| set(&mut it.max_line, max_line(text)),
        format: |it| it.max_line.map(|bytes| bytes.to_string()),
    },
    Property {
        name: "idle-timeout",
        placeholder: Some("TIME"),
        value_type: ValueType::Text,
        table: ManifestTable::Contract,
        help: "Idle timeout: the server closes connections that are idle for longer than TIME",
        requires_cmd: false,
        parse: |it, text| set(&mut it.idle_timeout, units::duration(text)),
        format: |it| it.idle_timeout.map(format_duration),
    },
    Property {
        name: "idle-tolerance",
        placeholder: Some("TIME"),
        value_type: ValueType::Text,
        table: ManifestTable::Contract,
        help: "Permitted delay between the idle timeout and the close [default: 500ms, or a quarter of the idle timeout if that is longer]",
        requires_cmd: false,
        parse: |it, text| set(&mut it.idle_tolerance, units::duration(text)),
        format: |it| it.idle_tolerance.map(format_duration),
    },
    Property {
        name: "shutdown",
        placeholder: Some("drain|abort"),
        value_type: ValueType::Text,
        table: ManifestTable::Contract,
        help: "Behaviour on SIGTERM and SIGINT: `drain` answers the received requests, then exits with code 0; `abort` exits at once",
        requires_cmd: false,
        parse: |it, text| {
            set(&mut it.shutdown, named(ShutdownPolicy::ALL, ShutdownPolicy::name, text))
        },
        format: |it| it.shutdown.map(|policy| policy.name().to_owned()),
    },
    Property {
        name: "ipv6",
        placeholder: None,
        value_type: ValueType::Flag,
        table: ManifestTable::Contract,
        help: "The server can listen on ::1",
        requires_cmd: false,
        parse: |it, _| set_to_true(&mut it.ipv6),
        format: |it| it.ipv6.then(String::new),
    },
    Property {
        name: "wire",
        placeholder: Some("TOML"),
        value_type: ValueType::Text,
        table: ManifestTable::Server,
        help: "Wire protocol, as in the `wire` table of a manifest: 'reply-end = \"\\r\\n\", prompt = \"> \"'",
        requires_cmd: false,
        parse: |it, text| set(&mut it.wire, wire(text)),
        format: |it| it.wire.as_ref().map(format_wire),
    },
    Property {
        name: "concurrency-model",
        placeholder: Some("MODEL"),
        value_type: ValueType::Text,
        table: ManifestTable::Server,
        help: "Required concurrency model: iterative, fork (process per connection), prefork, threads (thread per connection), thread-pool, select, poll, epoll, io_uring, async-runtime, or a class of models: event-loop (one thread serves several connections at a time), processes (fork or prefork), single-thread (one process with one thread)",
        requires_cmd: false,
        parse: |it, text| {
            set(
                &mut it.concurrency_model,
                text.parse::<RequiredModel>().map_err(|it| it.to_string()),
            )
        },
        format: |it| it.concurrency_model.map(|required| required.to_string()),
    },
    Property {
        name: "port",
        placeholder: Some("PORT"),
        value_type: ValueType::Number,
        table: ManifestTable::Server,
        help: "Port of a server that always listens on the same port",
        requires_cmd: true,
        parse: |it, text| set(&mut it.port, units::port(text)),
        format: |it| it.port.map(|port| port.to_string()),
    },
    Property {
        name: "input",
        placeholder: Some("TEXT"),
        value_type: ValueType::Text,
        table: ManifestTable::Server,
        help: "Text to write to the server's standard input, such as '{port}\\n'",
        requires_cmd: true,
        parse: |it, text| set(&mut it.input, units::unescape(text)),
        format: |it| it.input.as_ref().map(|text| text.escape_default().to_string()),
    },
];

impl Declared {
    /// Checks that the properties fit together.
    ///
    /// # Errors
    /// A property has no effect without another one.
    pub fn check(&self) -> Result<(), String> {
        match (self.idle_tolerance, self.idle_timeout) {
            (Some(_), None) => {
                Err("idle-tolerance needs idle-timeout: declare the idle timeout too".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Returns the contract with the declared properties.
    pub fn contract(&self) -> Contract {
        let undeclared = Contract::undeclared(self.service.unwrap_or(Service::Calc));
        Contract {
            dialect: Dialect {
                division: self.division,
                overflow_is_error: self.overflow,
                ..Dialect::default()
            },
            transform: self.transform,
            broadcast: self.broadcast,
            capacity: self.capacity,
            queue: self.queue,
            when_full: self.when_full,
            max_line: self.max_line,
            error_prefix: self.error_prefix.clone(),
            busy_prefix: self.busy_prefix.clone().unwrap_or(undeclared.busy_prefix.clone()),
            idle_timeout: self.idle_timeout,
            idle_tolerance: self.idle_tolerance,
            shutdown: self.shutdown,
            ipv6: self.ipv6,
            wire: self.wire.clone().unwrap_or_default(),
            concurrency_model: self.concurrency_model,
            ..undeclared
        }
    }

    /// Returns the command-line flags that declare these properties.
    pub fn flags(&self) -> Vec<String> {
        let flags = |property: &Property| {
            let name = property.name;
            match (property.format)(self) {
                None => Vec::new(),
                Some(_) if property.placeholder.is_none() => vec![format!("--{name}")],
                Some(value) if value.starts_with('-') => vec![format!("--{name}={value}")],
                Some(value) => vec![format!("--{name}"), value],
            }
        };
        PROPERTIES.iter().flat_map(flags).collect()
    }
}
