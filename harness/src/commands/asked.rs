//! Shared parts of commands: selected servers, random seed, JSON output.

use anyhow::Result;
use serde::Serialize;
use servers::Server;

use crate::cli;
use crate::stdio;
use crate::usage_error::UsageError;

/// Returns the selected servers, or all built-in servers if none is selected.
pub(crate) fn chosen(servers: &[Server]) -> Vec<Server> {
    if servers.is_empty() { servers::servers().collect() } else { servers.to_vec() }
}

/// Returns the seed of the command line, or a random one that is short enough to type.
pub(crate) fn seed_or_chance(seed: Option<u64>) -> u64 {
    seed.unwrap_or_else(|| rand::random_range(1..1_000_000))
}

/// Returns the built-in servers with these names, or all for an empty list.
pub(crate) fn named(names: &[String]) -> Result<Vec<Server>> {
    let servers: Result<Vec<_>, String> = names.iter().map(|name| cli::server(name)).collect();
    Ok(chosen(&servers.map_err(UsageError)?))
}

pub(crate) fn print_json(document: &impl Serialize) -> Result<()> {
    stdio::line(&serde_json::to_string_pretty(document)?);
    Ok(())
}
