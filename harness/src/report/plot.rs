//! SVG plots for inclusion in an HTML page, without scripts or separate files.

use maud::{Markup, html};

use super::document::Report;
use crate::figures::time;
use crate::stats::Quantiles;

const WIDTH: f64 = 900.0;
const LABELS: f64 = 240.0;
const ROW: f64 = 22.0;
const TOP: f64 = 26.0;

/// Plots the latency of all servers under one workload, measured from the scheduled send time.
///
/// Each server has a row with quantiles from the median to the maximum. The axis is logarithmic, so
/// that median and tail are both visible. Quantiles without enough samples have no dot.
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
    let height = TOP + ROW * rows.len() as f64 + 8.0;
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (height) } role="img"
            aria-label={ "Latency under " (workload) } {
            @for power in axis.least..=axis.most {
                @let x = axis.place(10f64.powi(power));
                line class="grid" x1=(x) x2=(x) y1=(TOP - 6.0) y2=(height - 6.0) {}
                text class="axis" x=(x) y=(TOP - 10.0) { (time(10u64.pow(power as u32))) }
            }
            @for (index, (label, marks)) in rows.iter().enumerate() {
                @let y = TOP + ROW * (index as f64 + 0.5);
                @let first = marks[0].1;
                text class="label" x=(LABELS - 10.0) y=(y + 4.0) { (label) }
                line class="tail" x1=(axis.at(first)) x2=(axis.at(marks[marks.len() - 1].1)) y1=(y) y2=(y) {}
                @if let Some((_, p99)) = marks.iter().find(|mark| mark.0 == "p99") {
                    line class="body" x1=(axis.at(first)) x2=(axis.at(*p99)) y1=(y) y2=(y) {}
                }
                @for &(name, value) in marks {
                    circle class=(name) cx=(axis.at(value)) cy=(y) r="4" {
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
    least: i32,
    most: i32,
}

impl Axis {
    fn around(times: impl Iterator<Item = u64> + Clone) -> Axis {
        let power = |ns: u64| (ns.max(1) as f64).log10();
        let least = times.clone().map(power).fold(f64::MAX, f64::min);
        let most = times.map(power).fold(1.0, f64::max);
        Axis { least: least.min(most).floor() as i32, most: most.ceil() as i32 }
    }

    fn at(&self, ns: u64) -> String {
        format!("{:.1}", self.place(ns.max(1) as f64))
    }

    fn place(&self, ns: f64) -> f64 {
        let span = f64::from((self.most - self.least).max(1));
        LABELS + (ns.log10() - f64::from(self.least)) / span * (WIDTH - LABELS - 40.0)
    }
}
