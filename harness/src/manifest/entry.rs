//! A `[[server]]` entry of a manifest, and the launch spec that it describes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use servers::Service;

use super::contract_table::ContractTable;
use super::optional_time;
use crate::contract::{Contract, Declared, Dialect, RequiredModel};
use crate::server::{Confinement, LaunchOptions, LaunchSpec, Readiness, START_TIMEOUT, split};
use crate::wire::{ReplyRegex, Wire, is_default};

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
    /// Time in which the server must be ready.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_time")]
    pub start_timeout: Option<Duration>,
    /// Regular expression that the output of a ready server matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<ReplyRegex>,
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
        self.contract.0.check().map_err(|error| format!("`contract`: {error}"))?;
        let contract = Contract {
            dialect: self.dialect,
            wire: self.wire.clone(),
            concurrency_model: self.concurrency_model,
            ..Declared { service: Some(self.service), ..self.contract.0.clone() }.contract()
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
            readiness: Readiness {
                timeout: self.start_timeout.unwrap_or(START_TIMEOUT),
                text: self.ready.clone(),
            },
        };
        let spec =
            LaunchSpec::of_words(words, options, contract).map_err(|error| error.to_string())?;
        Ok(LaunchSpec { name: self.name.clone(), unavailable, ..spec })
    }
}

/// Returns a message if the program of the command is not installed on this machine.
pub(crate) fn missing_program(words: &[String], folder: &Path) -> Option<String> {
    let program = words.first()?;
    let is_installed = if program.contains('/') {
        folder.join(program).exists()
    } else {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&paths).any(|path| path.join(program).is_file())
    };
    (!is_installed).then(|| format!("{program} is not installed"))
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
