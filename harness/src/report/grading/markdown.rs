//! `grading.md`: the grading reports of external servers, and their overview table.

use std::fmt::Write;

use super::model::{Fault, Grading, Group, Row};
use crate::figures::round_trip;
use crate::report::exporter::{Document, Exporter};
use crate::report::markup::{code, escaped};
use crate::results::Report;

pub(in crate::report) const EXPORTER: Exporter = Exporter {
    file_name: "grading.md",
    summary: "grading report of external servers for their authors: faults, and what works; overview table",
    render: |Document { report, .. }| {
        let mut page = String::new();
        let has_external = !report.external().is_empty();
        has_external.then(|| write(report, &mut page).expect("writing to a String cannot fail"))?;
        Some(page)
    },
};

fn write(report: &Report, page: &mut String) -> std::fmt::Result {
    let servers = report.external();
    let several = servers.len() > 1;
    if several {
        writeln!(page, "# Overview\n")?;
    }
    if !report.complete {
        writeln!(
            page,
            "**The run is incomplete: the report has only the results from before it stopped.**\n"
        )?;
    }
    if several {
        let rows: Vec<Row> = servers.iter().map(|server| Row::of(server)).collect();
        overview(&rows, page)?;
    }
    servers.iter().try_for_each(|server| grading_section(&Grading::of(server), page))
}

fn overview(rows: &[Row], page: &mut String) -> std::fmt::Result {
    writeln!(
        page,
        "| server | passed | warn | failed | inconclusive | worst fault | duration | concurrency model |"
    )?;
    writeln!(page, "|---|--:|--:|--:|--:|---|--:|---|")?;
    for row in rows {
        writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            escaped(&row.name),
            row.passed,
            row.warn,
            row.failed_text(),
            row.inconclusive,
            escaped(&row.worst_fault),
            row.duration_text(),
            escaped(row.model_name()),
        )?;
    }
    writeln!(page)
}

fn grading_section(grading: &Grading, page: &mut String) -> std::fmt::Result {
    writeln!(page, "# Grading report: {}\n", escaped(&grading.name))?;
    if grading.command != grading.name {
        writeln!(page, "- command: {}", code(&grading.command))?;
    }
    writeln!(page, "- declares: {}", escaped(&grading.contract))?;
    if let Some(model) = grading.concurrency_model {
        writeln!(page, "- concurrency model: {}", escaped(model.name()))?;
    }
    if let Some(us) = grading.round_trip_us {
        writeln!(page, "- round-trip time: {}", round_trip(us))?;
    }
    if let Some(reason) = &grading.not_run {
        return writeln!(page, "- **not run**: {}\n", escaped(reason));
    }
    writeln!(page, "- verdicts: {}\n", escaped(&grading.tally))?;
    writeln!(page, "## Faults, most severe first\n")?;
    if grading.faults.is_empty() {
        writeln!(page, "{}\n", grading.no_fault_text())?;
    }
    for (number, it) in grading.faults.iter().enumerate() {
        fault(number + 1, it, page)?;
    }
    if !grading.topics.is_empty() {
        writeln!(
            page,
            "## What works, with the number of cases that passed, strictly or with a warning\n\n\
             | topic | passed cases |\n|---|--:|"
        )?;
        for topic in &grading.topics {
            let (passed, conclusive) = (topic.passed, topic.conclusive);
            writeln!(page, "| {} | {passed} of {conclusive} |", escaped(&topic.topic))?;
        }
        writeln!(page)?;
    }
    if !grading.notes.is_empty() {
        writeln!(page, "## Notes\n")?;
        for note in &grading.notes {
            writeln!(page, "- {}: {}", note.case, escaped(&note.text))?;
        }
        writeln!(page)?;
    }
    groups("Inconclusive", &grading.inconclusive, page)?;
    groups("Not applicable", &grading.not_applicable, page)
}

fn fault(number: usize, fault: &Fault, page: &mut String) -> std::fmt::Result {
    writeln!(page, "### {number}. {}\n", escaped(&fault.title))?;
    writeln!(page, "- severity: {}", fault.severity.label())?;
    for line in &fault.evidence {
        writeln!(page, "- {}: {}", line.label, code(&line.text))?;
    }
    writeln!(page, "- likely cause: {}", escaped(&fault.cause))?;
    writeln!(page, "- reproduce: {}", code(&fault.reproduce))?;
    writeln!(page, "- failed cases: {}\n", fault.cases.join(", "))
}

fn groups(title: &str, groups: &[Group], page: &mut String) -> std::fmt::Result {
    if groups.is_empty() {
        return Ok(());
    }
    let cases: usize = groups.iter().map(|group| group.cases.len()).sum();
    writeln!(page, "## {title} ({cases})\n")?;
    for group in groups {
        let names = group.cases.join(", ");
        writeln!(page, "- {} ({}): {names}", escaped(&group.reason), group.cases.len())?;
    }
    writeln!(page)
}
