//! SVG plots for inclusion in an HTML page, without scripts or separate files.

use maud::{Markup, html};

use crate::figures::time;
use crate::results::Report;
use crate::stats::Quantiles;

/// Sizes in SVG user units: the plot, the column of labels, a row, and the margin above the rows.
const WIDTH: f64 = 900.0;
const LABEL_WIDTH: f64 = 240.0;
const ROW_HEIGHT: f64 = 22.0;
const TOP_MARGIN: f64 = 26.0;

/// Plots the latency of all servers under one workload, measured from the scheduled time.
///
/// Each server has a row with the quantiles from the median to the maximum. The axis is
/// logarithmic, so that both the median and the tail are visible. A quantile without enough samples
/// has no dot.
pub(super) fn latency(report: &Report, workload: &str) -> Markup {
    let rows: Vec<(String, Vec<Mark>)> = report
        .servers
        .iter()
        .filter_map(|server| {
            let measured = server.measurement(workload)?;
            let marks = marks(&measured.latency_intended_ns);
            (!marks.is_empty()).then(|| (server.label(), marks))
        })
        .collect();
    let axis = Axis::around(rows.iter().flat_map(|(_, marks)| marks.iter().map(|mark| mark.1)));
    let height = TOP_MARGIN + ROW_HEIGHT * rows.len() as f64 + 8.0;
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (height) } role="img"
            aria-label={ "Latency under " (workload) } {
            @for power in axis.min_power..=axis.max_power {
                @let x = axis.x(10f64.powi(power));
                line class="grid" x1=(x) x2=(x) y1=(TOP_MARGIN - 6.0) y2=(height - 6.0) {}
                text class="axis" x=(x) y=(TOP_MARGIN - 10.0) { (time(10u64.pow(power as u32))) }
            }
            @for (index, (label, marks)) in rows.iter().enumerate() {
                @let y = TOP_MARGIN + ROW_HEIGHT * (index as f64 + 0.5);
                @let first = marks[0].1;
                text class="label" x=(LABEL_WIDTH - 10.0) y=(y + 4.0) { (label) }
                line class="tail" x1=(axis.format_x(first)) x2=(axis.format_x(marks[marks.len() - 1].1)) y1=(y) y2=(y) {}
                @if let Some((_, p99)) = marks.iter().find(|mark| mark.0 == "p99") {
                    line class="body" x1=(axis.format_x(first)) x2=(axis.format_x(*p99)) y1=(y) y2=(y) {}
                }
                @for &(name, value) in marks {
                    circle class=(name) cx=(axis.format_x(value)) cy=(y) r="4" {
                        title { (label) ": " (name) " " (time(value)) }
                    }
                }
            }
        }
    }
}

/// Name and value of a quantile, in nanoseconds.
type Mark = (&'static str, u64);

/// Returns the known quantiles, in ascending order.
fn marks(quantiles: &Quantiles) -> Vec<Mark> {
    let all = [
        ("p50", quantiles.p50),
        ("p90", quantiles.p90),
        ("p99", quantiles.p99),
        ("p99.9", quantiles.p999),
        ("max", quantiles.max),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// A logarithmic axis in nanoseconds, between two powers of ten.
struct Axis {
    min_power: i32,
    max_power: i32,
}

impl Axis {
    /// Returns the smallest axis that contains all times.
    fn around(times: impl Iterator<Item = u64> + Clone) -> Axis {
        let power = |ns: u64| (ns.max(1) as f64).log10();
        let min = times.clone().map(power).fold(f64::MAX, f64::min);
        let max = times.map(power).fold(1.0, f64::max);
        Axis { min_power: min.min(max).floor() as i32, max_power: max.ceil() as i32 }
    }

    /// Formats the x coordinate of a time.
    fn format_x(&self, ns: u64) -> String {
        format!("{:.1}", self.x(ns.max(1) as f64))
    }

    fn x(&self, ns: f64) -> f64 {
        let span = f64::from((self.max_power - self.min_power).max(1));
        let position = (ns.log10() - f64::from(self.min_power)) / span;
        LABEL_WIDTH + position * (WIDTH - LABEL_WIDTH - 40.0)
    }
}
