//! Flags of `harness run` and `harness check` that determine the exit code.

use std::path::PathBuf;

use clap::Args;

use super::value_enum::Named;
use crate::report::FailOn;

pub(super) const EXIT_CODES: &str = "\
Exit codes: 0 all passed, 1 a case or a measurement failed or the server does not start (see --fail-on), 2 bad usage, 3 the \
harness itself failed (for example, no descriptor was left), its output could not be written, or \
no server could be tested, 130 or 143 interrupted by SIGINT or SIGTERM (the results so far are \
written). A closed output pipe (`| head`) does not affect the exit code.";

/// Flags that determine the exit code, for CI.
#[derive(Debug, Args)]
pub struct ExitPolicy {
    /// Results that make the exit code 1, separated by commas; `none` cannot be combined with other
    /// results.
    #[arg(
        long,
        value_parser = Named::<FailOn>::new(),
        value_name = "RESULTS",
        value_delimiter = ',',
        default_value = "fail,inconclusive"
    )]
    pub fail_on: Vec<FailOn>,
    /// TOML file of known failures, each with a reason. A known failure does not affect the exit
    /// code; a known failure that now passes fails the run.
    #[arg(long, value_name = "FILE")]
    pub known_failures: Option<PathBuf>,
    /// Stop after the first result that makes the exit code 1 (see --fail-on). Cases that run are
    /// completed; no other case, server or benchmark starts. The report is incomplete.
    #[arg(long)]
    pub fail_fast: bool,
}
