//! The formats of the report.
//!
//! This module renders a [`Report`](crate::results::Report) into the report's files. Equal reports
//! render to equal bytes, because the module uses no sockets, processes or clocks.

pub mod chart;
mod exporter;
mod exporters;
mod fail_on;
mod findings;
pub mod grading;
mod html;
mod json;
mod junit;
pub mod key_figures;
mod markdown;
mod output;

pub mod step_summary;
mod tally;
mod text;

pub use exporter::Exporter;
pub use exporters::EXPORTERS;
pub use fail_on::FailOn;
pub use findings::findings;
pub use output::{Junit, Output};
pub use tally::Tally;
pub use text::{case_text, failure_text, measurement_line, measurement_text, not_run_line};
