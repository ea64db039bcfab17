//! `harness report`.

use std::path::PathBuf;

use clap::Args;

const REPORT_EXIT_CODES: &str = "\
Exit codes: 0 the report was written (whatever its verdicts), 2 bad usage: a file is no report, the \
reports are of different machines or plans, or an input would be overwritten, 3 the report could not be \
written.";

/// Arguments of `harness report`.
#[derive(Debug, Args)]
#[command(after_help = REPORT_EXIT_CODES)]
pub struct Report {
    /// Files report.json, or directories that contain one. Several are merged: the runs of equal
    /// workloads become one measurement, and of each case, a result that needs attention stays.
    #[arg(value_name = "RESULT", required = true)]
    pub results: Vec<PathBuf>,
    /// Directory for the report. It may be the directory of the RESULT if only one is given.
    #[arg(long, value_name = "DIR", default_value = "reports/latest")]
    pub output: PathBuf,
    /// Earlier reports: the page shows what changed since then, as `harness compare` finds it. May
    /// be repeated.
    #[arg(long, value_name = "OLD")]
    pub baseline: Vec<PathBuf>,
    /// Merge reports of machines that differ in CPU model, number of CPUs or kernel.
    #[arg(long)]
    pub allow_different_machines: bool,
}
