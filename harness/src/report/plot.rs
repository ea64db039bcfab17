//! Plots as SVG, to be put into a page: no script, no file of their own.

use maud::{Markup, html};

use super::{Report, time};
use crate::stats::Quantiles;

const WIDTH: f64 = 900.0;
const LABELS: f64 = 240.0;
const ROW: f64 = 22.0;
const TOP: f64 = 26.0;

/// Latency under one workload: a row for each server, from the median to the largest, on an axis
/// of powers of ten, so that a tail is seen beside the median.
pub(super) fn latency(report: &Report, workload: &str) -> Markup {
    let rows: Vec<(String, Quantiles)> = report
        .servers
        .iter()
        .filter_map(|server| {
            let measured = server.measurement(workload)?;
            (measured.latency_intended_ns.count > 0)
                .then(|| (server.label(), measured.latency_sent_ns))
        })
        .collect();
    let axis = Axis::around(rows.iter().map(|(_, quantiles)| quantiles));
    let height = TOP + ROW * rows.len() as f64 + 8.0;
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (height) } role="img"
            aria-label={ "Latency under " (workload) } {
            @for power in axis.least..=axis.most {
                @let x = axis.place(10f64.powi(power));
                line class="grid" x1=(x) x2=(x) y1=(TOP - 6.0) y2=(height - 6.0) {}
                text class="axis" x=(x) y=(TOP - 10.0) { (time(10u64.pow(power as u32))) }
            }
            @for (index, (label, quantiles)) in rows.iter().enumerate() {
                @let y = TOP + ROW * (index as f64 + 0.5);
                text class="label" x=(LABELS - 10.0) y=(y + 4.0) { (label) }
                line class="tail" x1=(axis.at(quantiles.p50)) x2=(axis.at(quantiles.max)) y1=(y) y2=(y) {}
                line class="body" x1=(axis.at(quantiles.p50)) x2=(axis.at(quantiles.p99)) y1=(y) y2=(y) {}
                @for (name, value) in marks(quantiles) {
                    circle class=(name) cx=(axis.at(value)) cy=(y) r="4" {
                        title { (label) ": " (name) " " (time(value)) }
                    }
                }
            }
        }
    }
}

fn marks(quantiles: &Quantiles) -> [(&'static str, u64); 5] {
    [
        ("p50", quantiles.p50),
        ("p90", quantiles.p90),
        ("p99", quantiles.p99),
        ("p99.9", quantiles.p999),
        ("max", quantiles.max),
    ]
}

/// An axis from one power of ten to another, of nanoseconds.
struct Axis {
    least: i32,
    most: i32,
}

impl Axis {
    fn around<'q>(quantiles: impl Iterator<Item = &'q Quantiles> + Clone) -> Axis {
        let power = |ns: u64| (ns.max(1) as f64).log10();
        let least =
            quantiles.clone().map(|quantiles| power(quantiles.p50)).fold(f64::MAX, f64::min);
        let most = quantiles.map(|quantiles| power(quantiles.max)).fold(1.0, f64::max);
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
