//! `measurements.csv`: the figures of all runs, for spreadsheets and data frames.

use super::exporter::Exporter;
use super::markup::plain;
use crate::results::{Measurement, Report, RunFigures, ServerResult};

pub(super) const EXPORTER: Exporter = Exporter {
    file_name: "measurements.csv",
    summary: "figures as CSV: a row for each run of a measurement, and a summary row",
    render: |document| render(document.report),
};

/// Columns, in order. A cell without a figure is empty.
const COLUMNS: &[&str] = &[
    "row",
    "server",
    "workload",
    "run",
    "report_complete",
    "connections",
    "duration_ms",
    "validity",
    "offered_per_s",
    "throughput_per_s",
    "throughput_low_per_s",
    "throughput_high_per_s",
    "p50_ns",
    "p90_ns",
    "p99_ns",
    "p99_low_ns",
    "p99_high_ns",
    "p999_ns",
    "max_ns",
    "server_cpu_ns_per_request",
    "memory_per_connection_bytes",
    "anonymous_bytes",
];

fn render(report: &Report) -> Option<String> {
    report.workloads().first()?;
    let mut table = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(vec![]);
    table.write_record(COLUMNS).ok()?;
    for server in &report.servers {
        for measurement in &server.measurements {
            for (number, run) in (1..).zip(&measurement.runs) {
                table.write_record(run_row(report, server, measurement, number, run)).ok()?;
            }
            table.write_record(summary_row(report, server, measurement)).ok()?;
        }
    }
    String::from_utf8(table.into_inner().ok()?).ok()
}

fn run_row(
    report: &Report,
    server: &ServerResult,
    measurement: &Measurement,
    number: usize,
    run: &RunFigures,
) -> Vec<String> {
    let empty = String::new;
    vec![
        "run".to_owned(),
        text(&server.name),
        text(&measurement.workload),
        number.to_string(),
        report.complete.to_string(),
        measurement.clients.to_string(),
        empty(),
        run.validity.name().to_owned(),
        cell(measurement.offered_per_s),
        run.throughput_per_s.to_string(),
        empty(),
        empty(),
        cell(run.p50_ns),
        empty(),
        cell(run.p99_ns),
        empty(),
        empty(),
        empty(),
        empty(),
        cell(run.server_cpu_ns_per_request),
        cell(run.memory_per_connection_bytes),
        cell(run.anonymous_bytes),
    ]
}

fn summary_row(report: &Report, server: &ServerResult, measurement: &Measurement) -> Vec<String> {
    let throughput = measurement.mean_over_runs(|run| Some(run.throughput_per_s));
    let throughput = throughput.and_then(|(_, interval)| interval);
    let p99 = &measurement.p99_interval_ns;
    let latency = &measurement.latency_intended_ns;
    let idle = measurement.idle_connections.as_ref();
    vec![
        "summary".to_owned(),
        text(&server.name),
        text(&measurement.workload),
        String::new(),
        report.complete.to_string(),
        measurement.clients.to_string(),
        measurement.duration_ms.to_string(),
        measurement.validity.label.name().to_owned(),
        cell(measurement.offered_per_s),
        measurement.throughput_per_s.to_string(),
        cell(throughput.as_ref().map(|it| it.low)),
        cell(throughput.as_ref().map(|it| it.high)),
        cell(latency.p50),
        cell(latency.p90),
        cell(latency.p99),
        cell(p99.as_ref().map(|it| it.low)),
        cell(p99.as_ref().map(|it| it.high)),
        cell(latency.p999),
        cell(latency.max),
        cell(measurement.server_cpu_ns_per_request()),
        cell(idle.map(|it| it.memory_per_connection_bytes)),
        cell(measurement.server_stats.as_ref().map(|it| it.anonymous_bytes)),
    ]
}

fn cell(figure: Option<impl ToString>) -> String {
    figure.map_or_else(String::new, |figure| figure.to_string())
}

/// Formats a name in one line. Spreadsheets execute a cell that begins with one of these characters
/// as a formula, so it gets an apostrophe.
fn text(name: &str) -> String {
    let name = plain(name);
    if name.starts_with(['=', '+', '-', '@']) { format!("'{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_documented() {
        let document = include_str!("../../../docs/formats.md");
        for column in COLUMNS {
            assert!(document.contains(&format!("`{column}`")), "{column}");
        }
    }

    #[test]
    fn no_name_is_a_formula() {
        let names = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "a=1"].map(text);
        assert_eq!(names, ["'=1+1", "'+1", "'-1", "'@SUM(A1)", " =1", "a=1"]);
    }
}
