//! The servers: declared and observed properties, commands, and measurements.

use maud::{Markup, html};

use super::address::server_id;
use super::matrix::class;
use crate::figures::round_trip;
use crate::figures::{rate, time_or_dash};
use crate::results::{Report, ServerResult, State};

pub(super) fn section(report: &Report) -> Markup {
    html! {
        section id="servers" {
            h2 { "Servers" }
            @for server in &report.servers { (details(server)) }
        }
    }
}

fn details(server: &ServerResult) -> Markup {
    html! {
        details.server {
            summary { b { (server.label()) } " " span.quiet { (server.contract) } }
            dl id=(server_id(&server.name)) {
                @if let Some(reason) = &server.not_run { dt { "not run" } dd.bad { (reason) } }
                @if let Some(family) = &server.family { dt { "family" } dd { (family) } }
                @if let Some(model) = server.concurrency_model { dt { "concurrency model" } dd { (model) } }
                @if let Some(us) = server.round_trip_us { dt { "round-trip time" } dd { (round_trip(us)) } }
                dt { "declares" } dd { (server.contract) }
                (observed(server))
                dt { "tested" } dd { code { (server.command) } }
                @if let Some(command) = &server.measured_command { dt { "measured" } dd { code { (command) } } }
                @if let Some(problem) = &server.problem { dt { "problem" } dd.bad { (problem) } }
            }
            @if !server.measurements.is_empty() {
                div.scroll role="region" aria-label={ "Measurements of " (server.name) } tabindex="0" { (measurements(server)) }
            }
            @for it in &server.not_measured { p.compact { b { (it.workload) } " not measured: " (it.reason) } }
        }
    }
}

/// Renders the observations of the cases of the topic `contract`.
fn observed(server: &ServerResult) -> Markup {
    let observed = server.cases.iter().filter_map(|result| {
        let property = result.name.strip_prefix("contract/")?;
        (result.state != State::NotApplicable).then_some((property, result))
    });
    html! {
        @for (property, result) in observed {
            dt { "observed " (property) } dd { span class=(class(result.kind())) { (result.kind().symbol()) } " " (result.observed) }
        }
    }
}

fn measurements(server: &ServerResult) -> Markup {
    html! {
        table.plain {
            thead { tr {
                th scope="col" { "workload" } th scope="col" { "runs" } th scope="col" { "requests/s" }
                th scope="col" { "p50" } th scope="col" { "p90" } th scope="col" { "p99" } th scope="col" { "p99.9" } th scope="col" { "max" }
                th scope="col" { "server CPU / request" } th scope="col" { "generator CPU / request" } th scope="col" { "validity" }
            } }
            tbody {
                @for it in &server.measurements {
                    @let latency = it.latency_intended_ns;
                    tr {
                        th scope="row" { (it.workload) }
                        td { (it.runs.len()) }
                        td { (rate(it.throughput_per_s)) }
                        @for quantile in [latency.p50, latency.p90, latency.p99, latency.p999, latency.max] { td { (time_or_dash(quantile)) } }
                        td { (time_or_dash(it.server_cpu_ns_per_request())) }
                        td { (time_or_dash(it.generator_cpu_ns_per_request)) }
                        td.text { (it.validity.label.name()) @if !it.validity.caveats.is_empty() { ": " (it.validity.text()) } }
                    }
                }
            }
        }
    }
}
