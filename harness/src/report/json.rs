//! `report.json`: the complete report for programs.

use super::exporter::Exporter;
use crate::results::Report;

pub(super) const EXPORTER: Exporter = Exporter {
    file_name: "report.json",
    summary: "the complete report for programs; reports/report.schema.json describes it",
    render: |document| Some(render(document.report)),
};

/// Renders the report in one line, without the evidence of results that need no attention: with
/// both, the report of all servers would be five times as large.
fn render(report: &Report) -> String {
    let report = report.clone().without_evidence_of_success();
    let mut text = serde_json::to_string(&report).expect("a report can always be serialized");
    text.push('\n');
    text
}
