//! A running server and the generator that loads it in slices.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::load::generator::Generator;
use crate::load::generator::quota::Until;
use crate::load::load_spec::{ArrivalProcess, ConnectionGroup, LoadSpec};
use crate::load::placement::Placement;
use crate::load::recorder::Recorder;
use crate::load::reply_template::ReplyTemplate;
use crate::load::request_reply::exchanges_for;
use crate::results::{Outcome, Outcomes};
use crate::server::proc::{SchedStats, thread_sched_stats};
use crate::server::{LaunchError, LaunchSpec, Launcher, Server};

/// Timeout for the report of a server's exit, which arrives after its connections break.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);

/// Time for which each server is loaded before the measurement.
const WARM_UP: Duration = Duration::from_millis(50);

/// Failure of a server during the comparison: it did not start, or a request got no correct reply.
#[derive(Debug, thiserror::Error)]
#[error("{server} failed: {reason}")]
pub struct ServerFailure {
    /// Name of the server.
    pub server: String,
    /// Reason of the failure.
    pub reason: String,
}

/// A running server with connections to it.
#[derive(Debug)]
pub struct LoadedServer {
    /// Name of the server.
    pub name: String,
    /// The running server.
    pub running: Server,
    generator: Generator,
    recorders: [Recorder; 1],
    /// Number of requests answered so far.
    pub answered: u64,
    /// Time for which the server has been loaded.
    pub time: Duration,
    /// Scheduling statistics of the generator's thread while it loaded this server.
    pub generator_stats: SchedStats,
}

impl LoadedServer {
    /// Launches the server and connects to it. `timeout` applies to connecting and to each reply.
    ///
    /// # Errors
    /// [`ServerFailure`] if the server does not listen or does not answer. Other errors: the kernel
    /// denies the harness a resource.
    pub fn launch(
        launcher: &Launcher,
        spec: &LaunchSpec,
        (connections, timeout): (usize, Duration),
        placement: &Placement,
    ) -> Result<LoadedServer> {
        let failed = |reason: String| ServerFailure { server: spec.name.clone(), reason };
        let running = placement.launcher(launcher).launch(spec).map_err(|error| match error {
            LaunchError::NotVisible { .. }
            | LaunchError::NoPort(_)
            | LaunchError::Supervisor(_)
            | LaunchError::NoThread(_) => anyhow::Error::from(error),
            server_error => failed(server_error.to_string()).into(),
        })?;
        let template =
            ReplyTemplate::of(&spec.contract, running.address, timeout).map_err(failed)?;
        let exchanges = template.all(&exchanges_for(&spec.contract));
        let group = ConnectionGroup {
            requests: exchanges,
            connections,
            arrival_process: ArrivalProcess::Closed { depth: 1 },
        };
        let load_spec = LoadSpec {
            opening: template.opening.clone(),
            reply_timeout: timeout,
            ..LoadSpec::new(running.address, group, 0)
        };
        let mut recorders = [Recorder::new()];
        let generator = Generator::connect(&load_spec, &mut recorders)?;
        let loaded = LoadedServer {
            name: spec.name.clone(),
            running,
            generator,
            recorders,
            answered: 0,
            time: Duration::ZERO,
            generator_stats: SchedStats::default(),
        };
        loaded.check_connections()?;
        Ok(loaded)
    }

    /// Loads the server for this time and returns the correct replies per second.
    ///
    /// # Errors
    /// [`ServerFailure`] if a request gets no correct reply. Other errors: the kernel denies the
    /// generator a resource.
    pub fn slice(&mut self, time: Duration) -> Result<f64> {
        let before = thread_sched_stats();
        let answered_before = self.outcomes().get(Outcome::Answered);
        let began = Instant::now();
        self.generator.run(Until::Elapsed(time), &mut self.recorders)?;
        let elapsed = began.elapsed();
        self.time += elapsed;
        self.generator_stats += thread_sched_stats() - before;
        let answered = self.outcomes().get(Outcome::Answered) - answered_before;
        self.answered += answered;
        if !self.outcomes().is_all_answered() {
            return Err(self.failed("requests", self.outcomes()).into());
        }
        self.check_connections()?;
        if answered == 0 {
            return Err(self.failed("requests", &Outcomes::default()).into());
        }
        Ok(answered as f64 / elapsed.as_secs_f64())
    }

    fn outcomes(&self) -> &Outcomes {
        &self.recorders[0].current().outcomes
    }

    /// Checks that no connection was lost. Otherwise this server would have a lighter load than the
    /// other server.
    fn check_connections(&self) -> Result<(), ServerFailure> {
        let connections = self.generator.connection_outcomes(0);
        let lost = |outcome: &&Outcome| {
            !matches!(outcome, Outcome::Answered | Outcome::InFlight)
                && connections.get(**outcome) > 0
        };
        match Outcome::ALL.iter().find(lost) {
            None => Ok(()),
            Some(_) => Err(self.failed("connections", &connections)),
        }
    }

    fn failed(&self, what: &str, outcomes: &Outcomes) -> ServerFailure {
        let bad = Outcome::ALL.iter().filter(|&&outcome| outcome != Outcome::Answered);
        let counts: Vec<String> = bad
            .filter(|outcome| outcomes.get(**outcome) > 0)
            .map(|outcome| format!("{} {}", outcomes.get(*outcome), outcome.label()))
            .collect();
        let mut reason = match counts.is_empty() {
            true => "no request was answered".to_owned(),
            false => format!("{what}: {}", counts.join(", ")),
        };
        let lost = [Outcome::Reset, Outcome::Closed, Outcome::Refused];
        if lost.iter().any(|&outcome| outcomes.get(outcome) > 0)
            && let Some(exit) = self.running.process.wait_for_exit(EXIT_TIMEOUT)
        {
            reason = format!("the server exited ({exit}); {reason}");
        }
        ServerFailure { server: self.name.clone(), reason }
    }
}

/// Two servers that are loaded in turn.
#[derive(Debug)]
pub struct Pair {
    /// The compared server, and its reference.
    pub servers: [LoadedServer; 2],
    slice: Duration,
    /// Index of the server that is loaded first in the next call of [`ratio`](Self::ratio).
    first: usize,
}

impl Pair {
    /// Warms both servers up, starting with `first`. Call this in the thread that loads the
    /// servers.
    ///
    /// # Errors
    /// See [`LoadedServer::slice`].
    pub fn new(servers: [LoadedServer; 2], slice: Duration, first: usize) -> Result<Pair> {
        let mut pair = Pair { servers, slice, first };
        for which in [first, 1 - first] {
            pair.servers[which].slice(WARM_UP)?;
        }
        Ok(pair)
    }

    /// Loads each server in two slices, and returns the ratio of the throughputs.
    ///
    /// The order of the slices is A, B, B, A, so that a steady drift of the machine's speed cancels
    /// out. The next call starts with B.
    ///
    /// # Errors
    /// See [`LoadedServer::slice`].
    pub fn ratio(&mut self) -> Result<f64> {
        let (first, second) = (self.first, 1 - self.first);
        let mut rates = [0.0; 2];
        for which in [first, second, second, first] {
            rates[which] += self.servers[which].slice(self.slice)?;
        }
        self.first = second;
        Ok(rates[0] / rates[1])
    }
}
