//! `servers.toml`: launch specs and contracts of external servers.

mod confinement;
mod contract_table;
mod entry;
mod optional_time;

use std::collections::HashSet;
use std::path::Path;

use anyhow::Result;
use serde::Deserialize;
use toml::Spanned;

use crate::config_source::{FileKind, Source};
use crate::server::LaunchSpec;
use crate::usage_error::UsageError;
use confinement::ConfinementTable;
pub use contract_table::ContractTable;
pub(crate) use entry::missing_program;
pub use entry::{Argument, Command, Entry, Port};

/// Content of a manifest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    /// Confinement of all servers of the file.
    #[serde(default)]
    confinement: Option<ConfinementTable>,
    #[serde(default)]
    server: Vec<Spanned<Entry>>,
}

/// Flag, table and help of a manifest, for error messages.
const KIND: FileKind = FileKind {
    flag: "--manifest",
    entries: "server",
    help: "--manifest takes a TOML file with a [[server]] entry for each server (docs/manifest.md); \
           `harness probe --cmd COMMAND --output FILE` writes one",
};

/// Returns the servers of a manifest, or only those with the given names.
///
/// # Errors
/// As [`Manifest::read`] and [`Manifest::select`].
pub fn specs(file: &Path, names: &[String]) -> Result<Vec<LaunchSpec>> {
    Manifest::read(file)?.select(names)
}

/// A parsed manifest.
#[derive(Debug)]
pub struct Manifest {
    /// Path of the file, as shown in messages and commands.
    name: String,
    specs: Vec<LaunchSpec>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// The file cannot be read or is invalid. The message has the line, the key and the valid
    /// values.
    pub fn read(file: &Path) -> Result<Manifest> {
        let source = Source::read(file, &KIND).map_err(UsageError)?;
        let folder = match file.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let mut specs = parse(&source, folder).map_err(UsageError)?;
        for spec in &mut specs {
            let arguments = ["--manifest", &source.name, &spec.name];
            spec.check_arguments =
                shlex::try_join(arguments).map_err(|it| UsageError(it.to_string()))?;
        }
        Ok(Manifest { name: source.name, specs })
    }

    /// Returns the names of the servers.
    pub fn names(&self) -> Vec<String> {
        self.specs.iter().map(|spec| spec.name.clone()).collect()
    }

    /// Returns the servers with these names, or all servers for an empty list.
    ///
    /// # Errors
    /// The manifest has no server with one of the names. The message has the valid names.
    pub fn select(self, names: &[String]) -> Result<Vec<LaunchSpec>> {
        let known = self.names();
        if let Some(name) = names.iter().find(|name| !known.contains(name)) {
            let message = format!(
                "there is no server `{name}` in {}: the servers are {}",
                self.name,
                known.join(", ")
            );
            return Err(UsageError(message).into());
        }
        let is_selected = |spec: &LaunchSpec| names.is_empty() || names.contains(&spec.name);
        Ok(self.specs.into_iter().filter(is_selected).collect())
    }
}

/// Parses the text of a manifest. Its paths are relative to the working directory.
///
/// # Errors
/// As [`Manifest::read`].
pub(crate) fn specs_in(name: &str, text: &str) -> Result<Vec<LaunchSpec>> {
    let source = Source { name: name.to_owned(), text: text.to_owned(), kind: &KIND };
    Ok(parse(&source, Path::new(".")).map_err(UsageError)?)
}

fn parse(source: &Source, folder: &Path) -> Result<Vec<LaunchSpec>, String> {
    let content: Content = source.parse()?;
    if content.server.is_empty() {
        return Err(format!("{} has no server\n{}", source.name, KIND.help));
    }
    let confinement = content.confinement.map(|table| table.confinement());
    let mut names = HashSet::new();
    let spec = |entry: Spanned<Entry>| {
        let at = entry.span().start;
        let entry = entry.into_inner();
        if !names.insert(entry.name.clone()) {
            return Err(source.error_at(
                at,
                &format!("another server has the name `{}`: choose another name", entry.name),
            ));
        }
        let spec = entry.spec(folder, confinement.clone().unwrap_or_default());
        spec.map_err(|error| source.error_at(at, &format!("server `{}`: {error}", entry.name)))
    };
    content.server.into_iter().map(spec).collect()
}
