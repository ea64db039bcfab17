//! One figure of a server, with its interval, or the reason why there is none.

use crate::figures::significant;
use crate::results::{Measurement, RunFigures, ValidityLabel};
use crate::stats::{Interval, geometric_mean};

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
    /// Whether the figure may have a rank: it has an interval, and is comparable with the others of
    /// its column.
    pub is_ranked: bool,
    /// Whether the load generator limited the figure, so that the server may be better.
    pub is_lower_bound: bool,
}

impl Figure {
    /// Returns a figure that is known exactly, such as a count.
    pub(super) fn exact(value: f64) -> Figure {
        let interval = Some(Interval { low: value, high: value });
        Figure {
            value,
            interval,
            is_between_runs: false,
            caveat: None,
            is_ranked: true,
            is_lower_bound: false,
        }
    }

    /// Returns the figure of a measurement: the mean of its runs, if there are enough; otherwise
    /// `alone`, the figure of the whole measurement with its interval within the run.
    pub(super) fn of_runs(
        measurement: &Measurement,
        of_run: impl Fn(&RunFigures) -> Option<f64>,
        alone: Option<(f64, Option<Interval<f64>>)>,
    ) -> Option<Figure> {
        let is_ranked = share_of_runs(measurement, &[ValidityLabel::Valid]) > 0.5;
        let caveat = caveat(measurement);
        if let Some((value, interval @ Some(_))) = measurement.mean_over_runs(of_run) {
            let exact = Figure::exact(value);
            return Some(Figure { interval, is_between_runs: true, caveat, is_ranked, ..exact });
        }
        let (value, interval) = alone?;
        // The noise within one run says nothing about the mean of two.
        let interval = interval.filter(|_| measurement.runs.len() <= 1);
        // The value may cover more than the intervals of the run, such as the warm-up.
        let interval =
            interval.map(|it| Interval { low: it.low.min(value), high: it.high.max(value) });
        let is_ranked = is_ranked && interval.is_some();
        Some(Figure { interval, caveat, is_ranked, ..Figure::exact(value) })
    }

    /// Returns the throughput of a measurement, in requests per second.
    pub fn throughput(measurement: &Measurement) -> Option<Figure> {
        let series = measurement.time_series.as_ref();
        let within = series.and_then(|series| geometric_mean(&series.throughput_per_s));
        let value = measurement.throughput_per_s;
        let alone = (value > 0.0).then(|| (value, within.map(|(_, interval)| interval)));
        let figure = Figure::of_runs(measurement, |run| Some(run.throughput_per_s), alone)?;
        // If the generator limits a run, the throughput is a lower bound.
        let limited = share_of_runs(measurement, &[ValidityLabel::GeneratorBound]);
        let usable = [ValidityLabel::Valid, ValidityLabel::GeneratorBound];
        let is_ranked = share_of_runs(measurement, &usable) > 0.5 && figure.interval.is_some();
        Some(Figure { is_ranked, is_lower_bound: limited >= 0.5, ..figure })
    }

    /// Returns the figure without a rank, because it is not comparable with those of other servers.
    pub(super) fn not_comparable(self, reason: String) -> Figure {
        let caveat = self.caveat.iter().fold(reason, |all, caveat| format!("{all}; {caveat}"));
        Figure { caveat: Some(caveat), is_ranked: false, ..self }
    }

    /// Returns this figure in another unit: divided by `unit`.
    pub(in crate::report) fn in_unit(self, unit: f64) -> Figure {
        let interval =
            self.interval.map(|it| Interval { low: it.low / unit, high: it.high / unit });
        Figure { value: self.value / unit, interval, ..self }
    }

    /// Formats the value with its interval, if it has one: `293 (286 to 299)`.
    pub fn with_interval(&self) -> String {
        let interval = self.interval.filter(|it| it.low != it.high);
        let interval =
            interval.map(|it| format!(" ({} to {})", significant(it.low), significant(it.high)));
        significant(self.value) + &interval.unwrap_or_default()
    }

    /// Returns the range in which the figure competes with others. `None` if it does not compete. A
    /// lower bound has no upper end.
    pub(super) fn competing_range(&self) -> Option<Interval<f64>> {
        let range = self.interval.filter(|_| self.is_ranked)?;
        let high = if self.is_lower_bound { f64::INFINITY } else { range.high };
        Some(Interval { high, ..range })
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

/// Returns the share of the runs that have one of these labels. More than half valid runs are
/// enough for a rank: the interval between runs covers a single bad one.
fn share_of_runs(measurement: &Measurement, labels: &[ValidityLabel]) -> f64 {
    let all: Vec<ValidityLabel> = match measurement.runs.as_slice() {
        [] => vec![measurement.validity.label],
        runs => runs.iter().map(|run| run.validity).collect(),
    };
    all.iter().filter(|label| labels.contains(label)).count() as f64 / all.len() as f64
}

fn caveat(measurement: &Measurement) -> Option<String> {
    (measurement.validity.label != ValidityLabel::Valid)
        .then(|| format!("{}: {}", measurement.validity.label.name(), measurement.validity.text()))
}
