//! The head of the page: what was run, and the links to the sections.

use maud::{Markup, html};

use super::address::server_link;
use crate::figures::{count, counted};
use crate::report::tally::Tally;
use crate::results::{CaseResult, Report};

pub(super) fn header(report: &Report) -> Markup {
    let tally = Tally::of(report.results());
    let environment = &report.environment;
    let is_fine = report.results().all(CaseResult::is_fine);
    html! {
        a.skip href="#summary" { "Skip to the summary" }
        header id="run" {
            h1 { "Socket servers compared" }
            @if !report.complete {
                p.warning { "The run is incomplete: the report has only the results from before it stopped." }
            }
            p.tally {
                (counted(report.servers_run().len(), "server")) ", " (counted(report.case_names().len(), "case")) ": "
                strong class=[(!is_fine).then_some("bad")] { (tally.summary()) }
            }
            @if report.merged_reports > 0 {
                p { b { "Merged from " (report.merged_reports + 1) " reports." } " Command, time and seed are those of the first." }
            }
            p.quiet {
                code { (environment.command) }
                @if let Some(commit) = &environment.commit { " · commit " (commit) }
                " · " (environment.started_at) " · took " (duration(report.duration_ms))
                " · seed " (report.seed) " · " (report.plan) " · " (environment.cpus) " CPUs of "
                (environment.cpu_model) " · " (environment.kernel)
            }
            p.quiet {
                "Server and generator share this machine and use the loopback interface: compare servers with each other, not with other machines. "
                a href="#method" { "How it was measured" } "."
            }
            @for (server, reason) in report.servers_not_run() {
                p.warning { a href=(server_link(&server.name)) { (server.label()) } " cannot run on this machine: " (reason) "." }
            }
            nav aria-label="Sections" {
                @for (id, title) in [
                    ("summary", "Summary"), ("failures", "Failures"), ("when-full", "When full"),
                    ("curves", "Curves"), ("matrix", "All verdicts"), ("comparison", "Comparison"),
                    ("servers", "Servers"), ("method", "Method"),
                ] {
                    a href={ "#" (id) } { (title) } " "
                }
                @if !report.external().is_empty() { a href="grading.html" { "Grading report" } }
            }
        }
    }
}

/// Formats a duration: `83 s`, `12 min 5 s`.
pub(super) fn duration(ms: u64) -> String {
    match ms / 1000 {
        seconds @ ..120 => format!("{} s", count(seconds as f64)),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}
