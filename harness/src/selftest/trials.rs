//! Trials of the load generator on known-answer servers: predicted results next to measured ones.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use servers::Service;

use super::known;
use crate::load::placement::{Pin, Placement};
use crate::load::{
    self, ArrivalProcess, Arrivals, Group, LoadSpec, Measurement, Measuring, Outcome, Plan,
    Verdict, exchanges,
};
use crate::server::Launcher;

/// A load on a known-answer server, with its predicted results.
pub struct Trial {
    /// Stable name.
    pub name: &'static str,
    /// Behaviour of the server.
    answer: &'static str,
    connections: usize,
    pace: ArrivalProcess,
    predictions: &'static [Prediction],
}

/// A predicted figure.
struct Prediction {
    /// Name of the figure.
    figure: &'static str,
    of: fn(&Measurement) -> f64,
    predicted: Predicted,
}

/// Predicted value, with its tolerance.
#[derive(Clone, Copy)]
enum Predicted {
    /// This value, within the tolerance of the rigour.
    Near(f64),
    /// Exactly this value.
    Exactly(f64),
    /// Exactly the value of other figures of the same run.
    Same(fn(&Measurement) -> f64),
    /// The value of other figures of the same run, plus or minus at most 1.
    Beside(fn(&Measurement) -> f64),
    /// At most this.
    AtMost(f64),
}

/// One millisecond in nanoseconds.
const MS: f64 = 1e6;

/// Tolerance and durations of the trials.
#[derive(Clone, Copy, Debug)]
pub struct Rigour {
    /// Relative tolerance: larger over smaller value, minus 1.
    near: f64,
    /// Duration of trials with a freeze, and of all others.
    frozen: Duration,
    other: Duration,
}

impl Rigour {
    /// For an otherwise idle machine.
    pub const WHOLE: Rigour =
        Rigour { near: 0.05, frozen: Duration::from_secs(8), other: Duration::from_secs(2) };

    /// For a busy machine, where waiting for a CPU may multiply the times.
    pub const SHORT: Rigour =
        Rigour { near: 4.0, frozen: Duration::from_secs(4), other: Duration::from_secs(1) };
}

/// A predicted figure next to the measured one.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
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
    /// Launches the server, loads it, and compares the results with the predictions.
    ///
    /// # Errors
    /// The server cannot be launched, or the kernel denies the generator a resource.
    pub fn run(
        &self,
        launcher: &Launcher,
        rigour: Rigour,
        interrupted: &AtomicBool,
    ) -> Result<Vec<Compared>> {
        let placement = Placement::find(Pin::default(), 1)?;
        let server = placement.launcher(launcher).launch(&known::spec(launcher, self.answer))?;
        let is_frozen = self.answer.starts_with("freeze");
        let plan = Plan {
            warm_up: rigour.other / 4,
            duration: if is_frozen { rigour.frozen } else { rigour.other },
            held: 0,
            is_short: false,
        };
        let measuring = Measuring::usual(plan, 1, interrupted);
        let group = Group {
            exchanges: exchanges(Service::Echo),
            connections: self.connections,
            pace: self.pace,
        };
        let demand = LoadSpec::new(server.address, group, measuring.seed);
        let (one, _) = load::load(Some(&server), &demand, self.name, &measuring, &placement)?;
        Ok(self.predictions.iter().map(|it| it.compare(self.name, &one, rigour.near)).collect())
    }
}

impl Prediction {
    fn compare(&self, trial: &'static str, one: &Measurement, near: f64) -> Compared {
        let measured = (self.of)(one);
        let (predicted, is_right) = match self.predicted {
            Predicted::Near(value) => {
                let ratio = measured / value;
                (format!("{value:.0}"), ratio.max(1.0 / ratio) <= 1.0 + near)
            }
            Predicted::Exactly(value) => (format!("{value:.0}"), measured == value),
            Predicted::Same(of) => (format!("{:.0}", of(one)), measured == of(one)),
            Predicted::Beside(of) => (format!("{:.1}", of(one)), (measured - of(one)).abs() <= 1.0),
            Predicted::AtMost(value) => (format!("at most {value:.0}"), measured <= value),
        };
        Compared { trial, figure: self.figure, predicted, measured, is_right }
    }
}

/// Converts a time; an unknown one becomes NaN, which meets no prediction.
fn known(time: Option<u64>) -> f64 {
    time.map_or(f64::NAN, |ns| ns as f64)
}

fn p50(one: &Measurement) -> f64 {
    known(one.latency_intended_ns.p50)
}

fn p90(one: &Measurement) -> f64 {
    known(one.latency_intended_ns.p90)
}

fn p99(one: &Measurement) -> f64 {
    known(one.latency_intended_ns.p99)
}

fn max(one: &Measurement) -> f64 {
    known(one.latency_intended_ns.max)
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

fn is(one: &Measurement, verdict: Verdict) -> f64 {
    f64::from(u8::from(one.validity.verdict == verdict))
}

const fn near(figure: &'static str, of: fn(&Measurement) -> f64, value: f64) -> Prediction {
    Prediction { figure, of, predicted: Predicted::Near(value) }
}

const fn exactly(figure: &'static str, of: fn(&Measurement) -> f64, value: f64) -> Prediction {
    Prediction { figure, of, predicted: Predicted::Exactly(value) }
}

const fn open(per_s: f64) -> ArrivalProcess {
    ArrivalProcess::Open { arrivals: Arrivals::Constant, per_s }
}

const CLOSED: ArrivalProcess = ArrivalProcess::Closed { depth: 1 };

/// Predictions for a server that is frozen for one second of four. A quarter of independent
/// arrivals wait for the rest of that second: uniformly between 0 and 1 s. So 10 % wait for longer
/// than 0.6 s, and 1 % for longer than 0.96 s.
const FREEZE: &[Prediction] = &[near("p90", p90, 600.0 * MS), near("p99", p99, 960.0 * MS)];

/// All trials.
pub const TRIALS: &[Trial] = &[
    Trial {
        name: "delay, open loop",
        answer: "delay:20ms",
        connections: 8,
        pace: open(500.0),
        predictions: &[
            near("p50", p50, 20.0 * MS),
            near("p90", p90, 20.0 * MS),
            near("requests/s", rate, 500.0),
        ],
    },
    Trial {
        name: "delay, closed loop",
        answer: "delay:20ms",
        connections: 10,
        pace: CLOSED,
        predictions: &[near("p50", p50, 20.0 * MS), near("requests/s", rate, 500.0)],
    },
    Trial {
        name: "two humps, closed loop",
        answer: "two-humps:5ms,50ms,10",
        // Enough connections for the thousand requests of a p99, in one second on a machine that is
        // five times slower.
        connections: 50,
        pace: CLOSED,
        predictions: &[
            near("p50", p50, 5.0 * MS),
            near("p99", p99, 50.0 * MS),
            // 50 connections, each with 9.5 ms for a request on average.
            near("requests/s", rate, 50.0 / 0.0095),
        ],
    },
    Trial {
        name: "freeze, open loop, 500/s",
        answer: "freeze:1s,4s",
        connections: 8,
        pace: open(500.0),
        predictions: FREEZE,
    },
    Trial {
        name: "freeze, open loop, 10,000/s",
        answer: "freeze:1s,4s",
        connections: 8,
        pace: open(10_000.0),
        predictions: FREEZE,
    },
    Trial {
        name: "freeze, closed loop",
        answer: "freeze:1s,4s",
        connections: 8,
        pace: CLOSED,
        predictions: &[
            // Each connection has one request in four seconds that waits; the others are not even
            // sent. This p99 alone does not show the freeze (coordinated omission).
            Prediction { figure: "p99", of: p99, predicted: Predicted::AtMost(100.0 * MS) },
            near("max", max, 1000.0 * MS),
        ],
    },
    Trial {
        name: "five served, the rest reset",
        answer: "some:5",
        connections: 20,
        pace: CLOSED,
        predictions: &[
            exactly("connections served", |one| connections(one, Outcome::Answered), 5.0),
            exactly("connections reset", |one| connections(one, Outcome::Reset), 15.0),
            exactly("connections in all", |one| one.connections.sum() as f64, 20.0),
            exactly("called faulty", |one| is(one, Verdict::Faulty), 1.0),
        ],
    },
    Trial {
        name: "a wrong reply in a thousand",
        answer: "wrong:1000",
        connections: 4,
        pace: CLOSED,
        predictions: &[
            Prediction {
                figure: "wrong replies",
                of: |one| requests(one, Outcome::WrongReply),
                // The server counts lines of the warm-up, too.
                predicted: Predicted::Beside(|one| one.outcomes.sum() as f64 / 1000.0),
            },
            Prediction {
                figure: "latencies",
                of: |one| one.latency_sent_ns.count as f64,
                predicted: Predicted::Same(|one| requests(one, Outcome::Answered)),
            },
            exactly("called faulty", |one| is(one, Verdict::Faulty), 1.0),
        ],
    },
    Trial {
        name: "2,000 a second at most, closed loop",
        answer: "rate:2000",
        connections: 8,
        pace: CLOSED,
        predictions: &[near("requests/s", rate, 2000.0)],
    },
    Trial {
        name: "2,000 a second at most, 4,000 due",
        answer: "rate:2000",
        connections: 8,
        pace: open(4_000.0),
        predictions: &[
            near("requests/s", rate, 2000.0),
            exactly("called overloaded", |one| is(one, Verdict::Overloaded), 1.0),
        ],
    },
];
