//! The formats of the report.
//!
//! This module renders a [`Report`](crate::results::Report) into the report's files. Equal reports
//! render to equal bytes, because the module uses no sockets, processes or clocks.

mod annotations;
mod badge;
mod bencher;
mod benchmark_action;
mod bounded;
pub mod chart;
mod csv;
mod evidence_files;
mod exporter;
mod exporters;
mod fail_on;
mod file_names;
mod findings;
mod folder;
mod folder_writer;
pub mod grading;
mod histograms;
mod html;
mod json;
mod junit;
pub mod key_figures;
mod markdown;
mod markup;
mod output;
mod replace_file;
pub mod step_summary;
mod tally;
mod text;
mod tracked;

pub use annotations::{Annotation, MAX_ERRORS};
pub use exporter::{Document, Exporter};
pub use exporters::{EXPORTERS, FOLDERS};
pub use fail_on::FailOn;
pub use findings::findings;
pub use folder::{Evidence, Folder, FolderFile};
pub use output::{Junit, Output};
pub use tally::Tally;
pub use text::{
    CaseText, case_text, failure_text, measurement_line, measurement_text, not_run_line,
};
