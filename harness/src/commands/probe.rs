//! `harness probe`.

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::Probe;
use crate::probe::{self, Request};

/// Probes a server.
///
/// # Errors
/// Bad usage, or there is no server to talk to.
pub fn probe(arguments: &Probe) -> Result<ExitCode> {
    let Probe { cmd, connect, name, output } = arguments;
    probe::probe(&Request {
        cmd: cmd.clone(),
        connect: *connect,
        name: name.clone(),
        output: output.clone(),
    })
}
