//! Failures, grouped by likely cause over all servers.

use maud::{Markup, html};

use super::address::{result_id, result_link};
use super::static_evidence::evidence;
use crate::figures::counted;
use crate::report::grading::{Fault, Grading, Severity};
use crate::results::{Kind, Report};

/// Maximum number of results whose evidence the page has without its script.
const MAX_EVIDENCE: usize = 50;

/// Maximum number of further results that a cause lists.
const MAX_LINKS: usize = 20;

/// The faults of several servers with the same title and likely cause.
struct Cause {
    severity: Severity,
    /// Each fault with the name of its server.
    faults: Vec<(String, Fault)>,
}

impl Cause {
    /// Iterates over the servers and names of the failed cases.
    fn cases(&self) -> impl Iterator<Item = (&str, &str)> {
        self.faults.iter().flat_map(|(server, fault)| {
            fault.cases.iter().map(move |case| (server.as_str(), case.as_str()))
        })
    }
}

/// The failures of a report, grouped by cause.
pub(super) struct Failures {
    /// Most severe first, then the most frequent.
    causes: Vec<Cause>,
}

impl Failures {
    pub(super) fn of(report: &Report) -> Failures {
        Failures { causes: causes(report) }
    }

    /// Returns whether the page has the evidence of a result without its script.
    pub(super) fn has_static_evidence(&self, server: &str, case: &str) -> bool {
        let all = self.causes.iter().flat_map(Cause::cases);
        all.take(MAX_EVIDENCE).any(|it| it == (server, case))
    }
}

pub(super) fn section(report: &Report, failures: &Failures) -> Markup {
    let causes = &failures.causes;
    let inconclusive: Vec<(&str, &str, String)> = report
        .servers
        .iter()
        .flat_map(|server| server.cases.iter().map(move |result| (server, result)))
        .filter(|(_, result)| matches!(result.kind(), Kind::Inconclusive | Kind::Stale))
        .map(|(server, it)| (server.name.as_str(), it.name.as_str(), it.observed_with_causes()))
        .collect();
    let problems: Vec<String> = report.problems().collect();
    let mut budget = MAX_EVIDENCE;
    html! {
        section id="failures" {
            h2 { "Failures by cause" }
            @if causes.is_empty() && inconclusive.is_empty() && problems.is_empty() {
                p { "No case failed, and no measurement has a problem." }
            } @else {
                p.legend { "Failed cases with the same likely cause are one entry. Each case name opens its evidence." }
            }
            @for cause in causes { (fault(report, cause, &mut budget)) }
            @if !inconclusive.is_empty() {
                details.fault {
                    summary { b { (counted(inconclusive.len(), "result")) } " inconclusive, or no longer as the known failure says" }
                    ul {
                        @for (server, case, observed) in &inconclusive {
                            li { a href=(result_link(server, case)) { (server) " · " (case) } ": " (observed) }
                        }
                    }
                }
            }
            @if !problems.is_empty() {
                details.fault {
                    summary { b { (counted(problems.len(), "measurement")) } " with a problem" }
                    ul { @for problem in &problems { li { (problem) } } }
                }
            }
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

/// Groups the faults of all servers, most severe first, then the most frequent.
fn causes(report: &Report) -> Vec<Cause> {
    let mut causes: Vec<Cause> = Vec::new();
    for server in &report.servers {
        for fault in Grading::of(server).faults {
            let same = |cause: &&mut Cause| {
                let first = &cause.faults[0].1;
                (&first.title, &first.cause) == (&fault.title, &fault.cause)
            };
            let severity = fault.severity;
            let entry = (server.name.clone(), fault.clone());
            match causes.iter_mut().find(same) {
                Some(cause) => cause.faults.push(entry),
                None => causes.push(Cause { severity, faults: vec![entry] }),
            }
        }
    }
    causes.sort_by_key(|cause| (cause.severity, std::cmp::Reverse(cause.faults.len())));
    causes
}

fn fault(report: &Report, cause: &Cause, budget: &mut usize) -> Markup {
    let first = &cause.faults[0].1;
    let cases: usize = cause.faults.iter().map(|(_, fault)| fault.cases.len()).sum();
    html! {
        details.fault {
            summary {
                b { (first.title) } " — "
                (counted(cause.faults.len(), "server")) ", " (counted(cases, "failed case")) "; "
                span.bad { (cause.severity.label()) }
            }
            dl {
                @for line in &first.evidence { dt { (line.label) } dd { code { (line.text) } } }
                dt { "likely cause" } dd { strong { (first.cause) } }
                dt { "reproduce" } dd { code.reproduce { (first.reproduce) } }
            }
            @let all: Vec<(&str, &str)> = cause.cases().collect();
            @let shown = all.len().min(*budget);
            @for (server, case) in &all[..shown] { ({ *budget -= 1; static_details(report, server, case) }) }
            @for (server, case) in all[shown..].iter().take(MAX_LINKS) {
                p.compact { a href=(result_link(server, case)) { (server) " · " (case) } }
            }
            @if all.len() > shown + MAX_LINKS {
                p.compact { (all.len() - shown - MAX_LINKS) " more in " a href="#matrix?verdict=fail" { "all verdicts" } }
            }
        }
    }
}

/// Renders the evidence of a failed result for a page without its script.
fn static_details(report: &Report, server: &str, case: &str) -> Markup {
    let found = report.servers.iter().find(|it| it.name == server).and_then(|it| it.result(case));
    html! {
        @if let Some(result) = found {
            details.result {
                summary { a href=(result_link(server, case)) { (server) " · " (case) } " · " (result.label()) }
                div id=(result_id(server, case)) { (evidence(result)) }
            }
        }
    }
}
