//! `harness probe`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};

use super::address::{Address, address};
use super::{StartArgs, TerminalArgs};
use crate::units::duration;

const PROBE_EXIT_CODES: &str = "\
Exit codes: 0 the protocol was detected, 1 the protocol is unknown, 2 bad usage, 3 the server does \
not start, or no server listens at the address, 130 or 143 interrupted by SIGINT or SIGTERM \
(nothing is written).";

/// Arguments of `harness probe`.
#[derive(Debug, Args)]
#[command(after_help = PROBE_EXIT_CODES, group = ArgGroup::new("target").args(["cmd", "connect"]).required(true))]
pub struct Probe {
    /// Command that starts the server, such as "python3 my.py {host} {port}". Without {port}, probe
    /// waits until the server listens on any port. If the server does not, probe restarts it and
    /// writes a port number to its standard input.
    #[arg(long, value_name = "COMMAND")]
    pub cmd: Option<String>,
    /// Address of a running server to probe.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub connect: Option<Address>,
    /// With --connect: wait up to TIME until a server listens at the address (default: do not
    /// wait).
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "connect")]
    pub wait: Option<Duration>,
    /// Flags for the start of the server.
    #[command(flatten)]
    pub start: StartArgs,
    /// Name of the server in the manifest (default: derived from the program's file name).
    #[arg(long, value_name = "NAME", requires = "cmd")]
    pub name: Option<String>,
    /// Append the entry to the manifest FILE instead of printing it.
    #[arg(long, value_name = "FILE", requires = "cmd")]
    pub output: Option<PathBuf>,
    /// Flags for the output.
    #[command(flatten)]
    pub terminal: TerminalArgs,
}
