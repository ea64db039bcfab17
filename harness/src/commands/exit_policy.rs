//! Exit policy of `run` and `check`.

use anyhow::{Result, bail};

use crate::cli::ExitPolicy;
use crate::conformance::KnownFailures;
use crate::report::FailOn;
use crate::results::{CaseResult, Kind, ServerResult, State};
use crate::usage_error::UsageError;

impl ExitPolicy {
    /// Checks that `--fail-on` does not combine `none` with other results.
    ///
    /// # Errors
    /// `none` is combined with other results.
    pub(crate) fn check(&self) -> Result<()> {
        if self.fail_on.len() > 1 && self.fail_on.contains(&FailOn::None) {
            bail!(UsageError(
                "--fail-on: write `none` alone, or other results without it".to_owned()
            ));
        }
        Ok(())
    }

    /// Reads the file of known failures, if any. It may name built-in servers and the servers in
    /// `names`.
    pub(crate) fn known_failures(&self, names: &[String]) -> Result<KnownFailures> {
        let read = |file| KnownFailures::read(file, names);
        self.known_failures.as_deref().map_or_else(|| Ok(KnownFailures::default()), read)
    }

    /// Returns whether `--fail-fast` is set and the result of a case makes the exit code 1 (3 if
    /// the harness failed in the case).
    pub(crate) fn stops_after_case(&self, result: &CaseResult) -> bool {
        let kind = result.kind();
        let selects = |selected: &FailOn| match selected {
            FailOn::Fail => matches!(kind, Kind::Fail | Kind::Stale),
            FailOn::Inconclusive => kind == Kind::Inconclusive,
            FailOn::Warn => kind == Kind::Warn,
            FailOn::NotApplicable => kind == Kind::NotApplicable,
            FailOn::None => false,
        };
        self.fail_fast && (result.state == State::HarnessError || self.fail_on.iter().any(selects))
    }

    /// Returns whether `--fail-fast` is set and a benchmark of the server makes the exit code 1.
    pub(crate) fn stops_after_benchmark(&self, server: &ServerResult) -> bool {
        self.fail_fast && self.fail_on.contains(&FailOn::Fail) && server.problems().next().is_some()
    }
}
