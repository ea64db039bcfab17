//! `index.html`: the complete report for readers, in one file without scripts or network access.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use self::cases::{cases_in_detail, evidence, id, matrix};
use self::measurements::measurements;
use self::servers::servers;
use super::exporter::Exporter;
use super::tally::Tally;
use crate::figures::count;
use crate::results::{CaseResult, Report, ServerResult};

mod cases;
mod measurements;
mod servers;

pub(super) const EXPORTER: Exporter = Exporter {
    file_name: "index.html",
    summary: "the complete report for readers, with the evidence for each verdict; one file",
    render: |report| Some(render(report)),
};

const STYLE: &str = include_str!("../style.css");

fn render(report: &Report) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Socket servers compared" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (head(report))
                (failures(report))
                (matrix(report))
                (measurements(report))
                (servers(report))
                (environment(report))
                (reading())
                (cases_in_detail(report))
            }
        }
    };
    page.into_string() + "\n"
}

fn head(report: &Report) -> Markup {
    let tally = Tally::of(report.results());
    html! {
        header {
            h1 { "Socket servers compared" }
            @if !report.complete {
                p.warning { "The run is incomplete: the report has only the results from before it stopped." }
            }
            p.tally {
                (report.servers_run().len()) " servers, " (report.case_names().len()) " cases: "
                strong class=[(!report.results().all(CaseResult::is_fine)).then_some("bad")] {
                    (tally.summary())
                }
            }
            @for (server, reason) in report.servers_not_run() {
                p.warning { (server.label()) " cannot run on this machine: " (reason) "." }
            }
            p.command { code { (report.environment.command) } " · " (report.environment.started_at) }
        }
    }
}

fn failures(report: &Report) -> Markup {
    let failed: Vec<(&ServerResult, &CaseResult)> = report
        .servers
        .iter()
        .flat_map(|server| server.cases.iter().map(move |result| (server, result)))
        .filter(|(_, result)| !result.is_fine())
        .collect();
    html! {
        @if !report.is_fine() {
            section {
                h2 { "Results that need attention" }
                @for (server, result) in failed {
                    article.failure {
                        h3 { (server.name) " · " (result.name) " · " (result.label()) }
                        (evidence(result))
                        button popovertarget=(id(server, result)) { "Evidence" }
                    }
                }
                @for problem in report.problems() {
                    article.failure { h3 { "Measurement" } p { (problem) } }
                }
            }
        }
        @if !report.known_failures().is_empty() {
            section {
                h2 { "Known failures" }
                ul {
                    @for (server, result, known) in report.known_failures() {
                        li { (server.name) " · " (result.name) " · " (result.label()) ": " (known.text()) }
                    }
                }
            }
        }
    }
}

fn environment(report: &Report) -> Markup {
    let environment = &report.environment;
    html! {
        section {
            h2 { "Environment" }
            dl {
                dt { "Command" } dd { code { (environment.command) } }
                dt { "Started" } dd { (environment.started_at) }
                dt { "Seed" } dd { (report.seed) }
                dt { "Plan" } dd { (report.plan) }
                dt { "Harness" } dd { (environment.version) ", " (environment.build) " build" }
                @if let Some(commit) = &environment.commit {
                    dt { "Working directory" } dd { "commit " (commit) }
                }
                dt { "Kernel" } dd { (environment.kernel) }
                dt { "CPUs" } dd { (environment.cpus) " of " (environment.cpu_model) }
                dt { "Memory" } dd { (count(environment.memory_mib as f64)) " MiB" }
            }
        }
    }
}

fn reading() -> Markup {
    html! {
        section {
            h2 { "How to read this report, and its limitations" }
            ul {
                li { "A verdict is the result of one experiment with a new server process. If the contract rules a case out, the case is not applicable, and its experiment is not run." }
                li { "A closed loop sends a request when the reply to the previous request arrives. A server that stalls receives fewer requests, so the latencies do not show how a stall affects requests that arrive at a fixed rate." }
                li { "Requests are small, the network is the loopback interface, and the generator uses the same machine. Therefore, use the figures to compare concurrency models, not machines." }
                li { "Memory is anonymous resident memory. It excludes the program file, which the built-in servers share. Memory per connection is the growth of that memory until all connections are established and each has got one reply. It excludes the kernel's memory for sockets." }
            }
        }
    }
}
