//! `harness replay`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use servers::Server;

use super::server_name::server;
use super::{Check, DeclaredFlags, StartArgs, TerminalArgs};
use crate::units::duration;

const REPLAY_EXIT_CODES: &str = "\
Exit codes: 0 the server meets the requirement of the case, 1 it does not, 2 bad usage or a file \
that cannot be replayed, 3 the harness itself failed (for example, no descriptor was left), 130 or 143 \
interrupted by SIGINT or SIGTERM.";

/// Arguments of `harness replay`.
#[derive(Debug, Args)]
#[command(after_help = REPLAY_EXIT_CODES, group = ArgGroup::new("external_server").args(["cmd"]))]
pub struct Replay {
    /// Counterexample file, written by `harness check` or `harness run`.
    pub file: PathBuf,
    /// Built-in server to test instead of the recorded server.
    #[arg(value_name = "SERVER", value_parser = server, conflicts_with = "cmd")]
    pub server: Option<Server>,
    /// Command that starts the server to test instead of the recorded server.
    #[arg(long, value_name = "COMMAND")]
    pub cmd: Option<String>,
    /// Print one JSON document, and nothing else, to standard output.
    #[arg(long)]
    pub json: bool,
    /// Timeout for each expected reply or event (default: as recorded; 5s for another server).
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Flags for the start of the server (default: as recorded).
    #[command(flatten)]
    pub start: StartArgs,
    /// Flags for the output.
    #[command(flatten)]
    pub terminal: TerminalArgs,
    /// Declared properties of the server.
    #[command(flatten)]
    pub declared: DeclaredFlags,
}

impl Replay {
    /// Returns the arguments of `harness check` for the server that replaces the recorded server.
    /// `None` if the user gave no other server.
    pub fn replacement(&self) -> Option<Check> {
        if self.server.is_none() && self.cmd.is_none() {
            return None;
        }
        let mut check = Check::parse("select").expect("the name of a built-in server");
        check.servers = self.server.iter().map(Server::name).collect();
        check.cmd.clone_from(&self.cmd);
        check.declared = self.declared.clone();
        Some(check)
    }
}
