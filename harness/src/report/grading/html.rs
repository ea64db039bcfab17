//! `grading.html`: the grading reports for screen and print. The overview table comes first, then
//! one page per server.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::model::{Fault, Grading, Group, Row};
use crate::figures::round_trip;
use crate::report::exporter::Exporter;
use crate::report::html::result_link;
use crate::results::Report;

pub(in crate::report) const EXPORTER: Exporter = Exporter {
    file_name: "grading.html",
    summary: "the grading report for screen and print: overview table, then a page for each external server",
    render: |document| render(document.report),
};

const STYLE: &str = concat!(include_str!("../html/base.css"), include_str!("grading.css"));

fn render(report: &Report) -> Option<String> {
    let servers = report.external();
    let grading: Vec<Grading> = servers.iter().map(|server| Grading::of(server)).collect();
    let rows: Vec<Row> = servers.iter().map(|server| Row::of(server)).collect();
    let [first, ..] = grading.as_slice() else { return None };
    let title = if grading.len() > 1 { "Overview" } else { first.name.as_str() };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                link rel="icon" href="data:,";
                title { "Grading report: " (title) }
                style { (PreEscaped(STYLE)) }
            }
            body.grading {
                @if !report.complete {
                    p.warning { "The run is incomplete: the report has only the results from before it stopped." }
                }
                @if grading.len() > 1 { (overview(report, &rows)) }
                @for (number, grading) in grading.iter().enumerate() { (grading_section(report, number, grading)) }
            }
        }
    };
    Some(page.into_string() + "\n")
}

fn anchor(number: usize) -> String {
    format!("server-{}", number + 1)
}

fn overview(report: &Report, rows: &[Row]) -> Markup {
    html! {
        nav {
            h1 { "Overview" }
            p.command { (rows.len()) " servers, tested " (report.environment.started_at) ", seed " (report.seed) ". Each name is a link to the page of the server." }
            table.overview {
                thead {
                    tr {
                        th { "server" }
                        th.count { "passed" } th.count { "warn" } th.count { "failed" } th.count { "inconclusive" }
                        th { "worst fault" } th.count { "duration" } th { "concurrency model" }
                    }
                }
                tbody {
                    @for (number, row) in rows.iter().enumerate() {
                        tr {
                            th scope="row" { a href={ "#" (anchor(number)) } { (row.name) } }
                            td.count.pass { (row.passed) }
                            td.count { (row.warn) }
                            td.count.fail[row.fails > 0] { (row.failed_text()) }
                            td.count { (row.inconclusive) }
                            td { (row.worst_fault) }
                            td.count { (row.duration_text()) }
                            td { (row.model_name()) }
                        }
                    }
                }
            }
            p.legend { "Passed: the server meets the requirement. Warn: the server works, but deviates from the strict requirement. Inconclusive: the case could not be tried, mostly because another case must pass first. Undeclared properties are not tested." }
        }
    }
}

fn grading_section(report: &Report, number: usize, grading: &Grading) -> Markup {
    html! {
        section.sheet id=(anchor(number)) {
            header {
                p.kicker { "Grading report" }
                h1 { (grading.name) }
                dl {
                    @if grading.command != grading.name { dt { "command" } dd { code { (grading.command) } } }
                    dt { "declares" } dd { (grading.contract) }
                    @if let Some(model) = grading.concurrency_model { dt { "concurrency model" } dd { (model) } }
                    @if let Some(us) = grading.round_trip_us { dt { "round-trip time" } dd { (round_trip(us)) } }
                    @if let Some(reason) = &grading.not_run {
                        dt { "not run" } dd.bad { (reason) }
                    } @else {
                        dt { "verdicts" } dd { strong { (grading.tally) } }
                    }
                    dt { "tested" } dd { (report.environment.started_at) ", seed " (report.seed) }
                }
            }
            @if grading.not_run.is_none() { (body(grading)) }
        }
    }
}

fn body(grading: &Grading) -> Markup {
    html! {
        h2 { "Faults, most severe first" }
        @if grading.faults.is_empty() { p { (grading.no_fault_text()) } }
        ol.faults { @for it in &grading.faults { (fault(&grading.name, it)) } }
        @if !grading.topics.is_empty() {
            h2 { "What works, with the number of cases that passed, strictly or with a warning" }
            table.topics {
                @for topic in &grading.topics {
                    tr {
                        td class=(if topic.passed == topic.conclusive { "pass" } else { "warn" }) {
                            (if topic.passed == topic.conclusive { "✓" } else { "in part" })
                        }
                        td { (topic.topic) }
                        td.count { (topic.passed) " of " (topic.conclusive) " cases" }
                    }
                }
            }
        }
        @if !grading.notes.is_empty() {
            h2 { "Notes" }
            ul.small { @for note in &grading.notes { li { code { (note.case) } ": " (note.text) } } }
        }
        (groups("Inconclusive", &grading.inconclusive))
        (groups("Not applicable", &grading.not_applicable))
    }
}

fn fault(server: &str, fault: &Fault) -> Markup {
    html! {
        li {
            h3 { (fault.title) }
            p.weight { (fault.severity.label()) }
            dl {
                @for line in &fault.evidence { dt { (line.label) } dd { code { (line.text) } } }
                dt { "likely cause" } dd.cause { (fault.cause) }
                dt { "reproduce" } dd { code { (fault.reproduce) } }
                dt { "failed cases" } dd.cases { @for case in &fault.cases { a href={ "index.html" (result_link(server, case)) } { (case) } " " } }
            }
        }
    }
}

fn groups(title: &str, groups: &[Group]) -> Markup {
    let cases: usize = groups.iter().map(|group| group.cases.len()).sum();
    html! {
        @if !groups.is_empty() {
            h2 { (title) " (" (cases) ")" }
            ul.small {
                @for group in groups {
                    li { (group.reason) ": " span.quiet { (group.cases.join(", ")) } }
                }
            }
        }
    }
}
