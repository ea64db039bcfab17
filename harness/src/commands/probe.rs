//! `harness probe`: detects the protocol, limits and concurrency model of an unknown server.

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::Probe;
use crate::probe::{self, ProbeArguments};

/// Probes a server, and prints or appends its manifest entry.
///
/// # Errors
/// Bad usage, or the server cannot be launched or connected to.
pub fn probe(arguments: &Probe) -> Result<ExitCode> {
    let Probe { cmd, connect, name, output } = arguments;
    probe::probe(&ProbeArguments {
        cmd: cmd.clone(),
        connect: *connect,
        name: name.clone(),
        output: output.clone(),
    })
}
