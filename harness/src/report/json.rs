//! `report.json`: the complete report, for programs.

use super::document::Report;
use super::exporter::Exporter;

pub(super) const EXPORTER: Exporter = Exporter {
    file_name: "report.json",
    summary: "everything, for programs; `format` is raised when a reader would have to change",
    render: |report| Some(render(report)),
};

fn render(report: &Report) -> String {
    let mut text = serde_json::to_string_pretty(report).expect("a report has only plain data");
    text.push('\n');
    text
}
