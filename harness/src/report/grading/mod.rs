//! The mark sheet: what works in a server that was not written here and what does not, for its
//! author; and the table of several, for whoever judges them.

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
