//! The history file: one line of JSON per run, and the trends over its runs.

mod file;
mod run;
mod sparkline;
mod trends;

pub use file::{HistoryError, HistoryFile};
pub use run::{FORMAT, Run, ServerFigures, WorkloadFigures};
pub use trends::{Filter, trends};
