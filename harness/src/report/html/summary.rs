//! The summary: answers to common questions, and a row of key figures for each server.

use maud::{Markup, html};

use super::address::server_link;
use crate::figures::{count, counted, significant};
use crate::report::key_figures::{
    Better, COLUMNS, Cell, Column, Figure, KeyFigures, Recommendation, Row, recommendations,
};
use crate::results::{Kind, Measurement, OverloadOutcome};

/// Maximum number of tied leaders that a recommendation names.
const MAX_LEADERS: usize = 6;

pub(super) fn section(figures: &KeyFigures<'_>) -> Markup {
    let recommendations = recommendations(figures);
    html! {
        section id="summary" {
            @if !recommendations.is_empty() {
                h2 { "Answers" }
                p.legend { "From the figures below, with 95 % confidence intervals. Tied: no other server is better by its whole interval. Servers with failures do not compete for a figure; neither do figures that have a caveat in most runs, or no interval." }
                ul.answers {
                    @for it in &recommendations { (answer(it)) }
                    (full(figures))
                    (over_connections(figures))
                }
            }
            h2 { "Summary" }
            p.legend {
                "One row per server. The small numbers are the ranks that a figure may have: with " b { "1–8" } ", no server is certainly better, and seven may be. "
                "The bar is the interval on the scale of its column, the dot the value. "
                b { "*" } ": the figure has a caveat, shown on hover and in the measurements of the server. Figures that have a caveat in most runs, no interval, or fewer connections have no rank."
            }
            div.scroll role="region" aria-label="Summary table" tabindex="0" { (table(figures)) }
        }
    }
}

fn answer(it: &Recommendation) -> Markup {
    let more = it.leaders.len().saturating_sub(MAX_LEADERS);
    html! {
        li id={ "answer-" (it.id) } {
            "For " b { (it.need) } ": "
            @for (index, name) in it.leaders.iter().take(MAX_LEADERS).enumerate() {
                @if index > 0 { ", " }
                a href=(server_link(name)) { (name) }
            }
            @if more > 0 { " and " (more) " more" }
            @if it.is_tie { " (" (it.leaders.len()) " tied)" }
            @if !it.leaders.is_empty() { ", " } (it.because) ". "
            @if !it.gives_up.is_empty() { span.quiet { "The first gives up " (it.gives_up) ". " } }
            a href={ "#" (it.evidence) } { "Evidence" } "."
        }
    }
}

/// Says what happens when the servers are full.
fn full(figures: &KeyFigures<'_>) -> Markup {
    let counts: Vec<String> = OverloadOutcome::ALL
        .iter()
        .filter_map(|&outcome| {
            let number = figures.rows.iter().filter(|row| row.when_full() == Some(outcome)).count();
            (number > 0).then(|| format!("{} ({})", outcome.phrase(), counted(number, "server")))
        })
        .collect();
    html! {
        @if !counts.is_empty() {
            li id="answer-full" {
                b { "When a server is full" } ", a further client " (counts.join(", ")) ". "
                a href="#when-full" { "Servers and times" } "."
            }
        }
    }
}

/// Shows the throughput of the fastest server for each number of connections.
fn over_connections(figures: &KeyFigures<'_>) -> Markup {
    let column = Column::named("throughput");
    let ranked = figures.rows.iter().filter(|row| row.failures() == 0).filter_map(|row| {
        Some((row.server, row.figure(column).filter(|figure| figure.is_ranked)?.value))
    });
    let fastest = ranked.max_by(|(_, one), (_, other)| one.total_cmp(other));
    let closed = fastest.map(|(server, _)| {
        let is_closed = |it: &&Measurement| it.workload.starts_with("closed-");
        let mut closed: Vec<&Measurement> = server.measurements.iter().filter(is_closed).collect();
        closed.sort_by_key(|it| it.clients);
        (server, closed)
    });
    html! {
        @if let Some((server, closed)) = closed.filter(|(_, closed)| closed.len() > 1) {
            li id="answer-connections" {
                b { "Throughput over connections" } " of " a href=(server_link(&server.name)) { (server.name) } ", the fastest at 64: "
                @for (index, measurement) in closed.iter().enumerate() {
                    @if index > 0 { "; " }
                    (count(measurement.clients as f64)) ": " (interval(measurement))
                }
                " thousand requests/s. "
                a href="#chart/throughput" { "Curves of all servers" } "."
            }
        }
    }
}

/// Formats the throughput with its interval, in thousand requests/s.
fn interval(measurement: &Measurement) -> String {
    let figure = Figure::throughput(measurement).map(|it| it.in_unit(1e3));
    figure.map_or_else(|| "-".to_owned(), |figure| figure.with_interval())
}

fn table(figures: &KeyFigures<'_>) -> Markup {
    // A report without measurements has no columns for them.
    let has_figures = COLUMNS.iter().any(|column| figures.has(column));
    let columns = if has_figures { COLUMNS } else { &[] };
    html! {
        table.summary id="summary-table" {
            thead {
                tr {
                    th scope="col" data-sort="text" { "server" }
                    th scope="col" data-sort="number" { "cases passed, ✗ failed, ? inconclusive" }
                    @for column in columns {
                        th scope="col" data-sort=(order(column)) data-id=(column.id) {
                            (column.title) @if !column.unit.is_empty() { ", " (column.unit) }
                            @if !figures.has(column) { br; small { "no figure in this plan; " code { "--plan reference" } " has it" } }
                        }
                    }
                    th scope="col" data-sort="text" data-id="full" { "when full" }
                }
            }
            tbody {
                @let scales: Vec<ColumnScale> = columns.iter().map(|it| ColumnScale::of(figures, it)).collect();
                @for (index, row) in figures.rows.iter().enumerate() {
                    @let is_new = index > 0 && figures.rows[index - 1].server.family != row.server.family;
                    tr class=[is_new.then_some("rule")] data-server=(row.server.name) { (cells(row, &scales)) }
                }
            }
        }
    }
}

fn order(column: &Column) -> &'static str {
    match column.better {
        Better::Higher => "number-down",
        Better::Lower => "number",
    }
}

fn cells(row: &Row<'_>, scales: &[ColumnScale]) -> Markup {
    let passed = row.tally.get(Kind::Pass) + row.tally.get(Kind::Warn);
    let failures = row.tally.get(Kind::Fail) + row.tally.get(Kind::Stale);
    let inconclusive = row.tally.get(Kind::Inconclusive);
    html! {
        th scope="row" { a href=(server_link(&row.server.name)) { (row.server.label()) } }
        td data-v=(failures * 1_000 + inconclusive) {
            (passed)
            @if failures > 0 { " " span.bad { "✗ " (failures) } }
            @if inconclusive > 0 { " " span.bad { "? " (inconclusive) } }
        }
        @for ((column, cell), (rank, scale)) in COLUMNS.iter().zip(&row.cells).zip(row.ranks.iter().zip(scales)) {
            @match cell {
                Cell::Figure(figure) => td data-v=(figure.value) data-low=[figure.interval.filter(|_| figure.is_ranked).map(|it| it.low)] data-high=[figure.interval.filter(|_| figure.is_ranked).map(|it| it.high)] title=[figure.caveat.as_ref()] {
                    (column.text(figure)) @if figure.caveat.is_some() { "*" }
                    @if let Some(rank) = rank { " " small { (rank) } }
                    @if let Some(style) = scale.style(figure) { i.interval role="img" style=(style) aria-label=(range(figure)) title=(range(figure)) {} }
                },
                Cell::Missing(missing) => td.why title=(missing.reason) {
                    (missing.short)
                },
            }
        }
        td.when { @if let Some(outcome) = row.when_full() { (glyph(outcome)) " " (outcome.name()) } @else { span.why { "not declared" } } }
    }
}

/// Returns a character that tells the outcomes apart without colour.
pub(super) fn glyph(outcome: OverloadOutcome) -> &'static str {
    match outcome {
        OverloadOutcome::Waits => "◔",
        OverloadOutcome::Refused => "⊘",
        OverloadOutcome::Reset => "↯",
        OverloadOutcome::Busy => "▣",
        OverloadOutcome::Message => "▢",
        OverloadOutcome::Closed => "╳",
        OverloadOutcome::TimesOut => "◷",
        OverloadOutcome::Served => "○",
        OverloadOutcome::Other => "?",
    }
}

/// Describes the interval of a figure, for readers who do not see its bar.
fn range(figure: &Figure) -> String {
    match figure.interval {
        Some(it) => format!("{} to {}", significant(it.low), significant(it.high)),
        None => "no interval".to_owned(),
    }
}

/// Logarithmic scale of the intervals in a column.
struct ColumnScale {
    low: f64,
    high: f64,
}

impl ColumnScale {
    fn of(figures: &KeyFigures<'_>, column: &Column) -> ColumnScale {
        let ranges = figures.rows.iter().filter_map(|row| row.figure(column)).map(Figure::range);
        let (low, high) = ranges.fold((f64::MAX, 0.0_f64), |(low, high), it| {
            (low.min(it.low.max(1e-9)), high.max(it.high))
        });
        ColumnScale { low, high }
    }

    /// Returns the position of the interval and of its value, for the style sheet. `None` if all
    /// values are equal.
    fn style(&self, figure: &Figure) -> Option<String> {
        let span = (self.high / self.low).ln();
        let at = |value: f64| 100.0 * ((value.max(1e-9) / self.low).ln() / span).clamp(0.0, 1.0);
        let range = figure.range();
        (span > 1e-9).then(|| {
            let [low, high, value] = [range.low, range.high, figure.value].map(at);
            format!("--a:{low:.1}%;--w:{:.1}%;--v:{value:.1}%", high - low)
        })
    }
}
