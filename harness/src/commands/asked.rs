//! What commands have in common: the servers and the seed that are asked for, JSON documents.

use anyhow::Result;
use serde::Serialize;
use servers::Server;

use crate::cli;
use crate::stdio;
use crate::usage_error::UsageError;

/// The servers asked for, or all.
pub(crate) fn chosen(servers: &[Server]) -> Vec<Server> {
    if servers.is_empty() { servers::servers().collect() } else { servers.to_vec() }
}

/// The seed asked for, or one by chance that is short enough to be typed.
pub(crate) fn seed_or_chance(seed: Option<u64>) -> u64 {
    seed.unwrap_or_else(|| rand::random_range(1..1_000_000))
}

/// The built-in servers of these names, or all.
pub(crate) fn named(names: &[String]) -> Result<Vec<Server>> {
    let servers: Result<Vec<_>, String> = names.iter().map(|name| cli::server(name)).collect();
    Ok(chosen(&servers.map_err(UsageError)?))
}

pub(crate) fn print_json(document: &impl Serialize) -> Result<()> {
    stdio::line(&serde_json::to_string_pretty(document)?);
    Ok(())
}
