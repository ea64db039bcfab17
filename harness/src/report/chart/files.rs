//! `charts/CHART.svg`: the charts of the page as files.

use super::style::Styles;
use super::{charts, svg};
use crate::report::folder::{Folder, FolderFile};
use crate::results::Report;

pub(in crate::report) const FOLDER: Folder = Folder {
    name: "charts",
    pattern: "CHART.svg",
    extension: "svg",
    summary: "the curves of the page, for documents",
    files: |report, _| files(report),
};

fn files(report: &Report) -> Vec<FolderFile> {
    let styles = Styles::of(report);
    let file = |chart: &super::Chart| FolderFile {
        name: format!("{}.svg", chart.id),
        // A chart shows all servers.
        server: String::new(),
        subject: chart.question.to_owned(),
        content: Some(svg::file(chart, &styles)),
    };
    charts::charts(report, &styles).iter().map(file).collect()
}
