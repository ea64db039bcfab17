//! All formats of a report.

use super::exporter::Exporter;
use super::grading::{HTML, MARKDOWN};
use super::{html, json, junit, markdown};

/// Every format. All that have something to say are written, always.
pub const EXPORTERS: &[Exporter] =
    &[json::EXPORTER, markdown::EXPORTER, html::EXPORTER, junit::EXPORTER, MARKDOWN, HTML];
