//! `summary.md`: a summary of the report for code hosts and CI pages.

use std::fmt::Write;

use super::document::Report;
use super::exporter::Exporter;
use super::tally::Tally;
use crate::conformance::{CaseResult, Kind, Verdict};
use crate::figures::{count, rate, time, time_or_dash};

pub(super) const EXPORTER: Exporter = Exporter {
    file_name: "summary.md",
    summary: "verdicts, failures and figures in short, as for the summary of a CI step",
    render: |report| Some(render(report)),
};

pub(super) fn render(report: &Report) -> String {
    let mut page = String::new();
    write(report, &mut page).expect("a string takes everything");
    page
}

fn write(report: &Report, page: &mut String) -> std::fmt::Result {
    let environment = &report.environment;
    writeln!(page, "# Socket servers compared\n")?;
    if !report.complete {
        writeln!(page, "**The run was not finished; this is what it had.**\n")?;
    }
    writeln!(page, "Verdicts: {}.\n", Tally::of(report.judgements()).words())?;
    for (server, words) in report.not_run() {
        writeln!(page, "Not run: **{}**: {}.\n", escaped(&server.label()), escaped(words))?;
    }
    writeln!(
        page,
        "`{}`, seed {}, began {}; {}, {}, {} processors, {}; harness {}, {} build.\n",
        environment.command,
        report.seed,
        environment.began,
        environment.kernel,
        environment.processor,
        environment.processors,
        report.plan,
        environment.version,
        environment.build,
    )?;
    failures(report, page)?;
    known(report, page)?;
    told(report, page)?;
    matrix(report, page)?;
    measurements(report, page)
}

fn failures(report: &Report, page: &mut String) -> std::fmt::Result {
    for server in &report.servers {
        for judgement in server.cases.iter().filter(|judgement| !judgement.is_fine()) {
            let name = escaped(&server.name);
            writeln!(page, "- **{name} {}: {}**\\", judgement.name, judgement.words())?;
            writeln!(page, "  Required: {}\\", escaped(judgement.requirement))?;
            writeln!(page, "  Expected: {}\\", escaped(&judgement.expected))?;
            writeln!(page, "  Observed: {}\\", escaped(&judgement.observed))?;
            writeln!(page, "  Again: `{}`", judgement.replay)?;
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
    let known = report.known();
    if known.is_empty() {
        return Ok(());
    }
    writeln!(page, "Known failures:\n")?;
    for (server, judgement, known) in known {
        writeln!(
            page,
            "- {} {}: {}: {}",
            escaped(&server.name),
            judgement.name,
            judgement.words(),
            escaped(&known.words())
        )?;
    }
    writeln!(page)
}

/// Writes observations of cases that required nothing.
fn told(report: &Report, page: &mut String) -> std::fmt::Result {
    let told = |judgement: &&CaseResult| judgement.verdict == Some(Verdict::Info);
    if !report.judgements().any(|judgement| told(&judgement)) {
        return Ok(());
    }
    writeln!(page, "## Observed, not declared\n")?;
    for server in &report.servers {
        for judgement in server.cases.iter().filter(told) {
            let (name, observed) = (escaped(&server.name), escaped(&judgement.observed));
            writeln!(page, "- {name} {}: {observed}", judgement.name)?;
        }
    }
    writeln!(page)
}

fn matrix(report: &Report, page: &mut String) -> std::fmt::Result {
    if report.judgements().next().is_none() {
        return Ok(());
    }
    writeln!(page, "## Verdicts\n")?;
    let legend: Vec<String> =
        Kind::ALL.iter().map(|kind| format!("{} {}", kind.symbol(), kind.name())).collect();
    writeln!(page, "{}.\n", legend.join(", "))?;
    write!(page, "| case |")?;
    let servers = report.run();
    for server in &servers {
        write!(page, " {} |", escaped(&server.label()))?;
    }
    writeln!(page, "\n|---|{}", ":-:|".repeat(servers.len()))?;
    for (case, _) in report.case_names() {
        write!(page, "| {case} |")?;
        for server in &servers {
            let symbol = server.judgement(case).map_or("", |one| one.kind().symbol());
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
        "Server and generator share this machine, and each figure is of one run: repeat the run \
         before believing a difference.\n"
    )?;
    writeln!(
        page,
        "| workload | server | requests/s | p50 | p90 | p99 | p99.9 | max | generator CPU/request | server CPU/request | verdict |"
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
                measured.validity.verdict.name(),
            )?;
        }
    }
    held(report, page)
}

fn held(report: &Report, page: &mut String) -> std::fmt::Result {
    let mut measured = report
        .servers
        .iter()
        .flat_map(|server| server.measurements.iter().map(move |one| (server, one)))
        .filter_map(|(server, one)| Some((server, one, one.held?)))
        .peekable();
    if measured.peek().is_none() {
        return Ok(());
    }
    writeln!(page, "\n| server | connections held | memory/connection | connected in |")?;
    writeln!(page, "|---|--:|--:|--:|")?;
    for (server, one, held) in measured {
        writeln!(
            page,
            "| {} | {} | {} B | {} |",
            escaped(&server.label()),
            count(one.clients as f64),
            count(held.memory_per_connection_bytes as f64),
            time(held.connected_in_ms * 1_000_000),
        )?;
    }
    Ok(())
}

/// Escapes text from a server, so that it cannot be interpreted as Markdown or HTML.
pub(super) fn escaped(words: &str) -> String {
    let mut escaped = String::new();
    for letter in words.chars() {
        if "\\`*_[]<>|&#".contains(letter) {
            escaped.push('\\');
        }
        escaped.push(if letter.is_control() { ' ' } else { letter });
    }
    escaped
}
