//! `harness compare`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::units::percent;

const COMPARE_EXIT_CODES: &str = "\
Exit codes: 0 no verdict got worse, 1 a case that was fine is no longer fine, or a condition of \
--fail-if-slower or --fail-on holds, 2 bad usage or a file is no report, 3 the output could not be \
written. A closed output pipe (`| head`) does not affect the exit code.";

/// Arguments of `harness compare`.
#[derive(Debug, Args)]
#[command(after_help = COMPARE_EXIT_CODES)]
pub struct Compare {
    /// Old reports: files report.json, or directories that contain one.
    #[arg(value_name = "OLD", required = true)]
    pub old: Vec<PathBuf>,
    /// New reports. A time needs at least 5 runs of the old and 5 of the new build, in one or
    /// several reports.
    #[arg(long = "with", value_name = "NEW", required = true, num_args = 1..)]
    pub new: Vec<PathBuf>,
    /// Equivalence margin: a figure is `equal` if the 95 % confidence interval of the ratio (new
    /// divided by old) lies between 1/(1+m) and 1+m, with m = PERCENT/100, and the figure does not
    /// differ significantly.
    #[arg(long, value_name = "PERCENT", default_value = "5", value_parser = percent)]
    pub margin: f64,
    /// Exit with 1 if a throughput, p99 or CPU time per request is conclusively slower, by an
    /// estimate of more than PERCENT.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub fail_if_slower: Option<f64>,
    /// Further results that make the exit code 1.
    #[arg(long, value_name = "RESULT", value_enum)]
    pub fail_on: Option<FailOnTimes>,
    /// Compare times and memory of machines or builds that differ (default: compare only the
    /// verdicts).
    #[arg(long)]
    pub allow_different_machines: bool,
    /// Also list the times and memory that are equal or inconclusive.
    #[arg(long)]
    pub all: bool,
    /// Print one JSON document, and nothing else, to standard output.
    #[arg(long)]
    pub json: bool,
}

/// A result of `harness compare` that makes the exit code 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOnTimes {
    /// A time is inconclusive, or times were not compared.
    Inconclusive,
}
