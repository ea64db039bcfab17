//! A `[[server]]` entry of a manifest, and the launch spec that it describes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use servers::{OverloadPolicy, Service};

use crate::contract::{Contract, Declared, Dialect, RequiredModel, ShutdownPolicy};
use crate::server::{Confinement, LaunchOptions, LaunchSpec, split};
use crate::wire::{Wire, humantime_text, is_default};

/// A `[[server]]` entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Entry {
    /// Name in reports, unique in the file.
    pub name: String,
    /// Command that starts the server.
    pub command: Command,
    /// Working directory, relative to the manifest's directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// Variables added to the environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Fixed port, or `argument` if the port can be configured (the default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// Text that the harness writes to the server's standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// Service: calculator or echo.
    #[serde(default = "calc", with = "service")]
    pub service: Service,
    /// Required concurrency model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_model: Option<RequiredModel>,
    /// Declared properties other than service, dialect and wire protocol.
    #[serde(default, skip_serializing_if = "is_default")]
    pub contract: ContractTable,
    /// Dialect of the calculator.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dialect: Dialect,
    /// Wire protocol.
    #[serde(default, skip_serializing_if = "is_default")]
    pub wire: Wire,
}

/// A command: a string that is split like in a shell, or a list of words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "write a string, or a list of words")]
pub enum Command {
    /// A string that is split into words with the quoting rules of a shell.
    Line(String),
    /// Program and arguments, used unchanged.
    Words(Vec<String>),
}

/// Port that a server listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "write \"argument\", or the number of the fixed port")]
pub enum Port {
    /// A fixed port.
    Fixed(u16),
    /// A port that the harness chooses.
    Chosen(Argument),
}

/// Keyword for a port that the harness chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Argument {
    /// The harness passes the port in the command, in the environment or on standard input.
    Argument,
}

/// The `contract` table: declared properties other than service, dialect and wire protocol.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ContractTable {
    /// Number of connections served at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<usize>,
    /// Number of connections beyond the capacity that the server accepts and keeps waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<usize>,
    /// Behaviour towards a connection over the limit.
    #[serde(skip_serializing_if = "Option::is_none", with = "when_full")]
    pub when_full: Option<OverloadPolicy>,
    /// Longest accepted request in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_line: Option<usize>,
    /// Prefix of every error reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_prefix: Option<String>,
    /// Prefix of the reply to a connection over the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busy_prefix: Option<String>,
    /// Idle time after which the server closes a connection.
    #[serde(skip_serializing_if = "Option::is_none", with = "time")]
    pub idle_timeout: Option<Duration>,
    /// Permitted delay of the close after the idle timeout.
    #[serde(skip_serializing_if = "Option::is_none", with = "time")]
    pub idle_tolerance: Option<Duration>,
    /// Behaviour on SIGTERM and SIGINT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shutdown: Option<ShutdownPolicy>,
    /// Whether the server can listen on ::1.
    #[serde(skip_serializing_if = "is_default")]
    pub ipv6: bool,
}

fn calc() -> Service {
    Service::Calc
}

impl Entry {
    /// Returns the launch spec of the entry.
    ///
    /// # Errors
    /// A value is invalid. The message has the key and its valid values.
    pub fn spec(&self, folder: &Path, confinement: Confinement) -> Result<LaunchSpec, String> {
        let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        if self.name.is_empty() || !self.name.chars().all(is_allowed) {
            return Err("`name` may contain only letters, digits, `-`, `_` and `.`".to_owned());
        }
        if servers::find(&self.name).is_some() {
            return Err("`name` is the name of a built-in server: choose another name".to_owned());
        }
        let words = match &self.command {
            Command::Words(words) => words.clone(),
            Command::Line(line) => split(line).map_err(|error| format!("`command`: {error}"))?,
        };
        self.wire.check().map_err(|error| format!("`wire`: {error}"))?;
        let contract = Contract {
            dialect: self.dialect,
            wire: self.wire.clone(),
            concurrency_model: self.concurrency_model,
            ..self.contract.contract(self.service)?
        };
        let fixed_port = match self.port {
            Some(Port::Fixed(0)) => return Err("`port` must be from 1 to 65535".to_owned()),
            Some(Port::Fixed(port)) => Some(port),
            Some(Port::Chosen(_)) | None => None,
        };
        let folder = folder.join(self.folder.as_deref().unwrap_or(Path::new("")));
        let unavailable = missing_program(&words, &folder);
        let options = LaunchOptions {
            folder: Some(folder),
            environment: self.environment.clone().into_iter().collect(),
            input: self.input.clone(),
            fixed_port,
            confinement,
        };
        let spec =
            LaunchSpec::of_words(words, options, contract).map_err(|error| error.to_string())?;
        Ok(LaunchSpec { name: self.name.clone(), unavailable, ..spec })
    }
}

/// Returns a message if the program of the command is not installed on this machine.
fn missing_program(words: &[String], folder: &Path) -> Option<String> {
    let program = words.first()?;
    let is_installed = if program.contains('/') {
        folder.join(program).exists()
    } else {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&paths).any(|path| path.join(program).is_file())
    };
    (!is_installed).then(|| format!("{program} is not installed"))
}

impl ContractTable {
    fn contract(&self, service: Service) -> Result<Contract, String> {
        if self.capacity == Some(0) {
            return Err("`capacity` must be at least 1".to_owned());
        }
        if self.max_line.is_some_and(|bytes| bytes < 64) {
            return Err("`max-line` must be at least 64 bytes".into());
        }
        let declared = Declared {
            service: Some(service),
            capacity: self.capacity,
            queue: self.queue,
            when_full: self.when_full,
            max_line: self.max_line,
            error_prefix: self.error_prefix.clone(),
            busy_prefix: self.busy_prefix.clone(),
            idle_timeout: self.idle_timeout,
            idle_tolerance: self.idle_tolerance,
            shutdown: self.shutdown,
            ipv6: self.ipv6,
            ..Declared::default()
        };
        Ok(declared.contract())
    }
}

/// Serialization of an optional duration.
pub(super) mod time {
    use std::time::Duration;

    use serde::{Deserializer, Serializer};

    use super::humantime_text;

    pub(in crate::manifest) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        time.map_or_else(
            || unreachable!("`None` is skipped before serialization"),
            |time| humantime_text::serialize(&time, to),
        )
    }

    pub(in crate::manifest) fn deserialize<'d, D: Deserializer<'d>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        humantime_text::deserialize(from).map(Some)
    }
}

/// Serialization of an optional overload policy by its name.
mod when_full {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use servers::OverloadPolicy;

    pub(super) fn serialize<S: Serializer>(
        policy: &Option<OverloadPolicy>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(policy.map_or("", OverloadPolicy::name))
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(
        from: D,
    ) -> Result<Option<OverloadPolicy>, D::Error> {
        crate::contract::when_full(&String::deserialize(from)?).map(Some).map_err(D::Error::custom)
    }
}

/// Serialization of a service by its name.
mod service {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use servers::Service;

    pub(super) fn serialize<S: Serializer>(service: &Service, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(service.name())
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Service, D::Error> {
        crate::contract::service(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}
