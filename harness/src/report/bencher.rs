//! `bencher.json`: figures in the Bencher Metric Format.

use std::collections::BTreeMap;

use serde::Serialize;

use super::exporter::Exporter;
use super::tracked::tracked;
use crate::results::Report;

pub(super) const EXPORTER: Exporter = Exporter {
    file_name: "bencher.json",
    summary: "throughput, p99 and memory in the Bencher Metric Format (adapter json)",
    render: |document| render(document.report),
};

/// A figure, with its 95 % confidence interval if known.
#[derive(Serialize)]
struct Metric {
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    lower_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upper_value: Option<f64>,
}

fn render(report: &Report) -> Option<String> {
    let mut benchmarks: BTreeMap<String, BTreeMap<&str, Metric>> = BTreeMap::new();
    for figure in tracked(report) {
        let (lower_value, upper_value) = figure.interval.unzip();
        let metric = Metric { value: figure.value, lower_value, upper_value };
        benchmarks.entry(figure.benchmark).or_default().insert(figure.quantity.name(), metric);
    }
    if benchmarks.is_empty() {
        return None;
    }
    let text = serde_json::to_string_pretty(&benchmarks).expect("metrics can be serialized");
    Some(text + "\n")
}
