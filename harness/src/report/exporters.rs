//! All file formats of the report.

use super::exporter::Exporter;
use super::grading::{HTML, MARKDOWN};
use super::{html, json, junit, markdown};

/// All file formats. A report has a file of each format, except of those for which it has no
/// content.
pub const EXPORTERS: &[Exporter] =
    &[json::EXPORTER, markdown::EXPORTER, html::EXPORTER, junit::EXPORTER, MARKDOWN, HTML];
