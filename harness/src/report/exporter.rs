//! A format of a report.

use super::document::Report;

/// A format to write a report in.
#[derive(Debug)]
pub struct Exporter {
    /// The file in the report's folder.
    pub file_name: &'static str,
    /// What it is for.
    pub summary: &'static str,
    /// The file's content; none if the report has nothing for it.
    pub render: fn(&Report) -> Option<String>,
}
