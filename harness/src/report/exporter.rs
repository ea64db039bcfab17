//! A file format of the report.

use super::document::Report;

/// A file format of the report.
#[derive(Debug)]
pub struct Exporter {
    /// File name in the report's directory.
    pub file_name: &'static str,
    /// Purpose of the format, in a line.
    pub summary: &'static str,
    /// Renders the file. Returns `None` if the report has no content for this format.
    pub render: fn(&Report) -> Option<String>,
}
