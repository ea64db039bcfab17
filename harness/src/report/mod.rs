//! The report: its data model and its formats.
//!
//! This module reads the data and writes the report's files. It uses no sockets, processes or
//! clocks, so equal reports render to equal bytes.

mod document;
mod exporter;
mod exporters;
pub mod grading;
mod html;
mod json;
mod junit;
mod markdown;
mod output;
mod plot;
pub mod step_summary;
mod tally;
mod text;

pub use document::{FORMAT, FailOn, Report, ServerResult};
pub use exporter::Exporter;
pub use exporters::EXPORTERS;
pub use output::{Junit, Output};
pub use tally::Tally;
pub use text::{brief, failure, line, measurement as measurement_words, not_run};
