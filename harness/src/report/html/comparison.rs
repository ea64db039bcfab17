//! Comparison of two servers of the report.

use maud::{Markup, html};

use crate::results::Report;

pub(super) fn section(report: &Report) -> Markup {
    let measured = report.servers.iter().filter(|server| !server.measurements.is_empty()).count();
    html! {
        section id="comparison" {
            h2 { "Comparison" }
            p.legend {
                "Two servers of this report by their intervals: faster or slower if the intervals do not overlap, equal if the ratio is certainly within ±5 %, otherwise inconclusive. "
                "The ratio's interval is the widest that both intervals allow. For a difference of a few percent, run both servers interleaved: "
                code { "harness bench A --against B" } ". For two builds or two days, " code { "harness compare" } " reads several reports."
            }
            @if measured < 2 { p { "This run has measured fewer than two servers." } }
            @else { div.compare {} }
        }
    }
}
