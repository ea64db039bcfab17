//! Grading report: the strengths and faults of an external server, for the author of the server. An
//! overview table of several servers is for teachers.

mod causes;
mod descriptions;
mod evidence;
mod explanations;
#[cfg(test)]
mod fault_tests;
mod html;
mod markdown;
mod model;
mod rank;
mod severity;
#[cfg(test)]
mod tests;
mod text;

pub use causes::{Category, Cause};
pub(super) use descriptions::{topic as topic_description, topic_of};
pub use evidence::Line;
pub use severity::Severity;
pub use text::{grading as grading_text, overview as overview_text};

pub(super) use html::EXPORTER as HTML;
pub(super) use markdown::EXPORTER as MARKDOWN;
pub use model::{Fault, Grading, Group, Note, Row, Scope, TopicTally};
