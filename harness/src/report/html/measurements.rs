//! The measurements: a plot and a table for each workload.

use maud::{Markup, html};

use crate::figures::{count, rate, time, time_or_dash};
use crate::report::plot;
use crate::results::{Measurement, Report, ServerResult};

pub(super) fn measurements(report: &Report) -> Markup {
    html! {
        @if !report.workloads().is_empty() {
            section {
                h2 { "Measurements" }
                p {
                    "Server and generator share this machine, and each figure is from one run ("
                    (report.plan) "). Repeat the run before you rely on a difference. Every reply "
                    "is checked, and only correct replies have a latency. The latency is measured "
                    "from the scheduled time of the request; in a closed loop, that is the send "
                    "time. The dots are p50, p90, p99, p99.9 and the maximum. The last column has "
                    "the validity of the run; move the pointer over it to see all caveats."
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
    let max_throughput =
        measured.iter().map(|(_, measurement)| measurement.throughput_per_s).fold(1.0, f64::max);
    let has_idle = measured.iter().any(|(_, measurement)| measurement.idle_connections.is_some());
    html! {
        div.scroll {
            table.figures {
                thead {
                    tr {
                        th { "server" }
                        @if has_idle {
                            th { "connections" } th { "memory / connection" } th { "connected in" }
                        }
                        th { "requests/s" } th { "" }
                        th { "p50" } th { "p90" } th { "p99" } th { "p99.9" } th { "max" }
                        th { "generator CPU / request" } th { "server CPU / request" }
                        th { "threads" } th { "memory" } th { "validity" }
                    }
                }
                tbody {
                    @for (server, measurement) in measured {
                        @let latency = measurement.latency_intended_ns;
                        tr class=[measurement.problem().is_some().then_some("bad")] {
                            th scope="row" { (server.label()) }
                            @if let Some(idle) = &measurement.idle_connections {
                                td { (count(measurement.clients as f64)) }
                                td { (count(idle.memory_per_connection_bytes as f64)) " B" }
                                td { (time(idle.connected_in_ms * 1_000_000)) }
                            } @else if has_idle {
                                td {} td {} td {}
                            }
                            td { (rate(measurement.throughput_per_s)) }
                            td.bar {
                                div style={ "width:" (format!("{:.1}", 100.0 * measurement.throughput_per_s / max_throughput)) "%" } {}
                            }
                            @for quantile in [latency.p50, latency.p90, latency.p99, latency.p999, latency.max] {
                                td { (time_or_dash(quantile)) }
                            }
                            td { (time_or_dash(measurement.generator_cpu_ns_per_request)) }
                            td { (time_or_dash(measurement.server_cpu_ns_per_request())) }
                            @if let Some(server) = &measurement.server_stats {
                                td { (server.threads) }
                                td { (count(server.anonymous_bytes as f64 / 1024.0)) " KiB" }
                            } @else {
                                td {} td {}
                            }
                            td title=[(!measurement.validity.caveats.is_empty()).then(|| measurement.validity.text())] { (measurement.validity.label.name()) }
                        }
                    }
                }
            }
        }
    }
}
