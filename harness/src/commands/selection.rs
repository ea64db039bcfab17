//! Helpers of several commands: selection of servers and table rows, random seed, JSON output.

use anyhow::Result;
use serde::Serialize;
use servers::Server;

use crate::cli;
use crate::renamed;
use crate::stdio;
use crate::usage_error::UsageError;

/// Returns the rows whose names begin with one of these prefixes, in the order of the table. A
/// prefix that is the full name of a row selects only that row. Without prefixes, returns all rows.
///
/// # Errors
/// A prefix selects no row. `kind` is the noun for a row in the error message, in the singular; its
/// plural is the argument of `harness list`.
pub(crate) fn selected<T>(
    rows: impl Iterator<Item = &'static T> + Clone,
    name: fn(&T) -> &'static str,
    prefixes: &[String],
    kind: &str,
) -> Result<Vec<&'static T>> {
    let matches = |row: &T, prefix: &str| match rows.clone().any(|row| name(row) == prefix) {
        true => name(row) == prefix,
        false => name(row).starts_with(prefix),
    };
    for prefix in prefixes {
        if prefix.is_empty() {
            let message = format!(
                "the {kind} prefix is empty: remove it to select every {kind}, or write one"
            );
            return Err(UsageError(message).into());
        }
        if !rows.clone().any(|row| matches(row, prefix)) {
            let is_row = |new: &str| rows.clone().any(|row| name(row) == new);
            let remedy = renamed::hint(prefix, is_row)
                .unwrap_or_else(|| format!("see `harness list {kind}s`"));
            return Err(UsageError(format!("no {kind} begins with `{prefix}`: {remedy}")).into());
        }
    }
    let is_selected = |row: &&'static T| {
        prefixes.is_empty() || prefixes.iter().any(|prefix| matches(row, prefix))
    };
    Ok(rows.clone().filter(is_selected).collect())
}

/// Returns the selected servers, or all built-in servers if none is selected.
pub(crate) fn selected_or_all(servers: &[Server]) -> Vec<Server> {
    if servers.is_empty() { servers::servers().collect() } else { servers.to_vec() }
}

/// Returns the seed of the command line, or a random seed that is short enough to type.
pub(crate) fn seed_or_random(seed: Option<u64>) -> u64 {
    seed.unwrap_or_else(|| rand::random_range(1..1_000_000))
}

/// Returns the built-in servers with these names, or all built-in servers for an empty list.
pub(crate) fn named(names: &[String]) -> Result<Vec<Server>> {
    let servers: Result<Vec<_>, String> = names.iter().map(|name| cli::server(name)).collect();
    Ok(selected_or_all(&servers.map_err(UsageError)?))
}

pub(crate) fn print_json(document: &impl Serialize) -> Result<()> {
    stdio::json(&serde_json::to_string_pretty(document)?);
    Ok(())
}
