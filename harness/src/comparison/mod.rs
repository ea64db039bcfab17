//! Comparison of two sets of reports: verdicts, memory and times.
//!
//! The noise between runs decides whether a figure differs. The noise within a run is much smaller,
//! because a run has one process layout, one placement and one state of the machine. So the samples
//! are the runs of all reports, and the whole comparison is corrected for the number of figures.

mod figures;
mod notes;
mod report_comparison;
mod settings;
mod side;
mod sides;
mod text;
mod verdicts;

pub use figures::{Figure, FigureComparison, FigureVerdict, Inconclusive, Samples};
pub use notes::Note;
pub use report_comparison::ReportComparison;
pub use settings::Settings;
pub use side::Side;
pub use sides::SideSummary;
pub use verdicts::{ChangedVerdict, Effect, Item, Unmatched};
