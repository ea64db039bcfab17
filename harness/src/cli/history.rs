//! `harness history`.

use std::path::PathBuf;

use clap::Args;

const HISTORY_EXIT_CODES: &str = "\
Exit codes: 0 the runs were appended (or the history has them already), or the trends printed, 2 \
bad usage, a file is no report, or a line of the history is invalid, 3 the history could not be \
written.";

/// Arguments of `harness history`.
#[derive(Debug, Args)]
#[command(after_help = HISTORY_EXIT_CODES)]
pub struct History {
    /// The history: a JSON Lines file with one line per run (docs/compare.md has its fields). It is
    /// created if it does not exist.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Append the runs of these reports: files report.json, or directories that contain one. A run
    /// is appended once. Without RESULT, print the trends of throughput and p99.
    #[arg(value_name = "RESULT")]
    pub results: Vec<PathBuf>,
    /// Print only the trends of the server NAME (default: all). May be repeated.
    #[arg(long = "server", value_name = "NAME", conflicts_with = "results")]
    pub servers: Vec<String>,
    /// Print only the trends of workloads whose name begins with PREFIX, such as `closed-`
    /// (default: all). May be repeated.
    #[arg(long = "workload", value_name = "PREFIX", conflicts_with = "results")]
    pub workloads: Vec<String>,
    /// Join the runs of different machines and builds into one trend (default: a trend for each
    /// machine and build).
    #[arg(long, conflicts_with = "results")]
    pub allow_different_machines: bool,
}
