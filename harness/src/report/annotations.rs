//! Annotations for the page of a GitHub Actions run: one for each cause of failures.

use super::grading::Cause;
use super::markup::clipped;
use crate::figures::counted;
use crate::results::Report;

/// Maximum number of annotations for causes. GitHub shows 10 errors of a step.
pub const MAX_ERRORS: usize = 10;

/// Maximum length of each part of a text, in characters.
const MAX_PART: usize = 300;

/// Maximum number of results that are named for a cause.
const MAX_NAMED_RESULTS: usize = 5;

/// An annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// Whether this is an error. The count of the other causes is a warning, because GitHub would
    /// not show an eleventh error.
    pub is_error: bool,
    /// Title.
    pub title: String,
    /// Text, in several lines.
    pub message: String,
}

impl Report {
    /// Returns an annotation for each of the first [`MAX_ERRORS`] causes of results that need
    /// attention, and one that counts the other causes.
    pub fn annotations(&self) -> Vec<Annotation> {
        let causes = self.causes();
        let mut annotations: Vec<Annotation> =
            causes.iter().take(MAX_ERRORS).map(annotation).collect();
        let more = &causes[causes.len().min(MAX_ERRORS)..];
        if !more.is_empty() {
            let results: usize = more.iter().map(|cause| cause.results.len()).sum();
            annotations.push(Annotation {
                is_error: false,
                title: format!("more: {}", counted(more.len(), "cause")),
                message: format!(
                    "more that needs attention, in the log and the report: {} of {}",
                    counted(results, "result"),
                    counted(more.len(), "cause")
                ),
            });
        }
        annotations
    }
}

fn annotation(cause: &Cause) -> Annotation {
    let mut lines = vec![format!("{}: {}", cause.counts(), cause.results_text(MAX_NAMED_RESULTS))];
    lines.extend(cause.likely_cause.iter().map(|it| format!("likely cause: {it}")));
    lines.extend(cause.evidence.iter().map(|line| format!("{}: {}", line.label, line.text)));
    let reproduce = cause.reproduce.iter().filter(|command| !command.is_empty());
    lines.extend(reproduce.map(|command| format!("reproduce: {command}")));
    let lines: Vec<String> = lines.iter().map(|line| clipped(line, MAX_PART)).collect();
    Annotation { is_error: true, title: clipped(&cause.title, MAX_PART), message: lines.join("\n") }
}
