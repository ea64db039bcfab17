//! Reading of the reports that the command line names.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::results::Report;
use crate::usage_error::UsageError;

/// A report, with the file that has it.
pub(crate) struct ReportFile {
    pub(crate) path: PathBuf,
    pub(crate) report: Report,
}

/// Reads reports from files, or from the `report.json` of directories.
///
/// # Errors
/// A file cannot be read, or is no report of this version.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<ReportFile>> {
    let file = |path: &PathBuf| -> Result<ReportFile> {
        let path = file_of(path);
        let report = Report::read(&path).map_err(|error| UsageError(error.to_string()))?;
        Ok(ReportFile { path, report })
    };
    paths.iter().map(file).collect()
}

fn file_of(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("report.json") } else { path.to_owned() }
}
