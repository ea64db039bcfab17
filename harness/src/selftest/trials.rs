//! Trials of the load generator on known-answer servers: compare measured with predicted figures.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use servers::Service;

use super::known;
use crate::load::placement::{Pin, Placement};
use crate::load::{
    self, ArrivalProcess, Arrivals, ConnectionGroup, LoadSpec, MeasurementSettings, Plan, exchanges,
};
use crate::results::{Measurement, Outcome, ValidityLabel};
use crate::server::Launcher;

/// A load on a known-answer server, with its predicted results.
pub struct Trial {
    /// Stable name.
    pub name: &'static str,
    /// Behaviour of the server.
    behaviour: &'static str,
    connections: usize,
    arrival_process: ArrivalProcess,
    predictions: &'static [Prediction],
}

/// A predicted figure.
struct Prediction {
    /// Name of the figure.
    figure: &'static str,
    /// Returns the measured value of the figure.
    of: fn(&Measurement) -> f64,
    predicted: Predicted,
}

/// Predicted value and tolerance.
#[derive(Clone, Copy)]
enum Predicted {
    /// This value, within the relative tolerance of the settings.
    Near(f64),
    /// This time, within the tolerances of the settings for relative and absolute differences.
    Time(f64),
    /// Exactly this value.
    Exactly(f64),
    /// Exactly this value, computed from other figures of the same run.
    Same(fn(&Measurement) -> f64),
    /// This value, computed from other figures of the same run, ±1.
    NearSame(fn(&Measurement) -> f64),
    /// At most this value.
    AtMost(f64),
}

/// One millisecond in nanoseconds.
const MS: f64 = 1e6;

/// Tolerance and durations of the trials.
#[derive(Clone, Copy, Debug)]
pub struct TrialSettings {
    /// Relative tolerance: maximum of (larger value / smaller value) - 1.
    tolerance: f64,
    /// Absolute tolerance of the median latency, in nanoseconds.
    time_tolerance: f64,
    /// Duration of trials with a freeze.
    frozen: Duration,
    /// Duration of all other trials.
    other: Duration,
}

impl TrialSettings {
    /// Settings for an otherwise idle machine.
    pub const IDLE_MACHINE: TrialSettings = TrialSettings {
        tolerance: 0.05,
        time_tolerance: MS,
        frozen: Duration::from_secs(8),
        other: Duration::from_secs(2),
    };

    /// Settings for a busy machine, where waits for a CPU may multiply the times.
    pub const BUSY_MACHINE: TrialSettings = TrialSettings {
        tolerance: 4.0,
        time_tolerance: f64::INFINITY,
        frozen: Duration::from_secs(4),
        other: Duration::from_secs(1),
    };
}

/// A prediction and the measured value.
#[derive(Clone, Debug, Serialize)]
pub struct CheckedPrediction {
    /// Name of the trial.
    pub trial: &'static str,
    /// Name of the figure.
    pub figure: &'static str,
    /// Predicted value, formatted.
    pub predicted: String,
    /// Measured value; times are in nanoseconds.
    pub measured: f64,
    /// Whether the measured value meets the prediction.
    pub is_right: bool,
}

impl Trial {
    /// Returns the duration of the measurement.
    pub fn duration(&self, settings: TrialSettings) -> Duration {
        if self.behaviour.starts_with("freeze") { settings.frozen } else { settings.other }
    }

    /// Launches the server, loads it, and compares the results with the predictions.
    ///
    /// # Errors
    /// The server cannot be launched, or the kernel denies the generator a resource.
    pub fn run(
        &self,
        launcher: &Launcher,
        settings: TrialSettings,
        interrupted: &AtomicBool,
    ) -> Result<Vec<CheckedPrediction>> {
        let placement = Placement::find(Pin::default(), 1)?;
        let server = placement.launcher(launcher).launch(&known::spec(launcher, self.behaviour))?;
        let (warm_up, duration) = (settings.other / 4, self.duration(settings));
        let plan = Plan { warm_up, duration, idle_connections: 0, ..Plan::ONE_RUN };
        let measuring = MeasurementSettings::new(plan, 1, interrupted);
        let group = ConnectionGroup {
            requests: exchanges(Service::Echo),
            connections: self.connections,
            arrival_process: self.arrival_process,
        };
        let load_spec = LoadSpec::new(server.address, group, measuring.seed);
        let (measurement, _) =
            load::load(Some(&server), &load_spec, self.name, &measuring, &placement)?;
        let check = |prediction: &Prediction| prediction.check(self.name, &measurement, settings);
        Ok(self.predictions.iter().map(check).collect())
    }
}

impl Prediction {
    fn check(
        &self,
        trial: &'static str,
        one: &Measurement,
        settings: TrialSettings,
    ) -> CheckedPrediction {
        let measured = (self.of)(one);
        let is_near =
            |value: f64| (measured / value).max(value / measured) <= 1.0 + settings.tolerance;
        let (predicted, is_right) = match self.predicted {
            Predicted::Near(value) => (format!("{value:.0}"), is_near(value)),
            Predicted::Time(value) => {
                let is_close = (measured - value).abs() <= settings.time_tolerance;
                (format!("{value:.0}"), is_near(value) && is_close)
            }
            Predicted::Exactly(value) => (format!("{value:.0}"), measured == value),
            Predicted::Same(of) => (format!("{:.0}", of(one)), measured == of(one)),
            Predicted::NearSame(of) => {
                (format!("{:.1}", of(one)), (measured - of(one)).abs() <= 1.0)
            }
            Predicted::AtMost(value) => (format!("at most {value:.0}"), measured <= value),
        };
        CheckedPrediction { trial, figure: self.figure, predicted, measured, is_right }
    }
}

/// Converts a time to f64. `None` becomes NaN, which meets no prediction.
fn or_nan(time: Option<u64>) -> f64 {
    time.map_or(f64::NAN, |ns| ns as f64)
}

fn p50(one: &Measurement) -> f64 {
    or_nan(one.latency_intended_ns.p50)
}

fn p90(one: &Measurement) -> f64 {
    or_nan(one.latency_intended_ns.p90)
}

fn p99(one: &Measurement) -> f64 {
    or_nan(one.latency_intended_ns.p99)
}

fn max(one: &Measurement) -> f64 {
    or_nan(one.latency_intended_ns.max)
}

fn rate(one: &Measurement) -> f64 {
    one.throughput_per_s
}

fn requests(one: &Measurement, outcome: Outcome) -> f64 {
    one.outcomes.get(outcome) as f64
}

fn connections(one: &Measurement, outcome: Outcome) -> f64 {
    one.connections.get(outcome) as f64
}

/// Returns 1 if the measurement has this label, otherwise 0.
fn has_label(one: &Measurement, label: ValidityLabel) -> f64 {
    f64::from(u8::from(one.validity.label == label))
}

const fn near(figure: &'static str, of: fn(&Measurement) -> f64, value: f64) -> Prediction {
    Prediction { figure, of, predicted: Predicted::Near(value) }
}

const fn time(figure: &'static str, of: fn(&Measurement) -> f64, value: f64) -> Prediction {
    Prediction { figure, of, predicted: Predicted::Time(value) }
}

const fn exactly(figure: &'static str, of: fn(&Measurement) -> f64, value: f64) -> Prediction {
    Prediction { figure, of, predicted: Predicted::Exactly(value) }
}

const fn open(per_s: f64) -> ArrivalProcess {
    ArrivalProcess::Open { arrivals: Arrivals::Constant, per_s }
}

const CLOSED: ArrivalProcess = ArrivalProcess::Closed { depth: 1 };

/// Predictions for a server that freezes for one second in every four. A quarter of independent
/// arrivals wait for the end of a freeze; their waits are uniformly distributed from 0 to 1 s. So
/// 10 % of all arrivals wait for more than 0.6 s, and 1 % for more than 0.96 s.
const FREEZE: &[Prediction] = &[near("p90", p90, 600.0 * MS), near("p99", p99, 960.0 * MS)];

/// All trials.
pub const TRIALS: &[Trial] = &[
    Trial {
        name: "delay, open loop",
        // Long delays, because a virtual machine may not run for some milliseconds, and its kernel
        // may wake threads half a millisecond late.
        behaviour: "delay:100ms",
        connections: 100,
        arrival_process: open(500.0),
        predictions: &[
            time("p50", p50, 100.0 * MS),
            near("p90", p90, 100.0 * MS),
            near("requests/s", rate, 500.0),
        ],
    },
    Trial {
        name: "delay, closed loop",
        behaviour: "delay:100ms",
        connections: 50,
        arrival_process: CLOSED,
        predictions: &[time("p50", p50, 100.0 * MS), near("requests/s", rate, 500.0)],
    },
    Trial {
        name: "two delays, closed loop",
        behaviour: "bimodal:20ms,200ms,10",
        // A p99 needs 1,000 requests: 200 connections send that many in 1 s, even on a machine that
        // is five times slower.
        connections: 200,
        arrival_process: CLOSED,
        predictions: &[
            near("p50", p50, 20.0 * MS),
            near("p99", p99, 200.0 * MS),
            // On each of 200 connections, a request takes 38 ms on average.
            near("requests/s", rate, 200.0 / 0.038),
        ],
    },
    Trial {
        name: "freeze, open loop, 500/s",
        behaviour: "freeze:1s,4s",
        connections: 8,
        arrival_process: open(500.0),
        predictions: FREEZE,
    },
    Trial {
        name: "freeze, open loop, 10,000/s",
        behaviour: "freeze:1s,4s",
        connections: 8,
        arrival_process: open(10_000.0),
        predictions: FREEZE,
    },
    Trial {
        name: "freeze, closed loop",
        behaviour: "freeze:1s,4s",
        connections: 8,
        arrival_process: CLOSED,
        predictions: &[
            // On each connection, one request in four seconds waits, and delays the next requests.
            // So the p99 does not show the freeze (coordinated omission).
            Prediction { figure: "p99", of: p99, predicted: Predicted::AtMost(100.0 * MS) },
            near("max", max, 1000.0 * MS),
        ],
    },
    Trial {
        name: "5 connections served, the others reset",
        behaviour: "some:5",
        connections: 20,
        arrival_process: CLOSED,
        predictions: &[
            exactly("connections served", |one| connections(one, Outcome::Answered), 5.0),
            exactly("connections reset", |one| connections(one, Outcome::Reset), 15.0),
            exactly("all connections", |one| one.connections.sum() as f64, 20.0),
            exactly("validity is faulty", |one| has_label(one, ValidityLabel::Faulty), 1.0),
        ],
    },
    Trial {
        name: "1 wrong reply in 1,000",
        behaviour: "wrong:1000",
        connections: 4,
        arrival_process: CLOSED,
        predictions: &[
            Prediction {
                figure: "wrong replies",
                of: |one| requests(one, Outcome::WrongReply),
                // The server also counts the lines of the warm-up.
                predicted: Predicted::NearSame(|one| one.outcomes.sum() as f64 / 1000.0),
            },
            Prediction {
                figure: "latencies",
                of: |one| one.latency_sent_ns.count as f64,
                predicted: Predicted::Same(|one| requests(one, Outcome::Answered)),
            },
            exactly("validity is faulty", |one| has_label(one, ValidityLabel::Faulty), 1.0),
        ],
    },
    Trial {
        name: "at most 2,000/s, closed loop",
        behaviour: "rate:2000",
        connections: 8,
        arrival_process: CLOSED,
        predictions: &[near("requests/s", rate, 2000.0)],
    },
    Trial {
        name: "at most 2,000/s, open loop, 4,000/s",
        behaviour: "rate:2000",
        connections: 8,
        arrival_process: open(4_000.0),
        predictions: &[
            near("requests/s", rate, 2000.0),
            exactly("validity is overloaded", |one| has_label(one, ValidityLabel::Overloaded), 1.0),
        ],
    },
];
