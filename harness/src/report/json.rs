//! `report.json`: the complete report for programs.

use super::exporter::Exporter;
use crate::results::Report;

pub(super) const EXPORTER: Exporter = Exporter {
    file_name: "report.json",
    summary: "the complete report for programs; docs/report.schema.json describes it",
    render: |report| Some(render(report)),
};

fn render(report: &Report) -> String {
    let mut text = serde_json::to_string_pretty(report).expect("a report can always be serialized");
    text.push('\n');
    text
}
