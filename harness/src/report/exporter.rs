//! A file format of the report.

use crate::comparison::ReportComparison;
use crate::results::Report;

/// What is rendered: a report, and its differences from earlier reports.
#[derive(Clone, Copy, Debug)]
pub struct Document<'r> {
    /// The report.
    pub report: &'r Report,
    /// Comparison with the baseline of `--baseline`, if there is one.
    pub baseline: Option<&'r ReportComparison>,
}

impl<'r> Document<'r> {
    /// Returns the document of a report without a baseline.
    pub fn of(report: &'r Report) -> Document<'r> {
        Document { report, baseline: None }
    }
}

/// A file format of the report.
#[derive(Debug)]
pub struct Exporter {
    /// File name in the report's directory.
    pub file_name: &'static str,
    /// Content and purpose of the file, in one line.
    pub summary: &'static str,
    /// Renders the file. Returns `None` if the report has no content for this format.
    pub render: fn(Document<'_>) -> Option<String>,
}
