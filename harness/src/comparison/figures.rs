//! Figures that differ between two sets of reports.

use serde::Serialize;

use super::notes::Note;
use super::side::Side;
use super::sides::Sides;
use crate::results::{Measurement, RunFigures, ValidityLabel};
use crate::stats::{ComparisonVerdict, MeanRatio, NoRatio, holm};

/// A compared figure of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Figure {
    /// Correct replies per second.
    Throughput,
    /// 99th percentile of the latency from the scheduled time, in nanoseconds.
    P99,
    /// CPU time of the server per correct reply, in nanoseconds.
    CpuPerRequest,
    /// Memory per idle connection, in bytes.
    MemoryPerConnection,
}

/// Verdict on a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FigureVerdict {
    /// Higher throughput, lower latency or less CPU time.
    Faster,
    /// Lower throughput, higher latency or more CPU time.
    Slower,
    /// Less memory.
    Smaller,
    /// More memory.
    Larger,
    /// Equal within the margin.
    Equal,
    /// The runs do not decide.
    Inconclusive,
}

/// Reason why a figure is inconclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Inconclusive {
    /// A side has fewer than 5 runs with a value.
    TooFewRuns,
    /// A run has a figure of zero.
    ZeroFigure,
    /// The confidence interval is not within the margin.
    WideInterval,
    /// The figure seems to differ, but not significantly, given the number of compared figures.
    NotSignificant,
    /// The figures are equal, but the generator limited a run, which hides a difference.
    GeneratorLimited,
}

/// The runs of one side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Samples {
    /// Number of runs that have the figure.
    pub runs: usize,
    /// Number of these runs with a validity other than `valid`.
    pub not_valid: usize,
    /// Geometric mean of the figure.
    pub mean: Option<f64>,
}

/// Comparison of one figure of a server under a workload.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FigureComparison {
    /// Name of the server.
    pub server: String,
    /// Name of the workload.
    pub workload: String,
    /// The figure.
    pub figure: Figure,
    /// Runs of the old reports.
    pub old: Samples,
    /// Runs of the new reports.
    pub new: Samples,
    /// New mean divided by old mean, with its 95 % confidence interval, which is not corrected for
    /// the number of figures.
    pub ratio: Option<MeanRatio>,
    /// p-value, corrected for the number of figures by Holm's method (see [`holm`]). Below 0.05,
    /// the figure differs.
    pub adjusted_p: Option<f64>,
    /// Verdict.
    pub verdict: FigureVerdict,
    /// Reason for the verdict `inconclusive`.
    pub reason: Option<Inconclusive>,
}

impl Figure {
    /// All figures, in the order of the output.
    pub const ALL: &[Figure] =
        &[Figure::Throughput, Figure::P99, Figure::CpuPerRequest, Figure::MemoryPerConnection];

    /// Returns the name used in sentences.
    pub fn label(self) -> &'static str {
        match self {
            Figure::Throughput => "throughput",
            Figure::P99 => "p99",
            Figure::CpuPerRequest => "CPU time per request",
            Figure::MemoryPerConnection => "memory per connection",
        }
    }

    /// Returns whether the figure depends on the speed of server and machine.
    pub fn is_time(self) -> bool {
        self != Figure::MemoryPerConnection
    }

    fn of(self, run: &RunFigures) -> Option<f64> {
        match self {
            Figure::Throughput => Some(run.throughput_per_s),
            Figure::P99 => run.p99_ns.map(|ns| ns as f64),
            Figure::CpuPerRequest => run.server_cpu_ns_per_request.map(|ns| ns as f64),
            Figure::MemoryPerConnection => run.memory_per_connection_bytes.map(|it| it as f64),
        }
    }

    fn verdict(self, verdict: ComparisonVerdict) -> FigureVerdict {
        match verdict {
            ComparisonVerdict::Faster if self.is_time() => FigureVerdict::Faster,
            ComparisonVerdict::Faster => FigureVerdict::Smaller,
            ComparisonVerdict::Slower if self.is_time() => FigureVerdict::Slower,
            ComparisonVerdict::Slower => FigureVerdict::Larger,
            ComparisonVerdict::Equal => FigureVerdict::Equal,
            ComparisonVerdict::Inconclusive => FigureVerdict::Inconclusive,
        }
    }

    /// Converts the ratio of the figure so that more is better.
    fn of_quality(self, ratio: MeanRatio) -> MeanRatio {
        if self == Figure::Throughput { ratio } else { ratio.inverse() }
    }
}

impl FigureVerdict {
    /// Returns whether the figure differs.
    pub fn is_difference(self) -> bool {
        !matches!(self, FigureVerdict::Equal | FigureVerdict::Inconclusive)
    }

    /// Returns the word used in reports.
    pub fn name(self) -> &'static str {
        match self {
            FigureVerdict::Faster => "faster",
            FigureVerdict::Slower => "slower",
            FigureVerdict::Smaller => "smaller",
            FigureVerdict::Larger => "larger",
            FigureVerdict::Equal => "equal",
            FigureVerdict::Inconclusive => "inconclusive",
        }
    }
}

impl FigureComparison {
    /// Returns whether the figure is a time that is conclusively slower, by an estimate beyond
    /// `limit` (see [`slower_than`](super::ReportComparison::slower_than)).
    pub fn is_slower_than(&self, limit: f64) -> bool {
        let is_beyond = |it: MeanRatio| self.figure.of_quality(it).ratio < 1.0 / (1.0 + limit);
        self.verdict == FigureVerdict::Slower && self.ratio.is_some_and(is_beyond)
    }

    /// Sets the verdict, after the correction for the number of figures.
    fn decide(&mut self, margin: f64, adjusted_p: f64, is_limited: bool) {
        let Some(ratio) = self.ratio else { return };
        self.adjusted_p = Some(adjusted_p);
        let quality = self.figure.of_quality(ratio);
        let verdict = quality.verdict(margin, adjusted_p);
        self.verdict = self.figure.verdict(verdict);
        self.reason = match verdict {
            ComparisonVerdict::Equal if is_limited => {
                self.verdict = FigureVerdict::Inconclusive;
                Some(Inconclusive::GeneratorLimited)
            }
            ComparisonVerdict::Inconclusive if quality.low > 1.0 || quality.high < 1.0 => {
                Some(Inconclusive::NotSignificant)
            }
            ComparisonVerdict::Inconclusive => Some(Inconclusive::WideInterval),
            _ => None,
        };
    }
}

/// Compares the figures of all servers under all workloads that both sides have.
pub(super) fn compare(sides: &Sides, margin: f64, notes: &mut Vec<Note>) -> Vec<FigureComparison> {
    let (mut compared, mut limited) = (Vec::new(), Vec::new());
    for pair in sides.pairs() {
        let [Some(old), Some(new)] = pair else { continue };
        for measurement in &old.measurements {
            let Some(other) = new.measurement(&measurement.workload) else { continue };
            let pair = [measurement, other];
            notes.extend(faulty_on_one_side(&old.name, pair));
            if measurement.clients != other.clients {
                notes.push(Note::DifferentConnections {
                    server: old.name.clone(),
                    workload: measurement.workload.clone(),
                    old: measurement.clients,
                    new: other.clients,
                });
                continue;
            }
            for &figure in Figure::ALL {
                if let Some(found) = compare_one(&old.name, figure, pair) {
                    compared.push(found);
                    limited.push(figure.is_time() && pair.iter().any(|it| is_limited(it)));
                }
            }
        }
    }
    let values: Vec<f64> = compared.iter().filter_map(|it| Some(it.ratio?.p)).collect();
    let mut adjusted = holm(&values).into_iter();
    for (figure, is_limited) in compared.iter_mut().zip(limited) {
        if figure.ratio.is_some() {
            figure.decide(margin, adjusted.next().unwrap_or(1.0), is_limited);
        }
    }
    compared
}

fn is_limited(measurement: &Measurement) -> bool {
    measurement.runs.iter().any(|run| run.validity == ValidityLabel::GeneratorBound)
}

fn faulty_on_one_side(server: &str, pair: [&Measurement; 2]) -> Option<Note> {
    let problems = pair.map(Measurement::problem);
    let index = match &problems {
        [Some(_), None] => 0,
        [None, Some(_)] => 1,
        _ => return None,
    };
    Some(Note::FaultyMeasurement {
        server: server.to_owned(),
        workload: pair[0].workload.clone(),
        side: Side::ALL[index],
        problem: problems[index].clone()?,
    })
}

/// Compares one figure. `None` if no run has it, or if it means nothing for the workload: idle
/// connections have a memory, but no load.
fn compare_one(server: &str, figure: Figure, pair: [&Measurement; 2]) -> Option<FigureComparison> {
    let is_idle = pair.iter().any(|it| it.idle_connections.is_some());
    let values = pair.map(|measurement| -> Vec<f64> {
        measurement.runs.iter().filter_map(|run| figure.of(run)).collect()
    });
    if is_idle == figure.is_time() || values.iter().all(Vec::is_empty) {
        return None;
    }
    let samples = |index: usize| Samples {
        runs: values[index].len(),
        not_valid: pair[index]
            .runs
            .iter()
            .filter(|run| figure.of(run).is_some() && run.validity != ValidityLabel::Valid)
            .count(),
        mean: mean(&values[index]),
    };
    let ratio = MeanRatio::of(&values[1], &values[0]);
    Some(FigureComparison {
        server: server.to_owned(),
        workload: pair[0].workload.clone(),
        figure,
        old: samples(0),
        new: samples(1),
        ratio: ratio.ok(),
        adjusted_p: None,
        verdict: FigureVerdict::Inconclusive,
        reason: ratio.err().map(|reason| match reason {
            NoRatio::TooFew => Inconclusive::TooFewRuns,
            NoRatio::NotPositive => Inconclusive::ZeroFigure,
        }),
    })
}

/// Returns the geometric mean, or the arithmetic mean if a value is zero.
fn mean(values: &[f64]) -> Option<f64> {
    let count = values.len() as f64;
    if values.is_empty() {
        None
    } else if values.iter().all(|value| *value > 0.0) {
        Some((values.iter().map(|value| value.ln()).sum::<f64>() / count).exp())
    } else {
        Some(values.iter().sum::<f64>() / count)
    }
}
