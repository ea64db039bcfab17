//! `index.html`: the report for readers, in one file that needs no network.
//!
//! Tables, curves and the evidence of failures work without a script. The script of the page adds
//! sorting, filters, the reading of values, and the evidence of every other result.

mod address;
mod comparison;
mod curves;
mod evidence;
mod failures;
mod matrix;
mod method;
mod run;
mod servers;
mod static_evidence;
mod summary;
mod when_full;

pub(super) use address::result_link;

use failures::Failures;
use maud::{DOCTYPE, PreEscaped, html};

use super::chart::{self, Styles};
use super::exporter::{Document, Exporter};
use super::key_figures::KeyFigures;

pub(super) const EXPORTER: Exporter = Exporter {
    file_name: "index.html",
    summary: "the complete report for readers, with the evidence for each verdict; one file",
    render: |document| Some(render(document)),
};

/// Style of this page and of the grading report.
pub(super) const BASE_STYLE: &str = include_str!("base.css");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

fn render(document: Document<'_>) -> String {
    let Document { report, baseline } = document;
    let figures = KeyFigures::of(report);
    let styles = Styles::of(report);
    let failures = Failures::of(report);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // Without it, a browser asks the server of the page for an icon.
                link rel="icon" href="data:,";
                title { "Socket servers compared" }
                style { (PreEscaped(BASE_STYLE)) (PreEscaped(STYLE)) }
                style id="chart-style" { (PreEscaped(chart::STYLE)) }
                style id="series-style" { (PreEscaped(curves::toggles(&styles))) }
            }
            body {
                (run::header(report))
                main {
                    (summary::section(&figures))
                    (failures::section(report, &failures))
                    (when_full::section(report))
                    (curves::section(report, &styles))
                    (matrix::section(report, &failures, baseline))
                    (comparison::section(report, baseline))
                    (servers::section(report))
                    (method::section(report))
                }
                script type="application/octet-stream" id="evidence-data" { (evidence::encoded(report)) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string() + "\n"
}
