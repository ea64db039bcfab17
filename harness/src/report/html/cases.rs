//! The case results: the matrix of verdicts, and the evidence for each verdict.

use maud::{Markup, html};

use crate::figures::count;
use crate::results::{CaseResult, Event, Kind, Report, ServerResult, format_changes};

/// Number of events shown at the beginning and at the end of the transcript of a passed case.
const MAX_EVENTS: usize = 15;

pub(super) fn matrix(report: &Report) -> Markup {
    let cases = report.case_names();
    html! {
        @if !cases.is_empty() {
            section {
                h2 { "Verdicts" }
                p.legend {
                    @for &kind in Kind::ALL {
                        span class=(class(kind)) { (kind.symbol()) } " " (kind.name()) "   "
                    }
                    "Click a cell for its evidence."
                }
                div.scroll {
                    table.matrix {
                        thead {
                            tr {
                                th { "case" }
                                @for server in report.servers_run() {
                                    th.turned { div { span { (server.label()) } } }
                                }
                                th.requirement { "requirement" }
                            }
                        }
                        tbody {
                            @for (case, requirement) in cases {
                                tr {
                                    th scope="row" { (case) }
                                    @for server in report.servers_run() {
                                        td { (cell(server, case)) }
                                    }
                                    td.requirement { (requirement) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn cell(server: &ServerResult, case: &str) -> Markup {
    html! {
        @if let Some(result) = server.result(case) {
            button class=(class(result.kind())) popovertarget=(id(server, result))
                title={ (server.name) " · " (result.label()) } {
                (result.kind().symbol())
            }
        }
    }
}

pub(super) fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::NotApplicable => "none",
        Kind::Known => "known",
        Kind::Stale => "stale",
        kind => kind.name(),
    }
}

pub(super) fn id(server: &ServerResult, result: &CaseResult) -> String {
    let plain = |text: &str| {
        text.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '-' }).collect()
    };
    let [server, case]: [String; 2] = [plain(&server.name), plain(&result.name)];
    format!("{server}--{case}")
}

pub(super) fn cases_in_detail(report: &Report) -> Markup {
    html! {
        @for server in &report.servers {
            @for result in &server.cases {
                div popover id=(id(server, result)) {
                    h3 {
                        span class=(class(result.kind())) { (result.kind().symbol()) } " "
                        (server.name) " · " (result.name) " · " (result.label())
                    }
                    (evidence(result))
                    (transcript(result))
                    (resources(result))
                    @if let Some(exit) = result.exit {
                        p { "The server exited: " (exit.to_string()) "." }
                    }
                    @if !result.survivors.is_empty() {
                        p {
                            "Survivors, killed by the harness: "
                            @for process in &result.survivors { (process.name) " (" (process.pid) ") " }
                        }
                    }
                    @if !result.log.is_empty() {
                        h4 { "Last output of the server" }
                        pre { (result.log) }
                    }
                }
            }
        }
    }
}

/// Renders the transcript. For a passed case, renders only the first and last events, and omits the
/// server's output, which has a separate section.
fn transcript(result: &CaseResult) -> Markup {
    let is_fine = result.found().is_fine();
    let events: Vec<&Event> =
        result.transcript.iter().filter(|event| !is_fine || !event.kind.is_output()).collect();
    let is_short = !is_fine || events.len() <= 2 * MAX_EVENTS;
    let (first, last) = if is_short {
        (events.as_slice(), Default::default())
    } else {
        (&events[..MAX_EVENTS], &events[events.len() - MAX_EVENTS..])
    };
    let omitted = events.len() - first.len() - last.len();
    html! {
        @if !events.is_empty() {
            h4 { "Transcript" }
            table.wire {
                @for event in first { (wire(event)) }
                @if omitted > 0 {
                    tr { td {} td {} td { "… " (omitted) " more events, in report.json …" } }
                }
                @for event in last { (wire(event)) }
            }
        }
    }
}

/// Renders the resource usage: the changes in one line and, unless the case passed, all samples.
fn resources(result: &CaseResult) -> Markup {
    html! {
        @if let Some(changes) = format_changes(&result.resources) {
            p { "Resources: " (changes) }
        }
        @if !result.found().is_fine() && result.resources.len() > 1 {
            table.figures {
                thead {
                    tr { th { "at" } th { "processes" } th { "threads" } th { "descriptors" } th { "memory" } }
                }
                @for sample in &result.resources {
                    tr {
                        td { (milliseconds(sample.at_us)) }
                        td { (sample.processes) }
                        td { (sample.threads) }
                        td { (sample.descriptors) }
                        td { (count(sample.anonymous_bytes as f64 / 1024.0)) " KiB" }
                    }
                }
            }
        }
    }
}

fn milliseconds(us: u64) -> String {
    format!("{:.3} ms", us as f64 / 1e3)
}

fn wire(event: &Event) -> Markup {
    html! {
        tr {
            td { (milliseconds(event.at_us)) }
            td { @if event.client > 0 { "client " (event.client) } }
            td { code { (event.kind) } }
        }
    }
}

pub(super) fn evidence(result: &CaseResult) -> Markup {
    html! {
        dl {
            dt { "Required" } dd { (result.requirement) }
            @if let Some(known) = &result.known_failure && result.kind() == Kind::Known {
                dt { "Known failure" } dd { (known.text()) }
            }
            @if result.kind() == Kind::NotApplicable {
                dt { "Not applicable" } dd { (result.observed) }
            } @else {
                @if result.expected != result.requirement {
                    dt { "Expected" } dd { (result.expected) }
                }
                dt { "Observed" } dd { (result.observed_with_causes()) }
                @if let Some(hint) = &result.hint {
                    dt { "Hint" } dd { (hint) }
                }
                dt { "Reproduce" } dd { code { (result.reproduce) } }
            }
        }
    }
}
