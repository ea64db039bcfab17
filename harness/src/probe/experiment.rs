//! Experiments on a server whose protocol is known.

use servers::Service;

use super::dialect::{self, DetectedDialect};
use super::limits::{self, Observation};
use super::observer::ProbeObserver;
use super::protocol::{self, Echo, Protocol, QuitWords};
use super::target::ProbeTarget;
use crate::concurrency::{self, Detected};
use crate::conformance::{Case, cases};
use crate::contract::{Broadcast, Declared};

/// An experiment. The first five run first, because their results determine how the others run.
#[derive(Clone, Copy)]
enum Experiment {
    Pipelining,
    ConnectionsBeforeExit,
    Dialect,
    Echo,
    Broadcast,
    Quit,
    ConcurrencyModel,
    Contract(&'static Case),
}

/// Result of an experiment; `None` if inconclusive.
enum Outcome {
    Pipelining(Option<bool>),
    ConnectionsBeforeExit(Option<u32>),
    Dialect(DetectedDialect),
    Echo(Option<Echo>),
    Broadcast(Option<Broadcast>),
    Quit(QuitWords),
    ConcurrencyModel(Option<Box<Detected>>),
    Contract(Option<Box<Observation>>),
}

/// Results of the experiments on dialect, limits and concurrency model.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) dialect: Option<DetectedDialect>,
    pub(super) observations: Vec<Observation>,
    pub(super) detected_model: Option<Box<Detected>>,
    /// A word with which any client can make the server exit.
    pub(super) ends_server: Option<String>,
}

/// Runs all experiments. Sets further properties of the protocol, and the contract in `target`.
pub(super) fn run_all(
    target: &mut ProbeTarget,
    protocol: &mut Protocol,
    observer: &dyn ProbeObserver,
) -> Findings {
    let mut findings = Findings::default();
    let mut first = vec![Experiment::ConnectionsBeforeExit, Experiment::Pipelining];
    first.extend(match protocol.service {
        Service::Calc => [Experiment::Dialect, Experiment::Broadcast],
        Service::Echo => [Experiment::Echo, Experiment::Broadcast],
    });
    if protocol.broadcast.is_some() {
        // The sender of a message gets no reply, so these experiments have no result.
        first.clear();
    }
    let is_contract_case = |case: &&Case| {
        case.name.starts_with("contract/") && case.name != "contract/concurrency-model"
    };
    let contract_cases = cases().filter(is_contract_case).map(Experiment::Contract);
    // The longest one first.
    let quit = Some(Experiment::Quit).filter(|_| protocol.broadcast != Some(Broadcast::Others));
    let others: Vec<Experiment> =
        quit.into_iter().chain(contract_cases).chain([Experiment::ConcurrencyModel]).collect();
    observer.on_experiments(first.len() + others.len());
    observer.on_phase("detecting pipelining, and how the server computes replies");
    let run = |experiment: &Experiment, target: &ProbeTarget, protocol: &Protocol| {
        let outcome = experiment.run(target, protocol);
        observer.on_experiment_end();
        outcome
    };
    for outcome in target.each(&first, |it| run(it, target, protocol)) {
        findings.take(outcome, protocol);
    }
    let contract = &mut target.spec.contract;
    contract.service = protocol.service;
    contract.wire = protocol.wire.clone();
    contract.transform = protocol.transform();
    contract.broadcast = protocol.broadcast;
    contract.dialect = findings.dialect.as_ref().map(|it| it.dialect).unwrap_or_default();
    // With --connect, all experiments share one server. They must not overlap, because some of them
    // occupy all connection slots.
    let sequential = ProbeTarget { serves_several: false, ..target.clone() };
    observer.on_phase("detecting limits and the concurrency model");
    for outcome in sequential.each(&others, |it| run(it, target, protocol)) {
        findings.take(outcome, protocol);
    }
    findings
}

impl Findings {
    fn take(&mut self, outcome: Outcome, protocol: &mut Protocol) {
        match outcome {
            // Pipelining is the default, so only its absence is declared.
            Outcome::Pipelining(supported) => protocol.wire.pipelining = supported.filter(|it| !it),
            Outcome::ConnectionsBeforeExit(connections) => {
                protocol.wire.connections_before_exit = connections
            }
            Outcome::Echo(echo) => protocol.echo = echo.or(protocol.echo.take()),
            Outcome::Broadcast(broadcast) => protocol.broadcast = broadcast,
            Outcome::Quit(words) => {
                protocol.wire.quit = words.quit;
                self.ends_server = words.ends_server;
            }
            Outcome::Dialect(dialect) => self.dialect = Some(dialect),
            Outcome::ConcurrencyModel(model) => self.detected_model = model,
            Outcome::Contract(observation) => self.observations.extend(observation.map(|it| *it)),
        }
    }

    /// Describes the findings, one line each, with the properties that the entry declares.
    pub(super) fn lines(&self, declared: &Declared) -> Vec<String> {
        let mut lines = self.dialect.as_ref().map_or(Vec::new(), |it| it.lines.clone());
        if let Some(detected) = &self.detected_model {
            lines
                .push(format!("concurrency model: `{}`: {}", detected.model, detected.description));
        }
        if let Some(word) = &self.ends_server {
            let word = crate::text::printable(word.as_bytes());
            lines.push(format!(
                "{word} makes the server exit, so that any client can stop it for all others: this is \
                 a fault, and is not declared"
            ));
        }
        for (index, observation) in self.observations.iter().enumerate() {
            if !observation.repeats(&self.observations[..index]) {
                lines.push(observation.line(declared));
            }
        }
        lines
    }
}

impl Experiment {
    fn run(self, target: &ProbeTarget, protocol: &Protocol) -> Outcome {
        match self {
            Experiment::Pipelining => {
                Outcome::Pipelining(protocol::detect_pipelining(target, protocol))
            }
            Experiment::ConnectionsBeforeExit => {
                let connections = protocol::detect_connections_before_exit(target, protocol);
                Outcome::ConnectionsBeforeExit(connections)
            }
            Experiment::Echo => Outcome::Echo(protocol::detect_transform(target, protocol)),
            Experiment::Broadcast => {
                Outcome::Broadcast(protocol::detect_broadcast(target, protocol))
            }
            Experiment::Dialect => Outcome::Dialect(dialect::detect(target, protocol)),
            Experiment::Quit => Outcome::Quit(protocol::detect_quit(target, protocol)),
            Experiment::ConcurrencyModel => Outcome::ConcurrencyModel(detect_model(target)),
            Experiment::Contract(case) => {
                Outcome::Contract(limits::observe(target, case).map(Box::new))
            }
        }
    }
}

/// Detects the concurrency model with a new instance. `None` for a server that was already running.
fn detect_model(target: &ProbeTarget) -> Option<Box<Detected>> {
    if target.is_already_running() {
        return None;
    }
    let mut instance = target.instance().ok()?;
    instance.server().ok().map(|server| Box::new(concurrency::detect(server)))
}
