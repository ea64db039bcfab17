//! `benchmark-bigger.json` and `benchmark-smaller.json`: figures for github-action-benchmark, in
//! the formats `customBiggerIsBetter` and `customSmallerIsBetter`.

use serde::Serialize;

use super::exporter::Exporter;
use super::tracked::{Tracked, tracked};
use crate::figures::count;
use crate::results::Report;

pub(super) const BIGGER: Exporter = Exporter {
    file_name: "benchmark-bigger.json",
    summary: "throughput for github-action-benchmark (customBiggerIsBetter)",
    render: |document| render(document.report, true),
};

pub(super) const SMALLER: Exporter = Exporter {
    file_name: "benchmark-smaller.json",
    summary: "p99 and memory for github-action-benchmark (customSmallerIsBetter)",
    render: |document| render(document.report, false),
};

/// An entry of the file.
#[derive(Serialize)]
struct Entry {
    name: String,
    unit: &'static str,
    value: f64,
    /// Shown after the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<String>,
    /// Shown in the tooltip.
    extra: String,
}

fn render(report: &Report, is_bigger_better: bool) -> Option<String> {
    let is_wanted = |it: &Tracked| it.quantity.is_bigger_better() == is_bigger_better;
    let entries: Vec<Entry> = tracked(report).into_iter().filter(is_wanted).map(entry).collect();
    if entries.is_empty() {
        return None;
    }
    let text = serde_json::to_string_pretty(&entries).expect("entries can be serialized");
    Some(text + "\n")
}

fn entry(figure: Tracked) -> Entry {
    Entry {
        name: format!("{} {}", figure.benchmark, figure.quantity.name()),
        unit: figure.quantity.unit(),
        value: figure.value,
        range: figure.interval.map(|(low, high)| format!("{} to {}", count(low), count(high))),
        extra: figure.note,
    }
}
