//! Lines of case results, with the verdict in colour.

use super::progress::StepLine;
use crate::report::{CaseText, case_text};
use crate::results::{CaseResult, Kind};
use crate::text::style::{Style, StyledText};

/// Returns the lines of a result. `--quiet` hides the lines of results that need no attention.
pub(crate) fn case_line(server: &str, result: &CaseResult) -> StepLine {
    let text = with_style(result, case_text(server, result));
    if result.is_fine() { StepLine::Detail(text) } else { StepLine::Important(text) }
}

/// Gives the label the style of the result.
pub(crate) fn with_style(result: &CaseResult, text: CaseText) -> StyledText {
    StyledText::new(style(result.kind()), text.label).and(text.rest)
}

fn style(kind: Kind) -> Option<Style> {
    match kind {
        Kind::Pass => Some(Style::Pass),
        Kind::Fail | Kind::Stale => Some(Style::Fail),
        Kind::Warn | Kind::Known => Some(Style::Warn),
        Kind::Inconclusive => Some(Style::Inconclusive),
        Kind::NotApplicable => Some(Style::Faint),
        Kind::Info => None,
    }
}

/// Formats a problem of a measurement or a server.
pub(crate) fn problem_line(problem: &str) -> StyledText {
    StyledText::new(Some(Style::Fail), "problem").and(format!(": {problem}"))
}
