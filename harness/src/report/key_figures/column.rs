//! The columns of the summary table.

use super::figure::{Cell, Figure};
use crate::figures::{count, counted, significant};
use crate::results::{Measurement, Outcome, RunFigures, ServerResult, TimeSeries};
use crate::stats::{Interval, geometric_mean, mean_interval};

/// A column of the summary table.
#[derive(Debug)]
pub struct Column {
    /// Stable name, for addresses and files.
    pub id: &'static str,
    /// Title, without the unit.
    pub title: &'static str,
    /// Unit of the values.
    pub unit: &'static str,
    /// The workload that the figure is measured with.
    pub workload: &'static str,
    /// Number of connections of the workload. A server that serves fewer is measured with fewer,
    /// and its figure is not comparable.
    pub connections: Option<usize>,
    /// Which values are better.
    pub better: Better,
    /// Returns the figure of a measurement in the unit of the column.
    of: fn(&Measurement) -> Option<Figure>,
}

/// Which values of a column are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Higher values.
    Higher,
    /// Lower values.
    Lower,
}

/// Nanoseconds in a microsecond.
const MICROSECOND: f64 = 1e3;

/// The columns, in the order of the table.
pub const COLUMNS: &[Column] = &[
    Column {
        id: "throughput",
        title: "throughput, 64 connections",
        unit: "thousand/s",
        workload: "closed-64",
        connections: Some(64),
        better: Better::Higher,
        of: |it| Figure::throughput(it).map(|figure| figure.in_unit(1e3)),
    },
    Column {
        id: "p99",
        title: "p99, 64 connections",
        unit: "µs",
        workload: "closed-64",
        connections: Some(64),
        better: Better::Lower,
        of: |it| p99(it).map(|figure| figure.in_unit(MICROSECOND)),
    },
    Column {
        id: "p99-fixed-rate",
        title: "p99 at 5,000 requests/s",
        unit: "µs",
        workload: "open-constant",
        connections: Some(16),
        better: Better::Lower,
        of: |it| p99(it).map(|figure| figure.in_unit(MICROSECOND)),
    },
    Column {
        id: "highest-rate",
        title: "highest rate with p99 up to 10 ms",
        unit: "thousand/s",
        workload: "saturation",
        connections: Some(16),
        better: Better::Higher,
        of: |it| Figure::throughput(it).map(|figure| figure.in_unit(1e3)),
    },
    Column {
        id: "memory",
        title: "memory per idle connection",
        unit: "KiB",
        workload: "idle-memory",
        connections: None,
        better: Better::Lower,
        of: |it| memory(it).map(|figure| figure.in_unit(1024.0)),
    },
    Column {
        id: "cpu",
        title: "CPU per request, 64 connections",
        unit: "µs",
        workload: "closed-64",
        connections: Some(64),
        better: Better::Lower,
        of: |it| cpu(it).map(|figure| figure.in_unit(MICROSECOND)),
    },
    Column {
        id: "held",
        title: "connections held",
        unit: "",
        workload: "idle-memory",
        connections: None,
        better: Better::Higher,
        of: |it| {
            let runs = it.runs.len().max(1) as u64;
            Some(Figure::exact((it.connections.get(Outcome::Answered) / runs) as f64))
        },
    },
];

impl Column {
    /// Returns the column with this name.
    ///
    /// # Panics
    /// There is no such column.
    pub fn named(id: &str) -> &'static Column {
        COLUMNS.iter().find(|column| column.id == id).expect("the column is in the table")
    }

    /// Formats the value of a figure: with three significant digits, or as a count.
    pub fn text(&self, figure: &Figure) -> String {
        if self.unit.is_empty() { count(figure.value) } else { significant(figure.value) }
    }

    /// Returns the figure of a server, or the reason why it is missing.
    pub fn cell(&self, server: &ServerResult) -> Cell {
        if let Some(reason) = &server.not_run {
            return Cell::missing("not run", reason);
        }
        let Some(measurement) = server.measurement(self.workload) else {
            let ruled_out = server.not_measured.iter().find(|it| it.workload == self.workload);
            return match (ruled_out, &server.problem) {
                (Some(it), _) => Cell::missing(&it.short, &it.reason),
                (None, Some(problem)) => Cell::missing("failed", problem),
                (None, None) => Cell::missing(
                    "not measured",
                    format!("this run did not measure {}", self.workload),
                ),
            };
        };
        let clients = measurement.clients;
        match (self.of)(measurement) {
            Some(figure) if self.connections.is_some_and(|usual| usual != clients) => {
                let caveat = format!("measured with {}", counted(clients, "connection"));
                Cell::Figure(figure.not_comparable(caveat))
            }
            Some(figure) => Cell::Figure(figure),
            None if measurement.has_answers() => {
                Cell::missing("too few requests", "too few requests for this figure")
            }
            None => Cell::missing("no answer", "no request was answered"),
        }
    }
}

fn p99(measurement: &Measurement) -> Option<Figure> {
    let interval =
        measurement.p99_interval_ns.map(|it| Interval { low: it.low as f64, high: it.high as f64 });
    let alone = measurement.latency_intended_ns.p99.map(|ns| (ns as f64, interval));
    Figure::of_runs(measurement, |run| run.p99_ns.map(|ns| ns as f64), alone)
}

/// Returns the memory per connection in bytes. Within a run, the interval is that of the growth
/// between the samples taken while the connections were established.
fn memory(measurement: &Measurement) -> Option<Figure> {
    let idle = measurement.idle_connections.as_ref()?;
    let growth = idle.growth.windows(2).filter_map(|two| {
        let connections =
            two[1].connections.checked_sub(two[0].connections).filter(|it| *it > 0)?;
        let bytes = two[1].anonymous_bytes as f64 - two[0].anonymous_bytes as f64;
        Some(bytes / connections as f64)
    });
    let value = idle.memory_per_connection_bytes as f64;
    let within = mean_interval(&growth.collect::<Vec<f64>>())
        .map(|it| Interval { low: it.low.max(0.0), ..it });
    // The mean of logarithms needs a positive value.
    let of_run = |run: &RunFigures| run.memory_per_connection_bytes.map(|it| it.max(1) as f64);
    Figure::of_runs(measurement, of_run, Some((value, within)))
}

fn cpu(measurement: &Measurement) -> Option<Figure> {
    let values: Option<Vec<f64>> = measurement.time_series.as_ref().and_then(cpu_per_request_ns);
    let within = values.and_then(|values| geometric_mean(&values));
    let alone = measurement
        .server_cpu_ns_per_request()
        .map(|ns| (ns as f64, within.map(|(_, interval)| interval)));
    Figure::of_runs(measurement, |run| run.server_cpu_ns_per_request.map(|ns| ns as f64), alone)
}

/// Returns the server's CPU time per request in each interval, if it is known in all but the first.
fn cpu_per_request_ns(series: &TimeSeries) -> Option<Vec<f64>> {
    let both = series.server_cpu_share.iter().zip(&series.throughput_per_s).skip(1);
    both.map(|(share, throughput)| Some((*share)? / throughput * 1e9)).collect()
}
