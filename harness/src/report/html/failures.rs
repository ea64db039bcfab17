//! Failures, grouped by likely cause over all servers.

use std::collections::HashSet;

use maud::{Markup, html};

use super::address::{result_id, result_link};
use super::static_evidence::evidence;
use crate::figures::counted;
use crate::report::grading::{Category, Cause};
use crate::results::Report;

/// Maximum number of results whose evidence the page has without its script.
const MAX_EVIDENCE: usize = 50;

/// Maximum number of further results that a cause lists.
const MAX_LINKS: usize = 20;

/// The results that need attention, grouped by cause.
pub(super) struct Failures {
    causes: Vec<Cause>,
    /// Server and case of each result whose evidence the page has without its script.
    with_evidence: HashSet<(String, String)>,
}

impl Failures {
    pub(super) fn of(report: &Report) -> Failures {
        let causes = report.causes();
        let failed = in_turn(&causes, |it| matches!(it, Category::Failed(_)));
        let others = in_turn(&causes, |it| matches!(it, Category::Stale | Category::Inconclusive));
        let with_evidence = failed.chain(others).take(MAX_EVIDENCE).cloned().collect();
        Failures { causes, with_evidence }
    }

    /// Returns whether the page has the evidence of a result without its script.
    pub(super) fn has_static_evidence(&self, server: &str, case: &str) -> bool {
        self.with_evidence.contains(&(server.to_owned(), case.to_owned()))
    }
}

/// Iterates over the results of the causes in these categories: the first of each cause, then the
/// second of each. So no cause is left out because another has many results.
fn in_turn(
    causes: &[Cause],
    is_wanted: fn(Category) -> bool,
) -> impl Iterator<Item = &(String, String)> {
    let wanted = move || causes.iter().filter(move |cause| is_wanted(cause.category));
    let most = wanted().map(|cause| cause.results.len()).max().unwrap_or(0);
    (0..most).flat_map(move |index| wanted().filter_map(move |cause| cause.results.get(index)))
}

pub(super) fn section(report: &Report, failures: &Failures) -> Markup {
    html! {
        section id="failures" {
            h2 { "Failures by cause" }
            @if failures.causes.is_empty() {
                p { "Every case passed that applies, and no measurement has a problem." }
            } @else {
                p.legend { "Results with the same likely cause are one entry. Each case name opens its evidence." }
                noscript { p.legend { "Without the script of the page, only " (MAX_EVIDENCE) " results have their evidence here; report.json has all." } }
            }
            @for cause in &failures.causes { (entry(report, cause, failures)) }
            @if !report.known_failures().is_empty() {
                details.fault {
                    summary { b { (counted(report.known_failures().len(), "known failure")) } ", accepted" }
                    ul {
                        @for (server, result, known) in report.known_failures() {
                            li { a href=(result_link(&server.name, &result.name)) { (server.name) " · " (result.name) } ", " (result.label()) ": " (known.text()) }
                        }
                    }
                }
            }
        }
    }
}

fn entry(report: &Report, cause: &Cause, failures: &Failures) -> Markup {
    html! {
        details.fault {
            summary {
                b { (cause.title) } " — " (cause.counts())
                @if let Category::Failed(severity) = cause.category { "; " span.bad { (severity.label()) } }
            }
            dl {
                @for line in &cause.evidence { dt { (line.label) } dd { code { (line.text) } } }
                @if let Some(likely_cause) = &cause.likely_cause { dt { "likely cause" } dd { strong { (likely_cause) } } }
                @if let Some(command) = cause.reproduce.as_ref().filter(|it| !it.is_empty()) { dt { "reproduce" } dd { code.reproduce { (command) } } }
            }
            @if cause.category != Category::Measurement { (results(report, cause, failures)) }
            @else { @for (server, workload) in &cause.results { p.compact { (server) " " (workload) } } }
        }
    }
}

/// Renders the results of a cause: some with their evidence, others as links.
fn results(report: &Report, cause: &Cause, failures: &Failures) -> Markup {
    let (with_evidence, others): (Vec<_>, Vec<_>) =
        cause.results.iter().partition(|it| failures.with_evidence.contains(*it));
    html! {
        @for (server, case) in with_evidence { (static_details(report, server, case)) }
        @for (server, case) in others.iter().take(MAX_LINKS) {
            p.compact { a href=(result_link(server, case)) { (server) " · " (case) } }
        }
        @if others.len() > MAX_LINKS {
            p.compact { (others.len() - MAX_LINKS) " more in " a href="#matrix" { "all verdicts" } }
        }
    }
}

/// Renders the evidence of a result for a page without its script.
fn static_details(report: &Report, server: &str, case: &str) -> Markup {
    let found = report.servers.iter().find(|it| it.name == server).and_then(|it| it.result(case));
    html! {
        @if let Some(result) = found {
            p.compact { a href=(result_link(server, case)) { (server) " · " (case) } " · " (result.label()) }
            details.result {
                summary { "Evidence" }
                div id=(result_id(server, case)) { (evidence(result)) }
            }
        }
    }
}
