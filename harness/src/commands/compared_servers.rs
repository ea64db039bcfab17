//! The servers of an interleaved comparison.

use std::collections::HashSet;

use anyhow::Result;
use servers::Limits;

use super::command_server::command_server;
use super::selection::named;
use crate::cli;
use crate::manifest::Manifest;
use crate::server::{LaunchSpec, Launcher};
use crate::usage_error::UsageError;

/// The servers of a comparison.
pub(crate) struct ComparisonServers {
    pub(crate) servers: Vec<LaunchSpec>,
    pub(crate) baseline: LaunchSpec,
    /// Messages about excluded servers.
    pub(crate) excluded: Vec<String>,
}

impl ComparisonServers {
    /// Finds the servers among the commands of the command line, in the manifest, or among the
    /// built-in servers. If the command line names no server, excludes servers that cannot be
    /// compared with the baseline.
    ///
    /// # Errors
    /// The baseline, or a server named on the command line, cannot be compared.
    pub(crate) fn find(
        arguments: &cli::Bench,
        launcher: &Launcher,
        connections: usize,
    ) -> Result<ComparisonServers> {
        let source = Source { launcher, manifest: arguments.manifest.as_deref() };
        let baseline = match (&arguments.against_cmd, &arguments.against) {
            (Some(command), _) => command_server(arguments, "--against-cmd", command)?,
            (None, Some(name)) => {
                source.server(name).map_err(|error| match error.is::<UsageError>() {
                    true => UsageError(format!("--against {name}: {error}")).into(),
                    false => error,
                })?
            }
            (None, None) => {
                return Err(UsageError("name a baseline with --against".to_owned()).into());
            }
        };
        let is_named = !arguments.servers.is_empty() || arguments.cmd.is_some();
        let mut servers = match &arguments.cmd {
            Some(command) => vec![command_server(arguments, "--cmd", command)?],
            None => source.servers(&arguments.servers)?,
        };
        let mut baseline = baseline;
        for server in servers.iter_mut().chain([&mut baseline]) {
            arguments.start.set_in(server);
        }
        check_comparable(&baseline, connections).map_err(UsageError)?;
        let check = |server: &LaunchSpec| {
            check_same_service(server, &baseline)?;
            check_comparable(server, connections)
        };
        let mut excluded = Vec::new();
        if !is_named {
            servers.retain(|server| match check(server) {
                // Comparing the baseline with itself yields no information.
                Ok(()) => server.name != baseline.name,
                Err(reason) => {
                    excluded.push(format!("not compared: {reason}"));
                    false
                }
            });
        }
        for server in &servers {
            check(server).map_err(UsageError)?;
        }
        let mut names = HashSet::new();
        servers.retain(|server| names.insert(server.name.clone()));
        Ok(ComparisonServers { servers, baseline, excluded })
    }
}

/// The servers that a name can denote: those of the manifest, if any, and the built-in servers. No
/// server of a manifest has the name of a built-in server.
struct Source<'a> {
    launcher: &'a Launcher,
    manifest: Option<&'a std::path::Path>,
}

impl Source<'_> {
    /// Returns the servers with these names. For an empty list, returns all servers of the
    /// manifest, or all built-in servers if there is no manifest.
    fn servers(&self, names: &[String]) -> Result<Vec<LaunchSpec>> {
        match (self.manifest, names.is_empty()) {
            (Some(file), true) => Manifest::read(file)?.select(&[]),
            (None, true) => named(&[])?.iter().map(|server| self.builtin(server)).collect(),
            (_, false) => names.iter().map(|name| self.server(name)).collect(),
        }
    }

    fn server(&self, name: &str) -> Result<LaunchSpec> {
        let Some(file) = self.manifest else {
            return self.builtin(&cli::server(name).map_err(UsageError)?);
        };
        let manifest = Manifest::read(file)?;
        if !manifest.names().iter().any(|it| it == name)
            && let Ok(server) = cli::server(name)
        {
            return self.builtin(&server);
        }
        Ok(manifest.select(&[name.to_owned()])?.swap_remove(0))
    }

    fn builtin(&self, server: &servers::Server) -> Result<LaunchSpec> {
        Ok(LaunchSpec::builtin(self.launcher, server, &Limits::default())?)
    }
}

/// Checks that a server has the service of the baseline, so that both get the same load.
fn check_same_service(server: &LaunchSpec, baseline: &LaunchSpec) -> Result<(), String> {
    let [service, baseline_service] =
        [server, baseline].map(|server| server.contract.service.name());
    if service == baseline_service {
        return Ok(());
    }
    Err(format!(
        "{} serves {service}, but {} serves {baseline_service}: compare servers of the same service",
        server.name, baseline.name
    ))
}

/// Checks that a server can run at the same time as another server, with this number of lasting
/// connections.
fn check_comparable(server: &LaunchSpec, connections: usize) -> Result<(), String> {
    let name = &server.name;
    let contract = &server.contract;
    if let Some(reason) = &server.unavailable {
        return Err(format!("{name} cannot run on this machine: {reason}"));
    }
    if server.fixed_port.is_some() {
        return Err(format!(
            "{name} has a fixed port: a comparison runs two servers at once, and must choose their \
             ports"
        ));
    }
    if contract.wire.requests().is_some() || contract.wire.connections_before_exit.is_some() {
        return Err(format!(
            "the `wire` of {name} limits requests per connection or connections before exit: a \
             comparison needs connections that stay open"
        ));
    }
    match contract.capacity {
        Some(limit) if limit < connections => Err(format!(
            "{name} has a connection limit of {limit}: compare with --connections {limit}"
        )),
        _ => Ok(()),
    }
}
