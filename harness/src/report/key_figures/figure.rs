//! One figure of a server, with its interval, or the reason why there is none.

use crate::results::{Measurement, RunFigures, ValidityLabel};
use crate::stats::{Interval, MIN_VALUES, geometric_mean};

/// A figure of a server, or the reason why it is missing.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// The figure.
    Figure(Figure),
    /// There is no figure.
    Missing(Missing),
}

/// The reason why there is no figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The reason in two or three words.
    pub short: String,
    /// The reason.
    pub reason: String,
}

/// A figure with its 95 % confidence interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// The value, in the unit of its column.
    pub value: f64,
    /// The interval; none if there are too few values.
    pub interval: Option<Interval<f64>>,
    /// Whether the interval is that between several runs. Otherwise it is that within one run,
    /// and does not include the noise between runs.
    pub is_between_runs: bool,
    /// Reason why the value is doubtful, if it is.
    pub caveat: Option<String>,
}

impl Figure {
    /// Returns a figure that is known exactly, such as a count.
    pub(super) fn exact(value: f64) -> Figure {
        let interval = Some(Interval { low: value, high: value });
        Figure { value, interval, is_between_runs: false, caveat: None }
    }

    /// Returns the figure of a measurement: the mean of its runs, if there are enough; otherwise
    /// `alone`, the figure of the whole measurement with its interval within the run.
    pub(super) fn of_runs(
        measurement: &Measurement,
        of_run: impl Fn(&RunFigures) -> Option<f64>,
        alone: Option<(f64, Option<Interval<f64>>)>,
    ) -> Option<Figure> {
        let values: Vec<f64> = measurement.runs.iter().filter_map(of_run).collect();
        let caveat = caveat(measurement);
        if values.len() >= MIN_VALUES
            && let Some((value, interval)) = geometric_mean(&values)
        {
            return Some(Figure { value, interval: Some(interval), is_between_runs: true, caveat });
        }
        let (value, interval) = alone?;
        Some(Figure { value, interval, is_between_runs: false, caveat })
    }

    /// Returns the throughput of a measurement, in requests per second.
    pub fn throughput(measurement: &Measurement) -> Option<Figure> {
        let series = measurement.time_series.as_ref();
        let within = series.and_then(|series| geometric_mean(&series.throughput_per_s));
        let value = measurement.throughput_per_s;
        let alone = (value > 0.0).then(|| (value, within.map(|(_, interval)| interval)));
        Figure::of_runs(measurement, |run| Some(run.throughput_per_s), alone)
    }

    /// Returns this figure in another unit: divided by `unit`.
    pub(in crate::report) fn in_unit(self, unit: f64) -> Figure {
        let interval =
            self.interval.map(|it| Interval { low: it.low / unit, high: it.high / unit });
        Figure { value: self.value / unit, interval, ..self }
    }

    /// Returns the interval, or the value alone if there is none.
    pub fn range(&self) -> Interval<f64> {
        self.interval.unwrap_or(Interval { low: self.value, high: self.value })
    }
}

impl Cell {
    pub(super) fn missing(short: &str, reason: impl Into<String>) -> Cell {
        Cell::Missing(Missing { short: short.to_owned(), reason: reason.into() })
    }

    /// Returns the figure, if there is one.
    pub fn figure(&self) -> Option<&Figure> {
        match self {
            Cell::Figure(figure) => Some(figure),
            Cell::Missing(_) => None,
        }
    }
}

fn caveat(measurement: &Measurement) -> Option<String> {
    (measurement.validity.label != ValidityLabel::Valid)
        .then(|| format!("{}: {}", measurement.validity.label.name(), measurement.validity.text()))
}
