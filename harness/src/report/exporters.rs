//! All file formats of the report.

use super::exporter::Exporter;
use super::grading::{HTML, MARKDOWN};
use super::{html, json, junit, markdown};

/// All file formats. Every report has a file of each format that has content for the report.
pub const EXPORTERS: &[Exporter] =
    &[json::EXPORTER, markdown::EXPORTER, html::EXPORTER, junit::EXPORTER, MARKDOWN, HTML];
