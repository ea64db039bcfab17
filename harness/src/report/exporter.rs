//! A file format of the report.

use crate::results::Report;

/// A file format of the report.
#[derive(Debug)]
pub struct Exporter {
    /// File name in the report's directory.
    pub file_name: &'static str,
    /// Content and purpose of the file, in one line.
    pub summary: &'static str,
    /// Renders the file. Returns `None` if the report has no content for this format.
    pub render: fn(&Report) -> Option<String>,
}
