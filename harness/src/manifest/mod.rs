//! `servers.toml`: launch specs and contracts of external servers.

mod limits;

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use servers::{OverloadPolicy, Service};
use toml::Spanned;

use crate::config_source::Source;
use crate::contract::Declared;
use crate::contract::Expected;
use crate::contract::{Contract, Dialect, Ending};
use crate::server::{Confinement, LaunchSpec, Surroundings, split};
use crate::usage_error::UsageError;
use crate::wire::{Wire, humantime_text, is_default};
use limits::Limits;

/// Content of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// Limits for all servers of the file.
    #[serde(default)]
    limits: Option<Limits>,
    #[serde(default)]
    server: Vec<Spanned<Entry>>,
}

/// A `[[server]]` entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Entry {
    /// Name in reports, unique in the file.
    pub name: String,
    /// Command that starts the server.
    pub command: Command,
    /// Working directory, relative to the manifest's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// Variables added to the environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Port, if it cannot be configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// Text written to standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// Service: calculator or echo.
    #[serde(default = "calc", with = "service")]
    pub service: Service,
    /// Expected concurrency model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expected>,
    /// Declared limits.
    #[serde(default, skip_serializing_if = "is_default")]
    pub contract: Places,
    /// Arithmetic of the calculator.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dialect: Dialect,
    /// Wire protocol.
    #[serde(default, skip_serializing_if = "is_default")]
    pub wire: Wire,
}

/// A command: a shell-like line, or a list of words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a command is a text, or a list of words")]
pub enum Command {
    /// A line that is split into words like by a shell.
    Line(String),
    /// Words that are used as they are.
    Words(Vec<String>),
}

/// Port that a server listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "write \"argument\", or the number of the port that it always takes")]
pub enum Port {
    /// A fixed port.
    Fixed(u16),
    /// A port given to the server.
    Told(Argument),
}

/// Keyword for a port that is given to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Argument {
    /// In the command, in the environment, or on standard input.
    Argument,
}

/// Declared limits: connections, line length and timeouts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Places {
    /// Number of connections served at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<usize>,
    /// Number of further connections that are accepted and wait for a free slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<usize>,
    /// Behaviour towards a connection over the limit.
    #[serde(skip_serializing_if = "Option::is_none", with = "when_full")]
    pub when_full: Option<OverloadPolicy>,
    /// Longest request in bytes.
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
    pub ending: Option<Ending>,
    /// The server can be configured to listen on ::1.
    #[serde(skip_serializing_if = "is_default")]
    pub ipv6: bool,
}

fn calc() -> Service {
    Service::Calc
}

/// Returns the servers of a manifest, or only those with the given names.
///
/// # Errors
/// The file cannot be read, is invalid, or has no server with one of the names. The message has the
/// line, the field and the valid values.
pub fn specs(file: &Path, names: &[String]) -> Result<Vec<LaunchSpec>> {
    let source = Source::read(file, "--manifest").map_err(UsageError)?;
    let folder = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let all = parse(&source, folder).map_err(UsageError)?;
    let known: Vec<&str> = all.iter().map(|spec| spec.name.as_str()).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        let words =
            format!("there is no server `{name}` in {}: it has {}", source.name, known.join(", "));
        return Err(UsageError(words).into());
    }
    let is_wanted = |spec: &LaunchSpec| names.is_empty() || names.contains(&spec.name);
    let mut specs: Vec<LaunchSpec> = all.into_iter().filter(is_wanted).collect();
    for spec in &mut specs {
        let words = ["--manifest", &source.name, &spec.name];
        spec.check_arguments = shlex::try_join(words).map_err(|it| UsageError(it.to_string()))?;
    }
    Ok(specs)
}

fn parse(source: &Source, folder: &Path) -> Result<Vec<LaunchSpec>, String> {
    let written: Written = source.parse()?;
    if written.server.is_empty() {
        return Err(format!("{} has no server: write [[server]]", source.name));
    }
    let limits = written.limits.map(|limits| limits.confinement());
    let mut names = HashSet::new();
    let spec = |entry: Spanned<Entry>| {
        let at = entry.span().start;
        let entry = entry.into_inner();
        if !names.insert(entry.name.clone()) {
            return Err(source.wrong(at, &format!("there are two servers `{}`", entry.name)));
        }
        let spec = entry.spec(folder, limits.clone().unwrap_or_default());
        spec.map_err(|words| source.wrong(at, &format!("server `{}`: {words}", entry.name)))
    };
    written.server.into_iter().map(spec).collect()
}

impl Entry {
    /// Returns the launch spec of the entry.
    ///
    /// # Errors
    /// A message with the invalid field and its valid values.
    pub fn spec(&self, folder: &Path, limits: Confinement) -> Result<LaunchSpec, String> {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        if self.name.is_empty() || !self.name.chars().all(is_plain) {
            return Err("`name` is of letters, digits, - _ and .".to_owned());
        }
        if servers::find(&self.name).is_some() {
            return Err("`name` is that of a built-in server: choose another one".to_owned());
        }
        let words = match &self.command {
            Command::Words(words) => words.clone(),
            Command::Line(line) => split(line).map_err(|error| format!("`command`: {error}"))?,
        };
        self.wire.check().map_err(|words| format!("`wire`: {words}"))?;
        let contract = Contract {
            dialect: self.dialect,
            wire: self.wire.clone(),
            expect: self.expect,
            ..self.contract.contract(self.service)?
        };
        let fixed_port = match self.port {
            Some(Port::Fixed(0)) => return Err("`port` is 1 at least".to_owned()),
            Some(Port::Fixed(port)) => Some(port),
            Some(Port::Told(_)) | None => None,
        };
        let folder = folder.join(self.folder.as_deref().unwrap_or(Path::new("")));
        let unavailable = missing(&words, &folder);
        let surroundings = Surroundings {
            folder: Some(folder),
            environment: self.environment.clone().into_iter().collect(),
            input: self.input.clone(),
            fixed_port,
            limits,
        };
        let spec = LaunchSpec::of_words(words, surroundings, contract)
            .map_err(|error| error.to_string())?;
        Ok(LaunchSpec { name: self.name.clone(), unavailable, ..spec })
    }
}

/// Returns the reason that a command cannot run on this machine, if its program is not installed.
fn missing(words: &[String], folder: &Path) -> Option<String> {
    let program = words.first()?;
    let is_there = if program.contains('/') {
        folder.join(program).exists()
    } else {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&paths).any(|path| path.join(program).is_file())
    };
    (!is_there).then(|| format!("{program} is not installed"))
}

impl Places {
    fn contract(&self, service: Service) -> Result<Contract, String> {
        if self.capacity == Some(0) {
            return Err("`capacity` is 1 at least".to_owned());
        }
        if self.max_line.is_some_and(|bytes| bytes < 64) {
            return Err("`max-line`: a server is not judged on lines of less than 64 bytes".into());
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
            ending: self.ending,
            ipv6: self.ipv6,
            ..Declared::default()
        };
        Ok(declared.contract())
    }
}

/// Optional duration.
mod time {
    use std::time::Duration;

    use serde::{Deserializer, Serializer};

    use super::humantime_text;

    pub(super) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        time.map_or_else(
            || unreachable!("none is left out"),
            |time| humantime_text::serialize(&time, to),
        )
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        humantime_text::deserialize(from).map(Some)
    }
}

/// Overload policy by name.
mod when_full {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use servers::OverloadPolicy;

    pub(super) fn serialize<S: Serializer>(
        met: &Option<OverloadPolicy>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(met.map_or("", OverloadPolicy::name))
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(
        from: D,
    ) -> Result<Option<OverloadPolicy>, D::Error> {
        crate::contract::when_full(&String::deserialize(from)?).map(Some).map_err(D::Error::custom)
    }
}

/// Service by name.
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
