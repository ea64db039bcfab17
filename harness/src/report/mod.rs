//! The report: data, and the formats it is written in.
//!
//! Touches data and its own files only: no socket, no process, no clock. The same report always
//! renders to the same bytes.

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
