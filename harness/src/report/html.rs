//! `index.html`: the complete report for readers, in one file without scripts or network access.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::document::{Report, ServerResult};
use super::exporter::Exporter;
use super::plot;
use super::tally::Tally;
use crate::client::Event;
use crate::conformance::{CaseResult, Kind, State, held};
use crate::figures::{count, rate, time, time_or_dash};
use crate::load::Measurement;

pub(super) const EXPORTER: Exporter = Exporter {
    file_name: "index.html",
    summary: "the whole report for a person, with the evidence behind each verdict; one file",
    render: |report| Some(render(report)),
};

/// Number of events shown at each end of the transcript of a passed case.
const SHOWN: usize = 15;

const STYLE: &str = include_str!("style.css");

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
                (evidence(report))
            }
        }
    };
    page.into_string() + "\n"
}

fn head(report: &Report) -> Markup {
    let tally = Tally::of(report.judgements());
    html! {
        header {
            h1 { "Socket servers compared" }
            @if !report.complete {
                p.warning { "The run was not finished; this is what it had." }
            }
            p.tally {
                (report.run().len()) " servers, " (report.case_names().len()) " cases: "
                strong class=[(!report.judgements().all(CaseResult::is_fine)).then_some("bad")] {
                    (tally.words())
                }
            }
            @for (server, words) in report.not_run() {
                p.warning { (server.label()) " was not run: " (words) "." }
            }
            p.command { code { (report.environment.command) } " · " (report.environment.began) }
        }
    }
}

fn failures(report: &Report) -> Markup {
    let failed: Vec<(&ServerResult, &CaseResult)> = report
        .servers
        .iter()
        .flat_map(|server| server.cases.iter().map(move |judgement| (server, judgement)))
        .filter(|(_, judgement)| !judgement.is_fine())
        .collect();
    html! {
        @if !report.is_fine() {
            section {
                h2 { "What needs a look" }
                @for (server, judgement) in failed {
                    article.failure {
                        h3 { (server.name) " · " (judgement.name) " · " (judgement.words()) }
                        (findings(judgement))
                        button popovertarget=(id(server, judgement)) { "Evidence" }
                    }
                }
                @for problem in report.problems() {
                    article.failure { h3 { "Measurement" } p { (problem) } }
                }
            }
        }
        @if !report.known().is_empty() {
            section {
                h2 { "Known failures" }
                ul {
                    @for (server, judgement, known) in report.known() {
                        li { (server.name) " · " (judgement.name) " · " (judgement.words()) ": " (known.words()) }
                    }
                }
            }
        }
    }
}

fn matrix(report: &Report) -> Markup {
    let cases = report.case_names();
    html! {
        @if !cases.is_empty() {
            section {
                h2 { "Verdicts" }
                p.legend {
                    @for &kind in Kind::ALL {
                        span class=(class(kind)) { (kind.symbol()) } " " (kind.name()) "   "
                    }
                    "Click on a cell for its evidence."
                }
                div.scroll {
                    table.matrix {
                        thead {
                            tr {
                                th { "case" }
                                @for server in report.run() {
                                    th.turned { div { span { (server.label()) } } }
                                }
                                th.requirement { "what is required" }
                            }
                        }
                        tbody {
                            @for (case, requirement) in cases {
                                tr {
                                    th scope="row" { (case) }
                                    @for server in report.run() {
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
        @if let Some(judgement) = server.judgement(case) {
            button class=(class(judgement.kind())) popovertarget=(id(server, judgement))
                title={ (server.name) " · " (judgement.words()) } {
                (judgement.kind().symbol())
            }
        }
    }
}

fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::NotApplicable => "none",
        Kind::Known => "known",
        Kind::Stale => "stale",
        kind => kind.name(),
    }
}

fn id(server: &ServerResult, judgement: &CaseResult) -> String {
    let plain = |text: &str| {
        text.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '-' }).collect()
    };
    let [server, case]: [String; 2] = [plain(&server.name), plain(judgement.name)];
    format!("{server}--{case}")
}

fn evidence(report: &Report) -> Markup {
    html! {
        @for server in &report.servers {
            @for judgement in &server.cases {
                div popover id=(id(server, judgement)) {
                    h3 {
                        span class=(class(judgement.kind())) { (judgement.kind().symbol()) } " "
                        (server.name) " · " (judgement.name) " · " (judgement.words())
                    }
                    (findings(judgement))
                    (transcript(judgement))
                    (resources(judgement))
                    @if let Some(exit) = judgement.exit {
                        p { "The server ended: " (exit.to_string()) "." }
                    }
                    @if !judgement.survivors.is_empty() {
                        p {
                            "Left over, and killed: "
                            @for one in &judgement.survivors { (one.name) " (" (one.pid) ") " }
                        }
                    }
                    @if !judgement.log.is_empty() {
                        h4 { "What the server wrote last" }
                        pre { (judgement.log) }
                    }
                }
            }
        }
    }
}

/// Renders the transcript: all events, unless the case passed. Of a passed case it renders the
/// first and last events, without the server's output, which has a section of its own.
fn transcript(judgement: &CaseResult) -> Markup {
    let is_fine = judgement.found().is_fine();
    let events: Vec<&Event> =
        judgement.transcript.iter().filter(|event| !is_fine || !event.is_output()).collect();
    let is_short = !is_fine || events.len() <= 2 * SHOWN;
    let (first, last) = if is_short {
        (events.as_slice(), Default::default())
    } else {
        (&events[..SHOWN], &events[events.len() - SHOWN..])
    };
    let left_out = events.len() - first.len() - last.len();
    html! {
        @if !events.is_empty() {
            h4 { "On the wire" }
            table.wire {
                @for event in first { (wire(event)) }
                @if left_out > 0 {
                    tr { td {} td {} td { "… " (left_out) " events more, in report.json …" } }
                }
                @for event in last { (wire(event)) }
            }
        }
    }
}

/// Renders the resource usage: one line, and all samples unless the case passed.
fn resources(judgement: &CaseResult) -> Markup {
    html! {
        @if let Some(held) = held(&judgement.resources) {
            p { "Held: " (held) }
        }
        @if !judgement.found().is_fine() && judgement.resources.len() > 1 {
            table.figures {
                thead {
                    tr { th { "at" } th { "processes" } th { "threads" } th { "descriptors" } th { "memory" } }
                }
                @for sample in &judgement.resources {
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
            td { code { (event.what) } }
        }
    }
}

fn findings(judgement: &CaseResult) -> Markup {
    html! {
        dl {
            dt { "Required" } dd { (judgement.requirement) }
            @if let Some(known) = &judgement.known && judgement.kind() == Kind::Known {
                dt { "Known" } dd { (known.words()) }
            }
            @if judgement.kind() == Kind::NotApplicable {
                dt { "Not applicable" } dd { (judgement.observed) }
            } @else {
                @if judgement.expected != judgement.requirement {
                    dt { "Expected" } dd { (judgement.expected) }
                }
                dt { "Observed" } dd { (judgement.observed) }
                @if let Some(hint) = &judgement.hint {
                    dt { "Hint" } dd { (hint) }
                }
                dt { "Again" } dd { code { (judgement.replay) } }
            }
        }
    }
}

fn measurements(report: &Report) -> Markup {
    html! {
        @if !report.workloads().is_empty() {
            section {
                h2 { "Measurements" }
                p {
                    "Server and generator share this machine, and each figure is of one run ("
                    (report.plan) "): repeat the run before believing a difference. Every "
                    "reply was checked; only right ones have a latency, from when the request was "
                    "due to receiving the reply; in a closed loop it is due when it is sent. The "
                    "dots are p50, p90, p99, p99.9 and the largest. Each run judges itself: what "
                    "stands against its figures is in the last column."
                }
                @for workload in report.workloads() {
                    h3 { (workload) }
                    (plot::latency(report, workload))
                    (figures(report, workload))
                }
            }
        }
    }
}

fn figures(report: &Report, workload: &str) -> Markup {
    let measured: Vec<(&ServerResult, &Measurement)> = report
        .servers
        .iter()
        .filter_map(|server| Some((server, server.measurement(workload)?)))
        .collect();
    let most = measured.iter().map(|(_, one)| one.throughput_per_s).fold(1.0, f64::max);
    let is_held = measured.iter().any(|(_, one)| one.held.is_some());
    html! {
        div.scroll {
            table.figures {
                thead {
                    tr {
                        th { "server" }
                        @if is_held {
                            th { "connections" } th { "memory / connection" } th { "connected in" }
                        }
                        th { "requests/s" } th { "" }
                        th { "p50" } th { "p90" } th { "p99" } th { "p99.9" } th { "max" }
                        th { "generator CPU / request" } th { "server CPU / request" }
                        th { "threads" } th { "memory" } th { "verdict" }
                    }
                }
                tbody {
                    @for (server, one) in measured {
                        @let latency = one.latency_intended_ns;
                        tr class=[one.problem().is_some().then_some("bad")] {
                            th scope="row" { (server.label()) }
                            @if let Some(held) = one.held {
                                td { (count(one.clients as f64)) }
                                td { (count(held.memory_per_connection_bytes as f64)) " B" }
                                td { (time(held.connected_in_ms * 1_000_000)) }
                            } @else if is_held {
                                td {} td {} td {}
                            }
                            td { (rate(one.throughput_per_s)) }
                            td.bar {
                                div style={ "width:" (format!("{:.1}", 100.0 * one.throughput_per_s / most)) "%" } {}
                            }
                            @for quantile in [latency.p50, latency.p90, latency.p99, latency.p999, latency.max] {
                                td { (time_or_dash(quantile)) }
                            }
                            td { (time_or_dash(one.generator_cpu_ns_per_request)) }
                            td { (time_or_dash(one.server_cpu_ns_per_request())) }
                            @if let Some(side) = &one.server {
                                td { (side.threads) }
                                td { (count(side.anonymous_bytes as f64 / 1024.0)) " KiB" }
                            } @else {
                                td {} td {}
                            }
                            td title=[(!one.validity.caveats.is_empty()).then(|| one.validity.words())] { (one.validity.verdict.name()) }
                        }
                    }
                }
            }
        }
    }
}

fn servers(report: &Report) -> Markup {
    html! {
        section {
            h2 { "Servers" }
            div.scroll {
                table.servers {
                    thead { tr { th { "server" } th { "declares" } th { "observed" } th { "judged as" } th { "measured as" } } }
                    tbody {
                        @for server in &report.servers {
                            tr {
                                th scope="row" { (server.label()) }
                                td { (server.contract) }
                                td { (observed(server)) }
                                td {
                                    @if server.not_run.is_some() { "not run" }
                                    @else { code { (server.command) } }
                                }
                                td {
                                    @if let Some(command) = &server.measured_command { code { (command) } }
                                    @for words in &server.not_measured { br; (words) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Renders the observations of the contract cases, declared or not.
fn observed(server: &ServerResult) -> Markup {
    let seen = server.cases.iter().filter_map(|judgement| {
        let what = judgement.name.strip_prefix("contract/")?;
        (judgement.state != State::NotApplicable).then_some((what, judgement))
    });
    html! {
        @for (what, judgement) in seen {
            div { span class=(class(judgement.kind())) { (what) } ": " (judgement.observed) }
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
                dt { "Began" } dd { (environment.began) }
                dt { "Seed" } dd { (report.seed) }
                dt { "Plan" } dd { (report.plan) }
                dt { "Harness" } dd { (environment.version) ", " (environment.build) " build" }
                @if let Some(commit) = &environment.folder_commit {
                    dt { "Folder" } dd { "at commit " (commit) }
                }
                dt { "Kernel" } dd { (environment.kernel) }
                dt { "Processor" } dd { (environment.processor) ", " (environment.processors) " usable" }
                dt { "Memory" } dd { (count(environment.memory_mib as f64)) " MiB" }
            }
        }
    }
}

fn reading() -> Markup {
    html! {
        section {
            h2 { "How to read this, and what it does not show" }
            ul {
                li { "A verdict says what the server did in one experiment, with a process of its own. Not applicable is decided by the contract before anything is run." }
                li { "The closed loop sends a request when the last one is answered: a server that stalls is asked less, so these latencies are what its clients saw, not what arrivals at a fixed rate would have met." }
                li { "Requests are tiny, the network is the loopback, and the generator takes its share of the same processors: the figures compare ways of serving, not machines." }
                li { "Memory is anonymous resident memory: what the built-in servers share with each other, their program, is not counted. Memory per connection is what it grew by until all were connected and answered; what the kernel holds for a socket is not in it." }
            }
        }
    }
}
