//! Servers that `harness bench` starts by a command of the command line.

use std::path::Path;

use anyhow::{Result, bail};

use crate::cli;
use crate::contract::Contract;
use crate::manifest::missing_program;
use crate::server::{LaunchOptions, LaunchSpec};
use crate::usage_error::UsageError;

/// Returns the server of `--cmd` or `--against-cmd`. Its name is the command.
///
/// # Errors
/// The command is invalid, or its program is not installed.
pub(crate) fn command_server(
    arguments: &cli::Bench,
    flag: &str,
    command: &str,
) -> Result<LaunchSpec> {
    let contract = Contract {
        wire: arguments.wire.clone().unwrap_or_default(),
        ..Contract::undeclared(arguments.service)
    };
    let spec = LaunchSpec::external_in(command, LaunchOptions::default(), contract)
        .map_err(|error| UsageError(format!("{flag}: {error}")))?;
    if let Some(reason) = missing_program(&spec.command, Path::new("")) {
        bail!(UsageError(format!("{flag}: {reason}")));
    }
    Ok(spec)
}
