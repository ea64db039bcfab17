//! `harness run`.

use std::path::PathBuf;

use clap::Args;
use servers::Server;

use super::server_name::server;
use super::value_enum::Named;
use super::{EXIT_CODES, ExitPolicy, PlanName, StartArgs, TerminalArgs};
use crate::report::Evidence;

/// Arguments of `harness run`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Run {
    /// Built-in servers: PATTERN-echo, PATTERN-calc, PATTERN (same as PATTERN-calc), or an alias
    /// from server1 to server4 (default: all patterns); see `harness list servers`.
    #[arg(value_name = "SERVER", value_parser = server)]
    pub servers: Vec<Server>,
    /// Test and benchmark every pattern with both services, calc and echo. Without --all and
    /// SERVER, each pattern has one report row: tested with calc, benchmarked with echo. A named
    /// SERVER is tested and benchmarked with its own service.
    #[arg(long, conflicts_with = "servers")]
    pub all: bool,
    /// Benchmark plan: workloads, duration of each workload, and number of idle connections.
    #[arg(long, value_enum, default_value_t = PlanName::Standard)]
    pub plan: PlanName,
    /// Continue the interrupted run whose report is in the directory of --output. It must have
    /// the same servers and plan; the seed is that of the interrupted run.
    #[arg(long, conflicts_with = "seed")]
    pub resume: bool,
    /// Earlier reports: the page shows what changed since then, as `harness compare` finds it. May
    /// be repeated.
    #[arg(long, value_name = "OLD")]
    pub baseline: Vec<PathBuf>,
    /// Directory for the report.
    #[arg(long, value_name = "DIR", default_value = "reports/latest")]
    pub output: PathBuf,
    /// Evidence that the report keeps (transcript, output and resources of a case).
    #[arg(
        long,
        value_parser = Named::<Evidence>::new(),
        value_name = "WHICH",
        default_value = "failures"
    )]
    pub evidence: Evidence,
    /// Random seed; use the seed of an earlier run to repeat it (default: random).
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Flags for the start of servers.
    #[command(flatten)]
    pub start: StartArgs,
    /// Flags for the output.
    #[command(flatten)]
    pub terminal: TerminalArgs,
    /// Flags that determine the exit code.
    #[command(flatten)]
    pub exit_policy: ExitPolicy,
}
