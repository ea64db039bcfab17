//! The tables of the summary.

use std::fmt::Write;

use super::super::bounded::{self, details};
use super::super::grading::topic_of;
use super::super::key_figures::{COLUMNS, Cell, Column, KeyFigures, Row};
use super::super::markup::{clipped, escaped};
use super::super::tally::Tally;
use crate::figures::{counted, rate, time_or_dash};
use crate::results::{CaseResult, Kind, Measurement, Report, ServerResult, ValidityLabel};

/// Maximum size of the table of key figures, in bytes.
const MAX_FIGURES: usize = 6_500;

/// The columns of the table of key figures.
const SHOWN: &[&str] = &["throughput", "p99", "p99-fixed-rate", "memory"];

/// Maximum size of the table of verdicts, in bytes.
const MAX_VERDICTS: usize = 5_000;

/// Maximum length of a server's name, in characters.
const MAX_NAME: usize = 40;

/// Space for the markup around a table, in bytes.
const MARGIN: usize = 200;

pub(super) fn key_figures(report: &Report, page: &mut String) -> std::fmt::Result {
    let figures = KeyFigures::of(report);
    let columns: Vec<&Column> = COLUMNS.iter().filter(|it| SHOWN.contains(&it.id)).collect();
    let row = |row: &Row<'_>| {
        let cells: String =
            columns.iter().map(|it| format!("{} | ", cell(it, row.cell(it)))).collect();
        let passed = match passed(&row.server.cases) {
            Some((passed, all)) => format!("{passed} of {all}"),
            None => "-".to_owned(),
        };
        format!("| {} | {passed} | {cells}{} |\n", name(row.server), row.when_full_text())
    };
    let is_run = |row: &&Row<'_>| row.server.not_run.is_none();
    let rows: Vec<String> = figures.rows.iter().filter(is_run).map(row).collect();
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(page, "## Key figures\n")?;
    let titles: String = columns.iter().map(|it| format!("{}, {} | ", it.title, it.unit)).collect();
    let head = format!(
        "| server | cases passed | {titles}when full |\n|---|--:|{}---|\n",
        "--:|".repeat(columns.len())
    );
    let rest = |count| {
        let empty = "| ".repeat(columns.len() + 2);
        format!("| … more in `index.html`: {} {empty}|\n", counted(count, "server"))
    };
    writeln!(page, "{head}{}", bounded::list(&rows, MAX_FIGURES, rest))?;
    let mut measurements = report.servers.iter().flat_map(|server| &server.measurements);
    let is_doubtful = measurements.any(|it| it.validity.label != ValidityLabel::Valid);
    if is_doubtful || rows.iter().any(|row| row.contains('†')) {
        writeln!(page, "† The figure has a caveat: `index.html` has the reason.\n")?;
    }
    if !report.workloads().is_empty() {
        writeln!(
            page,
            "`index.html` has the interval of each figure. Server and generator share this machine: \
             repeat the run before you rely on a difference.\n"
        )?;
    }
    Ok(())
}

/// Writes the table of all verdicts, or if it is too large, a table of the passed cases by topic.
pub(super) fn verdicts(report: &Report, page: &mut String) -> std::fmt::Result {
    if report.results().next().is_none() {
        return Ok(());
    }
    let servers = report.servers_run();
    let (head, rows) = by_case(report, &servers);
    if head.len() + rows.iter().map(String::len).sum::<usize>() <= MAX_VERDICTS {
        let legend: Vec<String> =
            Kind::ALL.iter().map(|kind| format!("{} {}", kind.symbol(), kind.name())).collect();
        let head = format!("{}.\n\n{head}", legend.join(", "));
        return details("Verdicts", &head, &rows, MAX_VERDICTS, "cases", page);
    }
    let (head, rows) = by_topic(report, &servers);
    let head = format!(
        "✓ all cases that apply passed, `-` no case applies. `index.html` has every verdict.\n\n{head}"
    );
    let max_size = MAX_VERDICTS.saturating_sub(head.len());
    details("Passed cases by topic", &head, &rows, max_size, "servers", page)
}

/// Returns the head and the rows of a table with a row for each case.
fn by_case(report: &Report, servers: &[&ServerResult]) -> (String, Vec<String>) {
    let names: Vec<String> = servers.iter().map(|server| name(server)).collect();
    let head = format!("| case | {} |\n|---|{}\n", names.join(" | "), ":-:|".repeat(servers.len()));
    let row = |case: &str| {
        let symbol = |server: &&ServerResult| {
            server.result(case).map_or("", |result| result.kind().symbol())
        };
        let symbols: Vec<&str> = servers.iter().map(symbol).collect();
        format!("| {} | {} |\n", escaped(&clipped(case, MAX_NAME)), symbols.join(" | "))
    };
    (head, report.case_names().iter().map(|(case, _)| row(case)).collect())
}

/// Returns the head and the rows of a table with a row for each server.
fn by_topic(report: &Report, servers: &[&ServerResult]) -> (String, Vec<String>) {
    let mut topics: Vec<&str> = Vec::new();
    for (case, _) in report.case_names() {
        if !topics.contains(&topic_of(case)) {
            topics.push(topic_of(case));
        }
    }
    let titles: Vec<String> = topics.iter().map(|it| escaped(&clipped(it, MAX_NAME))).collect();
    let head = format!("|server|{}|\n|---|{}\n", titles.join("|"), ":-:|".repeat(topics.len()));
    let row = |server: &&ServerResult| {
        let cell = |topic: &&str| {
            let of_topic = |result: &&CaseResult| topic_of(&result.name) == *topic;
            match passed(server.cases.iter().filter(of_topic)) {
                Some((passed, all)) if passed == all => "✓".to_owned(),
                Some((passed, all)) => format!("{passed}/{all}"),
                None => "-".to_owned(),
            }
        };
        let cells: Vec<String> = topics.iter().map(cell).collect();
        format!("|{}|{}|\n", name(server), cells.join("|"))
    };
    (head, servers.iter().map(row).collect())
}

/// Writes the throughput and the p99 of all workloads, as far as the page has space.
pub(super) fn measurements(
    report: &Report,
    page: &mut String,
    max_page_size: usize,
) -> std::fmt::Result {
    let throughput = |it: &Measurement| rate(it.throughput_per_s);
    let p99 = |it: &Measurement| time_or_dash(it.latency_intended_ns.p99);
    table("Requests/s of all workloads", report, throughput, page, max_page_size)?;
    table("p99 of all workloads", report, p99, page, max_page_size)
}

/// Writes a table with a row for each server and a column for each workload.
fn table(
    title: &str,
    report: &Report,
    figure: impl Fn(&Measurement) -> String,
    page: &mut String,
    max_page_size: usize,
) -> std::fmt::Result {
    let workloads = report.workloads();
    let titles: Vec<String> = workloads.iter().map(|it| escaped(&clipped(it, MAX_NAME))).collect();
    let head = format!("|server|{}|\n|---|{}\n", titles.join("|"), "--:|".repeat(titles.len()));
    let row = |server: &&ServerResult| {
        let cell = |workload: &&str| {
            let measurement = server.measurement(workload);
            measurement.map_or_else(|| "-".to_owned(), |it| marked(it, figure(it)))
        };
        let cells: Vec<String> = workloads.iter().map(cell).collect();
        format!("|{}|{}|\n", name(server), cells.join("|"))
    };
    let measured = report.servers.iter().filter(|server| !server.measurements.is_empty());
    let rows: Vec<String> = measured.map(|server| row(&server)).collect();
    let space = max_page_size.saturating_sub(page.len() + head.len() + MARGIN);
    if space < MARGIN && !rows.is_empty() {
        return writeln!(page, "{title}: see `index.html`.\n");
    }
    details(title, &head, &rows, space, "servers", page)
}

/// Returns the name of a server for a cell.
fn name(server: &ServerResult) -> String {
    escaped(&clipped(&server.label(), MAX_NAME))
}

/// Formats a cell of the table of key figures.
fn cell(column: &Column, cell: &Cell) -> String {
    match cell {
        Cell::Figure(figure) => {
            let mark = if figure.caveat.is_some() { "†" } else { "" };
            column.text(figure) + mark
        }
        Cell::Missing(missing) => escaped(&clipped(&missing.short, MAX_NAME)),
    }
}

/// Marks a figure that is not valid.
fn marked(measurement: &Measurement, figure: String) -> String {
    let is_valid = measurement.validity.label == ValidityLabel::Valid || figure == "-";
    if is_valid { figure } else { figure + "†" }
}

/// Returns the number of passed cases, and of the cases that apply and have a requirement. `None`
/// if there are none.
fn passed<'r>(cases: impl IntoIterator<Item = &'r CaseResult>) -> Option<(usize, usize)> {
    let tally = Tally::of(cases);
    let is_counted = |kind: &&Kind| !matches!(kind, Kind::NotApplicable | Kind::Info);
    let all: usize = Kind::ALL.iter().filter(is_counted).map(|&kind| tally.get(kind)).sum();
    (all > 0).then(|| (tally.get(Kind::Pass) + tally.get(Kind::Warn), all))
}
