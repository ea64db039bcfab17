//! All file formats of the report.

use super::exporter::Exporter;
use super::grading::{HTML, MARKDOWN};
use super::{html, json, junit, markdown};

/// All file formats. Every run writes each format that has content.
pub const EXPORTERS: &[Exporter] =
    &[json::EXPORTER, markdown::EXPORTER, html::EXPORTER, junit::EXPORTER, MARKDOWN, HTML];
