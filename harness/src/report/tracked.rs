//! Figures that services for continuous benchmarking track from commit to commit.

use crate::results::{Measurement, Report};

/// A tracked figure of one measurement.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tracked {
    /// Server and workload: `select-echo/closed-64`.
    pub(super) benchmark: String,
    /// Quantity, as an identifier.
    pub(super) quantity: Quantity,
    /// The figure.
    pub(super) value: f64,
    /// 95 % confidence interval, if known.
    pub(super) interval: Option<(f64, f64)>,
    /// Validity of the measurement, and number of its runs.
    pub(super) note: String,
}

/// A tracked quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    /// Correct replies per second.
    Throughput,
    /// p99 of the latency, in nanoseconds.
    P99,
    /// Memory per idle connection, in bytes.
    Memory,
}

impl Quantity {
    pub(super) fn name(self) -> &'static str {
        match self {
            Quantity::Throughput => "throughput",
            Quantity::P99 => "latency_p99",
            Quantity::Memory => "memory_per_connection",
        }
    }

    pub(super) fn unit(self) -> &'static str {
        match self {
            Quantity::Throughput => "requests/s",
            Quantity::P99 => "ns",
            Quantity::Memory => "bytes",
        }
    }

    pub(super) fn is_bigger_better(self) -> bool {
        self == Quantity::Throughput
    }
}

/// Returns the tracked figures, or none for an incomplete run: a service would store the figures of
/// a part of the servers as those of the commit. Leaves out interrupted measurements, and those in
/// which the server failed.
pub(super) fn tracked(report: &Report) -> Vec<Tracked> {
    let mut tracked = Vec::new();
    for server in report.servers.iter().filter(|_| report.complete) {
        for measurement in &server.measurements {
            let is_usable = !measurement.partial && measurement.problem().is_none();
            if is_usable && measurement.has_answers() {
                let benchmark = format!("{}/{}", server.name, measurement.workload);
                tracked.extend(figures(&benchmark, measurement));
            }
        }
    }
    tracked
}

fn figures(benchmark: &str, measurement: &Measurement) -> Vec<Tracked> {
    let runs = measurement.runs.len();
    let note = format!("validity: {}, runs: {runs}", measurement.validity.label.name());
    let figure = |quantity, value, interval| Tracked {
        benchmark: benchmark.to_owned(),
        quantity,
        value,
        interval,
        note: note.clone(),
    };
    // Requests of this workload only keep the connections in use.
    if let Some(idle) = &measurement.idle_connections {
        return vec![figure(Quantity::Memory, idle.memory_per_connection_bytes as f64, None)];
    }
    let (throughput, interval) = match measurement.mean_over_runs(|run| Some(run.throughput_per_s))
    {
        Some((mean, Some(interval))) => (mean, Some((interval.low, interval.high))),
        _ => (measurement.throughput_per_s, None),
    };
    let p99 = measurement.latency_intended_ns.p99.map(|p99| {
        let interval = measurement.p99_interval_ns.as_ref();
        figure(Quantity::P99, p99 as f64, interval.map(|it| (it.low as f64, it.high as f64)))
    });
    let throughput = figure(Quantity::Throughput, throughput, interval);
    [Some(throughput), p99].into_iter().flatten().collect()
}
