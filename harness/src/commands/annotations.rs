//! Annotations of a finished run in GitHub Actions.

use super::progress::Progress;
use crate::results::Report;
use crate::workflow_commands::Level;

/// Environment variable that GitHub Actions sets.
const VARIABLE: &str = "GITHUB_ACTIONS";

/// Prints the annotations of the report, if GitHub Actions runs this program.
pub(crate) fn print(report: &Report, progress: &Progress) {
    if std::env::var_os(VARIABLE).is_none_or(|value| value.is_empty()) {
        return;
    }
    for annotation in report.annotations() {
        let level = if annotation.is_error { Level::Error } else { Level::Warning };
        progress.annotation(level, &annotation.title, &annotation.message);
    }
}
