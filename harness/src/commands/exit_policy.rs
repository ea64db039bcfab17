//! Exit policy of `run` and `check`.

use anyhow::{Result, bail};

use crate::cli::ExitPolicy;
use crate::conformance::KnownFailures;
use crate::report::FailOn;
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
}
