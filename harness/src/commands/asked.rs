//! Shared parts of commands: selected servers and rows of tables, random seed, JSON output.

use anyhow::Result;
use serde::Serialize;
use servers::Server;

use crate::cli;
use crate::stdio;
use crate::usage_error::UsageError;

/// Returns the rows with one of these names, or whose names begin with one of these prefixes, in the
/// order of the table; all rows for an empty list. A whole name selects its row only.
///
/// # Errors
/// A prefix selects nothing. `kind` names a row in the message, and its plural `harness list`.
pub(crate) fn selected<T>(
    rows: impl Iterator<Item = &'static T> + Clone,
    name: fn(&T) -> &'static str,
    prefixes: &[String],
    kind: &str,
) -> Result<Vec<&'static T>> {
    let is_meant = |row: &T, prefix: &str| match rows.clone().any(|row| name(row) == prefix) {
        true => name(row) == prefix,
        false => name(row).starts_with(prefix),
    };
    for prefix in prefixes {
        if !rows.clone().any(|row| is_meant(row, prefix)) {
            let words = format!("no {kind} begins with `{prefix}`: see `harness list {kind}s`");
            return Err(UsageError(words).into());
        }
    }
    let is_wanted = |row: &&'static T| {
        prefixes.is_empty() || prefixes.iter().any(|prefix| is_meant(row, prefix))
    };
    Ok(rows.clone().filter(is_wanted).collect())
}

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
