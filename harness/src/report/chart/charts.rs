//! The charts of a report.

use hdrhistogram::Histogram;

use super::style::Styles;
use super::{Axis, Chart, Point, Scale, Series};
use crate::figures::{count, significant, time};
use crate::results::{
    LatencyHistogram, Measurement, RateFigures, Report, RunFigures, ServerResult, ValidityLabel,
};

/// Number of values that must lie beyond a quantile.
const BEYOND: f64 = 10.0;

const CONNECTIONS: Axis =
    Axis { has_value_ticks: true, ..Axis::new("connections", Scale::Logarithmic, count) };
const THROUGHPUT: Axis = Axis::new("throughput, requests/s", Scale::Linear, thousands);
const LATENCY: Axis = Axis::new("latency", Scale::Logarithmic, |ns| time(ns.round() as u64));
const TIME: Axis = Axis::new("time in the run, ms", Scale::Linear, count);

/// Returns the charts of a report that have values.
pub fn charts(report: &Report, styles: &Styles) -> Vec<Chart> {
    let all = [
        Chart {
            id: "throughput",
            question: "How does throughput change with the number of connections?",
            explanation: "Closed loop with one request in flight on each connection. The bands are 95 % confidence intervals.",
            x: CONNECTIONS,
            y: THROUGHPUT,
            series: over_connections(report, styles, |run| Some(run.throughput_per_s)),
        },
        Chart {
            id: "p99",
            question: "How does the p99 latency change with the number of connections?",
            explanation: "The same runs. In a closed loop, a request is scheduled when it is sent.",
            x: CONNECTIONS,
            y: LATENCY,
            series: over_connections(report, styles, |run| run.p99_ns.map(|ns| ns as f64)),
        },
        Chart {
            id: "rate",
            question: "How does the p99 latency change with the offered rate?",
            explanation: "Open loop with Poisson arrivals over 16 connections. The ring marks the highest rate with a p99 of at most 10 ms. Hollow points: the generator or the machine limited the run.",
            x: Axis::new("offered rate, requests/s", Scale::Linear, thousands),
            y: LATENCY,
            series: of_each(report, styles, over_rates),
        },
        Chart {
            id: "quantiles",
            question: "How long do the slowest requests take at a fixed rate?",
            explanation: "Open loop at 5,000 requests/s, latency from the scheduled time of a request. A line ends where fewer than ten requests are slower.",
            x: Axis::new("one request in … is slower", Scale::Logarithmic, count),
            y: LATENCY,
            series: of_each(report, styles, quantiles),
        },
        Chart {
            id: "memory",
            question: "How does memory grow with the number of connections?",
            explanation: "Anonymous resident memory of the server while idle connections are established.",
            x: Axis::new("connections", Scale::Linear, count),
            y: Axis::new("memory, MiB", Scale::Linear, significant),
            series: of_each(report, styles, memory),
        },
        Chart {
            id: "time-throughput",
            question: "Is throughput steady during a run?",
            explanation: "64 connections, the intervals of one run.",
            x: TIME,
            y: THROUGHPUT,
            series: over_time(report, styles, |it| {
                it.throughput_per_s.iter().copied().map(Some).collect()
            }),
        },
        Chart {
            id: "time-p99",
            question: "Is the p99 latency steady during a run?",
            explanation: "The same run. An interval with fewer than 1,000 requests has no p99.",
            x: TIME,
            y: LATENCY,
            series: over_time(report, styles, |it| {
                it.p99_ns.iter().map(|ns| ns.map(|ns| ns as f64)).collect()
            }),
        },
        Chart {
            id: "time-cpu",
            question: "How busy is the server during a run?",
            explanation: "The same run. 100 % is one busy CPU.",
            x: TIME,
            y: Axis::new("CPU of the server, %", Scale::Linear, significant),
            series: over_time(report, styles, |it| {
                it.server_cpu_share.iter().map(|share| share.map(|it| it * 100.0)).collect()
            }),
        },
    ];
    all.into_iter().filter(|chart| !chart.series.is_empty()).collect()
}

fn thousands(value: f64) -> String {
    match value {
        1_000.0.. => format!("{} k", significant(value / 1e3)),
        _ => significant(value),
    }
}

/// Points, and the index of the point to emphasize.
type Line = (Vec<Point>, Option<usize>);

/// Returns the series that `points` makes of each server's results.
fn of_each(
    report: &Report,
    styles: &Styles,
    points: fn(&ServerResult) -> Option<Line>,
) -> Vec<Series> {
    let series = report.servers.iter().filter_map(|server| {
        let number = styles.number(&server.name)?;
        let (points, marked) = points(server)?;
        (!points.is_empty()).then(|| Series { number, name: server.name.clone(), points, marked })
    });
    series.collect()
}

/// Returns a figure of the closed loops over their number of connections.
fn over_connections(
    report: &Report,
    styles: &Styles,
    figure: fn(&RunFigures) -> Option<f64>,
) -> Vec<Series> {
    let series = report.servers.iter().filter_map(|server| {
        let closed = server.measurements.iter().filter(|it| it.workload.starts_with("closed-"));
        let mut points: Vec<Point> =
            closed.filter_map(|it| point(it.clients as f64, it, figure)).collect();
        points.sort_by(|one, other| one.x.total_cmp(&other.x));
        let number = styles.number(&server.name)?;
        (!points.is_empty()).then(|| Series {
            number,
            name: server.name.clone(),
            points,
            marked: None,
        })
    });
    series.collect()
}

/// Returns the mean of a figure over the runs, with its interval if there are enough runs.
fn point(
    x: f64,
    measurement: &Measurement,
    figure: fn(&RunFigures) -> Option<f64>,
) -> Option<Point> {
    let (y, interval) = measurement.mean_over_runs(figure)?;
    let is_valid = measurement.validity.label == ValidityLabel::Valid;
    Some(Point { x, y, interval: interval.map(|it| (it.low, it.high)), is_valid })
}

/// Number of bins of the offered rate for each doubling of the rate.
const BINS: f64 = 6.0;

/// Returns the p99 over the offered rate, and the index of the highest sustained rate. Attempts at
/// rates that differ by a few percent become their mean.
fn over_rates(server: &ServerResult) -> Option<Line> {
    let rates = &server.measurement("saturation")?.rates;
    let bin = |it: &RateFigures| (it.offered_per_s.log2() * BINS).round() as i64;
    let mut points: Vec<(Point, bool)> = Vec::new();
    for group in rates.chunk_by(|one, other| bin(one) == bin(other)) {
        let measured: Vec<(f64, f64)> =
            group.iter().filter_map(|it| Some((it.offered_per_s, it.p99_ns? as f64))).collect();
        if measured.is_empty() {
            continue;
        }
        let mean = |of: fn(&(f64, f64)) -> f64| {
            measured.iter().map(of).sum::<f64>() / measured.len() as f64
        };
        let is_valid = group.iter().any(|it| !it.is_limited);
        let is_sustained = group.iter().any(|it| it.is_sustained);
        let point = Point { is_valid, ..Point::new(mean(|it| it.0), mean(|it| it.1)) };
        points.push((point, is_sustained));
    }
    let knee = points.iter().rposition(|(_, is_sustained)| *is_sustained);
    Some((points.into_iter().map(|(point, _)| point).collect(), knee))
}

fn quantiles(server: &ServerResult) -> Option<Line> {
    let measurement = server.measurement("open-constant")?;
    let histogram = measurement.latency_histogram.as_ref().and_then(LatencyHistogram::decode)?;
    Some((quantile_points(&histogram), None))
}

/// Returns the latency over 1/(1−q), to the last quantile q with enough values beyond it.
fn quantile_points(histogram: &Histogram<u64>) -> Vec<Point> {
    let powers = (0..9).flat_map(|power| [1.0, 2.0, 5.0].map(|it| it * 10f64.powi(power)));
    let all = powers.skip(1).take_while(|one_in| histogram.len() as f64 / one_in >= BEYOND);
    all.map(|one_in| Point::new(one_in, histogram.value_at_quantile(1.0 - 1.0 / one_in) as f64))
        .collect()
}

fn memory(server: &ServerResult) -> Option<Line> {
    let idle = server.measurement("idle-memory")?.idle_connections.as_ref()?;
    let point = |at: &crate::results::MemoryAt| {
        Point::new(at.connections as f64, at.anonymous_bytes as f64 / (1024.0 * 1024.0))
    };
    Some((idle.growth.iter().map(point).collect(), None))
}

/// Returns a figure of the intervals of a run with 64 connections.
fn over_time(
    report: &Report,
    styles: &Styles,
    values: fn(&crate::results::TimeSeries) -> Vec<Option<f64>>,
) -> Vec<Series> {
    let series = report.servers.iter().filter_map(|server| {
        let series = server.measurement("closed-64")?.time_series.as_ref()?;
        let points: Vec<Point> = values(series)
            .into_iter()
            .enumerate()
            .filter_map(|(index, y)| Some(Point::new((index + 1) as f64 * series.interval_ms, y?)))
            .collect();
        let number = styles.number(&server.name)?;
        (!points.is_empty()).then(|| Series {
            number,
            name: server.name.clone(),
            points,
            marked: None,
        })
    });
    series.collect()
}
