//! All file formats of the report.

use super::exporter::Exporter;
use super::folder::Folder;
use super::grading::{HTML, MARKDOWN};
use super::{
    badge, bencher, benchmark_action, chart, csv, evidence_files, histograms, html, json, junit,
    markdown,
};

/// All file formats. A report has a file of each format, except of those for which it has no
/// content.
pub const EXPORTERS: &[Exporter] = &[
    json::EXPORTER,
    markdown::EXPORTER,
    html::EXPORTER,
    junit::EXPORTER,
    csv::EXPORTER,
    badge::EXPORTER,
    benchmark_action::BIGGER,
    benchmark_action::SMALLER,
    bencher::EXPORTER,
    MARKDOWN,
    HTML,
];

/// All formats with several files.
pub const FOLDERS: &[Folder] = &[chart::FOLDER, histograms::FOLDER, evidence_files::FOLDER];
