//! Grading report: the strengths and faults of an external server, for its author; and a comparison
//! table of several servers, for teachers.

mod evidence;
mod html;
mod markdown;
mod rank;
mod sheet;
#[cfg(test)]
mod tests;
mod text;
mod words;

pub use evidence::Line;
pub use rank::Importance;
pub use text::{class as class_words, sheet as sheet_words};

pub(super) use html::EXPORTER as HTML;
pub(super) use markdown::EXPORTER as MARKDOWN;
pub use sheet::{Fault, Grading, Group, Note, Row, Works};
