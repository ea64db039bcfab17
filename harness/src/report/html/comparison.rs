//! Comparison with the baseline, and of two servers of the report.

use maud::{Markup, html};

use super::address::{result_link, server_link};
use crate::comparison::{
    ChangedVerdict, Effect, FigureComparison, FigureVerdict, ReportComparison,
};
use crate::figures::{count, significant};
use crate::results::Report;

/// Maximum number of rows of each table; the rest is counted.
const MAX_ROWS: usize = 300;

pub(super) fn section(report: &Report, baseline: Option<&ReportComparison>) -> Markup {
    let measured = report.servers.iter().filter(|server| !server.measurements.is_empty()).count();
    html! {
        section id="comparison" {
            h2 { "Comparison" }
            @if let Some(baseline) = baseline { (with_baseline(baseline)) }
            h3 { "Two servers of this report" }
            p.legend {
                "By their intervals: better or worse if the intervals do not overlap, equal if the ratio is certainly within ±5 %, otherwise inconclusive. "
                "The ratio's interval is the widest that both intervals allow. For a difference of a few percent, run both servers interleaved: "
                code { "harness bench A --against B" } ". For two builds or two days, " code { "harness compare" } " reads several reports."
            }
            @if measured < 2 { p { "This run has measured fewer than two servers." } }
            @else { div.compare {} }
        }
    }
}

fn with_baseline(it: &ReportComparison) -> Markup {
    let number = |verdict| it.figures.iter().filter(|figure| figure.verdict == verdict).count();
    let changed: Vec<&FigureComparison> =
        it.figures.iter().filter(|figure| figure.verdict.is_difference()).collect();
    html! {
        h3 id="baseline" { "This report and the baseline" }
        p.legend { "Baseline: " (it.old.started_at.join(", ")) @if !it.old.commits.is_empty() { ", commit " (it.old.commits.join(", ")) } }
        @for note in &it.notes { p.warning { (note) } }
        p { b { (count(it.same_verdicts as f64)) } " verdicts are the same, " b { (it.verdicts.len()) } " changed." }
        @if !it.verdicts.is_empty() {
            table.plain {
                thead { tr { th scope="col" { "result" } th scope="col" { "baseline" } th scope="col" { "now" } th scope="col" { "observed" } } }
                tbody { @for change in it.verdicts.iter().take(MAX_ROWS) { (verdict(change)) } }
            }
            (rest(it.verdicts.len()))
        }
        @if it.figures_compared {
            p {
                (count(it.figures.len() as f64)) " times and sizes compared: "
                @for verdict in [FigureVerdict::Slower, FigureVerdict::Faster, FigureVerdict::Larger, FigureVerdict::Smaller, FigureVerdict::Equal] {
                    (number(verdict)) " " (verdict.name()) ", "
                }
                (number(FigureVerdict::Inconclusive)) " inconclusive."
            }
            @if !changed.is_empty() {
                table.plain {
                    thead { tr { th scope="col" { "server" } th scope="col" { "workload" } th scope="col" { "figure" } th scope="col" { "ratio" } th scope="col" { "interval" } th scope="col" { "verdict" } } }
                    tbody { @for figure in changed.iter().take(MAX_ROWS) { (row(figure)) } }
                }
                (rest(changed.len()))
            }
        }
    }
}

fn verdict(change: &ChangedVerdict) -> Markup {
    html! {
        tr {
            th scope="row" { a href=(result_link(&change.server, &change.case)) { (change.server) " · " (change.case) } }
            td { (change.old) }
            td.bad[change.effect == Effect::Worse] { (change.new) }
            td { (change.observed) }
        }
    }
}

fn row(it: &FigureComparison) -> Markup {
    let is_bad = matches!(it.verdict, FigureVerdict::Slower | FigureVerdict::Larger);
    html! {
        tr {
            th scope="row" { a href=(server_link(&it.server)) { (it.server) } }
            td { (it.workload) }
            td { (it.figure.label()) }
            td { @if let Some(ratio) = &it.ratio { (significant(ratio.ratio)) } }
            td { @if let Some(ratio) = &it.ratio { (significant(ratio.low)) " to " (significant(ratio.high)) } }
            td.bad[is_bad] { (it.verdict.name()) }
        }
    }
}

fn rest(all: usize) -> Markup {
    html! { @if all > MAX_ROWS { p { (all - MAX_ROWS) " more: " code { "harness compare" } " lists all." } } }
}
