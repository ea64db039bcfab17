//! `harness selftest` and `harness calibrate`, which validate the load generator.

use std::time::Duration;

use clap::Args;

use super::TerminalArgs;
use crate::units::duration;

const SELFTEST_EXIT_CODES: &str = "\
Exit codes: 0 every result matches its prediction, 1 a result does not, 3 the harness itself \
failed (for example, no descriptor was left), 130 or 143 interrupted by SIGINT or SIGTERM (the \
results so far are printed).";

/// Arguments of `harness selftest`.
#[derive(Debug, Args)]
#[command(after_help = SELFTEST_EXIT_CODES)]
pub struct Selftest {
    /// Print one JSON document, and nothing else, to standard output.
    #[arg(long)]
    pub json: bool,
    /// Stop after the first trial that missed a prediction in every attempt.
    #[arg(long)]
    pub fail_fast: bool,
    /// Flags for the output.
    #[command(flatten)]
    pub terminal: TerminalArgs,
}

const CALIBRATE_EXIT_CODES: &str = "\
Exit codes: 0 the comparison was run, 3 the harness itself failed (for example, no descriptor was \
left), 130 or 143 interrupted by SIGINT or SIGTERM (the results so far are printed).";

/// Arguments of `harness calibrate`.
#[derive(Debug, Args)]
#[command(after_help = CALIBRATE_EXIT_CODES)]
pub struct Calibrate {
    /// Number of rounds, from 1 to 1000; each runs the built-in load generator and a reference load
    /// generator.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Duration of each run.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub duration: Duration,
    /// Print one JSON document, and nothing else, to standard output.
    #[arg(long)]
    pub json: bool,
}
