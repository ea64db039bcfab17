//! `summary.md`: a summary of the report for the page of a CI run, a commit or a pull request.

use std::fmt::Write;

use super::exporter::Exporter;
use super::tally::Tally;
use crate::figures::{count, rate, time, time_or_dash};
use crate::results::{CaseResult, Kind, Report, Verdict};

pub(super) const EXPORTER: Exporter = Exporter {
    file_name: "summary.md",
    summary: "verdicts, failures and figures as Markdown, for the summary of a CI step",
    render: |report| Some(render(report)),
};

pub(super) fn render(report: &Report) -> String {
    let mut page = String::new();
    write(report, &mut page).expect("writing to a String cannot fail");
    page
}

fn write(report: &Report, page: &mut String) -> std::fmt::Result {
    let environment = &report.environment;
    writeln!(page, "# Socket servers compared\n")?;
    if !report.complete {
        writeln!(
            page,
            "**The run is incomplete: the report has only the results from before it stopped.**\n"
        )?;
    }
    if report.results().next().is_some() {
        writeln!(page, "Verdicts: {}.\n", Tally::of(report.results()).summary())?;
    }
    for (server, reason) in report.servers_not_run() {
        writeln!(page, "Not run: **{}**: {}.\n", escaped(&server.label()), escaped(reason))?;
    }
    writeln!(
        page,
        "`{}`, seed {}, started {}; {}, {}, {} CPUs, {}; harness {}, {} build.\n",
        environment.command,
        report.seed,
        environment.started_at,
        environment.kernel,
        environment.cpu_model,
        environment.cpus,
        report.plan,
        environment.version,
        environment.build,
    )?;
    failures(report, page)?;
    known(report, page)?;
    observations(report, page)?;
    matrix(report, page)?;
    measurements(report, page)
}

fn failures(report: &Report, page: &mut String) -> std::fmt::Result {
    for server in &report.servers {
        for result in server.cases.iter().filter(|result| !result.is_fine()) {
            let name = escaped(&server.name);
            writeln!(page, "- **{name} {}: {}**\\", result.name, result.label())?;
            writeln!(page, "  Required: {}\\", escaped(&result.requirement))?;
            writeln!(page, "  Expected: {}\\", escaped(&result.expected))?;
            writeln!(page, "  Observed: {}\\", escaped(&result.observed_with_causes()))?;
            writeln!(page, "  Reproduce: `{}`", result.reproduce)?;
        }
    }
    for problem in report.problems() {
        writeln!(page, "- **{}**", escaped(&problem))?;
    }
    if !report.is_fine() {
        writeln!(page)?;
    }
    Ok(())
}

fn known(report: &Report, page: &mut String) -> std::fmt::Result {
    let known = report.known_failures();
    if known.is_empty() {
        return Ok(());
    }
    writeln!(page, "Known failures:\n")?;
    for (server, result, known) in known {
        writeln!(
            page,
            "- {} {}: {}: {}",
            escaped(&server.name),
            result.name,
            result.label(),
            escaped(&known.text())
        )?;
    }
    writeln!(page)
}

/// Writes the results of the kind `info`: properties that were observed but are not declared.
fn observations(report: &Report, page: &mut String) -> std::fmt::Result {
    let is_observation = |result: &&CaseResult| result.verdict == Some(Verdict::Info);
    if !report.results().any(|result| is_observation(&result)) {
        return Ok(());
    }
    writeln!(page, "## Observed, not declared\n")?;
    for server in &report.servers {
        for result in server.cases.iter().filter(is_observation) {
            let (name, observed) = (escaped(&server.name), escaped(&result.observed));
            writeln!(page, "- {name} {}: {observed}", result.name)?;
        }
    }
    writeln!(page)
}

fn matrix(report: &Report, page: &mut String) -> std::fmt::Result {
    if report.results().next().is_none() {
        return Ok(());
    }
    writeln!(page, "## Verdicts\n")?;
    let legend: Vec<String> =
        Kind::ALL.iter().map(|kind| format!("{} {}", kind.symbol(), kind.name())).collect();
    writeln!(page, "{}.\n", legend.join(", "))?;
    write!(page, "| case |")?;
    let servers = report.servers_run();
    for server in &servers {
        write!(page, " {} |", escaped(&server.label()))?;
    }
    writeln!(page, "\n|---|{}", ":-:|".repeat(servers.len()))?;
    for (case, _) in report.case_names() {
        write!(page, "| {case} |")?;
        for server in &servers {
            let symbol = server.result(case).map_or("", |result| result.kind().symbol());
            write!(page, " {symbol} |")?;
        }
        writeln!(page)?;
    }
    writeln!(page)
}

fn measurements(report: &Report, page: &mut String) -> std::fmt::Result {
    if report.workloads().is_empty() {
        return Ok(());
    }
    writeln!(page, "## Measurements\n")?;
    writeln!(
        page,
        "Server and generator share this machine, and each figure is from one run. Repeat the run \
         before you rely on a difference.\n"
    )?;
    writeln!(
        page,
        "| workload | server | requests/s | p50 | p90 | p99 | p99.9 | max | generator CPU/request | server CPU/request | validity |"
    )?;
    writeln!(page, "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|")?;
    for workload in report.workloads() {
        for server in &report.servers {
            let Some(measured) = server.measurement(workload) else { continue };
            let latency = measured.latency_intended_ns;
            writeln!(
                page,
                "| {workload} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                escaped(&server.label()),
                rate(measured.throughput_per_s),
                time_or_dash(latency.p50),
                time_or_dash(latency.p90),
                time_or_dash(latency.p99),
                time_or_dash(latency.p999),
                time_or_dash(latency.max),
                time_or_dash(measured.generator_cpu_ns_per_request),
                time_or_dash(measured.server_cpu_ns_per_request()),
                measured.validity.label.name(),
            )?;
        }
    }
    idle_connections(report, page)
}

fn idle_connections(report: &Report, page: &mut String) -> std::fmt::Result {
    let mut measured = report
        .servers
        .iter()
        .flat_map(|server| server.measurements.iter().map(move |it| (server, it)))
        .filter_map(|(server, it)| Some((server, it, it.idle_connections.as_ref()?)))
        .peekable();
    if measured.peek().is_none() {
        return Ok(());
    }
    writeln!(page, "\n| server | idle connections | memory/connection | connected in |")?;
    writeln!(page, "|---|--:|--:|--:|")?;
    for (server, measurement, idle) in measured {
        writeln!(
            page,
            "| {} | {} | {} B | {} |",
            escaped(&server.label()),
            count(measurement.clients as f64),
            count(idle.memory_per_connection_bytes as f64),
            time(idle.connected_in_ms * 1_000_000),
        )?;
    }
    Ok(())
}

/// Escapes text that may come from a server, so that it is not interpreted as Markdown or HTML.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        if "\\`*_[]<>|&#".contains(letter) {
            escaped.push('\\');
        }
        escaped.push(if letter.is_control() { ' ' } else { letter });
    }
    escaped
}
