//! The matrix: a row for each case, grouped by topic, and a column for each server.

use std::collections::HashSet;

use maud::{Markup, html};

use super::address::{result_link, server_link};
use super::failures::Failures;
use crate::comparison::ReportComparison;
use crate::figures::counted;
use crate::report::grading::{topic_description, topic_of};
use crate::report::tally::Tally;
use crate::results::{CaseResult, Kind, Report, ServerResult};

pub(super) fn section(
    report: &Report,
    failures: &Failures,
    baseline: Option<&ReportComparison>,
) -> Markup {
    let changes: HashSet<(&str, &str)> = baseline
        .iter()
        .flat_map(|baseline| &baseline.verdicts)
        .map(|it| (it.server.as_str(), it.case.as_str()))
        .collect();
    let marks = Marks { failures, changes };
    let cases = report.case_names();
    let servers = report.servers_run();
    let topics: Vec<&[(&str, &str)]> =
        cases.chunk_by(|(one, _), (other, _)| topic_of(one) == topic_of(other)).collect();
    html! {
        section id="matrix" {
            h2 { "All verdicts" }
            @if cases.is_empty() { p { "This run tested no case." } }
            @else {
                p.legend {
                    @for &kind in Kind::ALL {
                        span.key { span class=(class(kind)) { (kind.symbol()) } " " (kind.name()) } " "
                    }
                }
                div.scroll.tall role="region" aria-label="Matrix of verdicts" tabindex="0" {
                    table.matrix id="matrix-table" {
                        thead {
                            tr {
                                th scope="col" { "case" }
                                @for server in &servers {
                                    th.turned scope="col" data-server=(server.name) data-service=(service(server)) {
                                        a href=(server_link(&server.name)) { (server.name) }
                                    }
                                }
                            }
                        }
                        @for topic in &topics { (band(topic, &servers, &marks)) }
                    }
                }
            }
        }
    }
}

/// What the cells show beside the verdict.
struct Marks<'r> {
    failures: &'r Failures,
    /// Server and case of each verdict that differs from the baseline.
    changes: HashSet<(&'r str, &'r str)>,
}

/// Renders the cases of one topic. A topic whose results all need no attention is collapsed.
fn band(topic: &[(&str, &str)], servers: &[&ServerResult], marks: &Marks<'_>) -> Markup {
    let name = topic_of(topic[0].0);
    let results = || -> Vec<&CaseResult> {
        topic.iter().flat_map(|(case, _)| servers.iter().filter_map(|it| it.result(case))).collect()
    };
    let is_fine = results().iter().all(|result| result.is_fine());
    html! {
        tbody data-topic=(name) {
            tr.band {
                th scope="rowgroup" colspan=(servers.len() + 1) {
                    label {
                        input type="checkbox" checked[!is_fine] autocomplete="off";
                        " " b { (name) } " – " (topic_description(name)) ": " (counted(topic.len(), "case")) ", " (Tally::of(results()).summary())
                    }
                }
            }
            @for (case, requirement) in topic {
                tr data-case=(case) {
                    th scope="row" title=(requirement) { (case) }
                    @for server in servers { (cell(server, case, marks)) }
                }
            }
        }
    }
}

/// Renders a cell. Without the script of the page, only the results whose evidence is in the page
/// are links.
fn cell(server: &ServerResult, case: &str, marks: &Marks<'_>) -> Markup {
    let is_changed = marks.changes.contains(&(server.name.as_str(), case));
    let changed = if is_changed { " changed" } else { "" };
    html! {
        @match server.result(case) {
            None => td {},
            Some(result) => td class={ (class(result.kind())) (changed) } {
                @if !marks.failures.has_static_evidence(&server.name, case) { (result.kind().symbol()) }
                @else { a href=(result_link(&server.name, case)) { (result.kind().symbol()) } }
            },
        }
    }
}

/// Returns the class of a kind in the style sheet.
pub(super) fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::NotApplicable => "none",
        Kind::Known => "known",
        Kind::Stale => "stale",
        kind => kind.name(),
    }
}

/// Returns the service of a server for the filter.
fn service(server: &ServerResult) -> &str {
    server.service.as_deref().unwrap_or_default()
}
