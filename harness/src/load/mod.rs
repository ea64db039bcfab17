//! Measuring a server under load. Every reply is checked: a wrong one is an outcome, never a
//! latency.

mod closed_loop;
mod connections;
mod exchange;
mod herd;
mod outcome;

pub use closed_loop::{ClosedLoop, Until};
pub use connections::Recorder;
pub use exchange::{Exchange, exchanges};
pub use herd::{Herd, WINDOW};
pub use outcome::{Outcome, Outcomes};

use std::io;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};
use serde::Serialize;
use servers::Service;

use crate::server::proc::{Holdings, cpu_time};
use crate::server::{Contract, Server};
use crate::stats::Quantiles;

/// A way to load a server.
#[derive(Debug)]
pub struct Workload {
    /// Its stable name.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// Who asks when.
    pub load: Load,
}

/// Who asks when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// So many connections, each with one request at a time under way.
    Closed(usize),
    /// As many connections as the plan says, or as the server takes, all held; [`WINDOW`] of them
    /// ask at a time.
    Held,
}

/// The workloads, in the order of a report.
pub const WORKLOADS: &[Workload] = &[
    Workload { name: "closed-1", summary: "closed loop, 1 connection", load: Load::Closed(1) },
    Workload { name: "closed-8", summary: "closed loop, 8 connections", load: Load::Closed(8) },
    Workload { name: "closed-64", summary: "closed loop, 64 connections", load: Load::Closed(64) },
    Workload {
        name: "held",
        summary: "10,000 connections held, or as many as the server takes, each answered",
        load: Load::Held,
    },
];

/// Fewer connections say nothing about holding many.
pub const LEAST_HELD: usize = 1_000;

/// Descriptors that this process needs beside its connections.
const RESERVED_DESCRIPTORS: usize = 64;

/// How much to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Before anything is recorded.
    pub warm_up: Duration,
    /// While it is.
    pub duration: Duration,
    /// How many connections to hold.
    pub held: usize,
}

impl Workload {
    /// How many connections it makes to a server with this contract.
    ///
    /// # Errors
    /// Why such a server is not loaded so, in words.
    pub fn connections(&self, contract: &Contract, plan: Plan) -> Result<usize, String> {
        let serves = contract.capacity.unwrap_or(usize::MAX);
        let (connections, least) = match self.load {
            Load::Closed(connections) => (connections, connections),
            Load::Held => (plan.held.min(serves), LEAST_HELD),
        };
        if serves < least {
            return Err(match serves {
                1 => "it serves one client at a time".to_owned(),
                clients => format!("it serves {clients} clients at once"),
            });
        }
        if self.load == Load::Held && contract.service != Service::Echo {
            return Err("what is answered makes no difference, so it is measured with echo".into());
        }
        enough_descriptors(connections).map(|()| connections)
    }
}

/// Whether this process may hold so many connections.
///
/// # Errors
/// Why not, in words.
pub fn enough_descriptors(connections: usize) -> Result<(), String> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((u64::MAX, u64::MAX));
    if soft >= (connections + RESERVED_DESCRIPTORS) as u64 {
        return Ok(());
    }
    Err(format!(
        "the harness may open {soft} descriptors, too few for {connections} clients (ulimit -n)"
    ))
}

/// What one server did under one workload.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    /// The workload's name.
    pub workload: String,
    /// Connections asked for.
    pub connections: usize,
    /// How long was recorded, in milliseconds.
    pub duration_ms: u64,
    /// What became of the requests.
    pub outcomes: Outcomes,
    /// What became of the connections; `answered` are those that lasted.
    pub connection_outcomes: Outcomes,
    /// Right replies per second.
    pub throughput_per_s: f64,
    /// From sending a request to its right reply. In a closed loop a slow reply delays the next
    /// request, so this is what a client saw, not what an independent arrival would have.
    pub latency_sent_ns: Quantiles,
    /// Processor time of the generator for each right reply.
    pub generator_cpu_ns_per_request: u64,
    /// Processor time of the server's processes for each right reply, to 10 ms in all.
    pub server_cpu_ns_per_request: u64,
    /// What the server held at the end, its clients connected.
    pub server: Holdings,
    /// What holding the connections took, where that is what the workload is about.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// Why these figures are not to be believed, if so.
    pub problem: Option<String>,
}

/// What holding many connections took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Anonymous resident memory of the server's processes for each connection: what they hold
    /// with all connected and answered, less what they held with none.
    pub memory_per_connection_bytes: u64,
    /// How long it took until all were connected and answered once, in milliseconds.
    pub connected_in_ms: u64,
}

/// Loads a running server with so many connections.
///
/// # Errors
/// The kernel refuses the generator what it needs. What the server does wrong is an outcome.
pub fn measure(
    server: &Server,
    service: Service,
    workload: &Workload,
    connections: usize,
    plan: Plan,
) -> io::Result<Measurement> {
    match workload.load {
        Load::Closed(_) => closed(server, service, workload, connections, plan),
        Load::Held => held(server, service, workload, connections, plan),
    }
}

fn closed(
    server: &Server,
    service: Service,
    workload: &Workload,
    connections: usize,
    plan: Plan,
) -> io::Result<Measurement> {
    let mut load = ClosedLoop::connect(server.address, exchanges(service), connections)?;
    load.run(Until::Past(plan.warm_up), &mut Recorder::new())?;
    let figures = Figures::of(server, |recorder| load.run(Until::Past(plan.duration), recorder))?;
    Ok(figures.measurement(server, workload, connections, load.connection_outcomes()))
}

fn held(
    server: &Server,
    service: Service,
    workload: &Workload,
    connections: usize,
    plan: Plan,
) -> io::Result<Measurement> {
    let before = server.process.holdings().anonymous_bytes;
    let began = Instant::now();
    let mut herd = Herd::connect(server.address, service, connections, &mut Recorder::new())?;
    let connected_in_ms = began.elapsed().as_millis() as u64;
    let figures = Figures::of(server, |recorder| {
        // Whole rounds, so that each asks as often as any other.
        let began = Instant::now();
        while herd.living() > 0 && began.elapsed() < plan.duration {
            herd.ask_all(recorder)?;
        }
        Ok(())
    })?;
    let outcomes = herd.connection_outcomes();
    let mut measurement = figures.measurement(server, workload, connections, outcomes);
    let grown = measurement.server.anonymous_bytes.saturating_sub(before);
    measurement.held = grown
        .checked_div(herd.living())
        .map(|each| Held { memory_per_connection_bytes: each, connected_in_ms });
    Ok(measurement)
}

/// What was recorded while a server was loaded.
struct Figures {
    recorder: Recorder,
    elapsed: Duration,
    generator: Duration,
    server: Duration,
}

impl Figures {
    fn of(
        server: &Server,
        load: impl FnOnce(&mut Recorder) -> io::Result<()>,
    ) -> io::Result<Figures> {
        let mut recorder = Recorder::new();
        let tree = server.process.tree();
        let server_before = cpu_time(&tree);
        let generator_before = connections::thread_cpu_time();
        let began = Instant::now();
        load(&mut recorder)?;
        let elapsed = began.elapsed();
        let generator = connections::thread_cpu_time().saturating_sub(generator_before);
        let server = cpu_time(&tree).saturating_sub(server_before);
        Ok(Figures { recorder, elapsed, generator, server })
    }

    fn measurement(
        self,
        server: &Server,
        workload: &Workload,
        connections: usize,
        connection_outcomes: Outcomes,
    ) -> Measurement {
        let outcomes = self.recorder.outcomes;
        let answered = outcomes.get(Outcome::Answered);
        let each =
            |time: Duration| time.as_nanos().checked_div(answered.into()).unwrap_or(0) as u64;
        Measurement {
            workload: workload.name.to_owned(),
            connections,
            duration_ms: self.elapsed.as_millis() as u64,
            problem: problem(&outcomes, connections, &connection_outcomes),
            outcomes,
            connection_outcomes,
            throughput_per_s: answered as f64 / self.elapsed.as_secs_f64(),
            latency_sent_ns: Quantiles::of(&self.recorder.latency),
            generator_cpu_ns_per_request: each(self.generator),
            server_cpu_ns_per_request: each(self.server),
            server: server.process.holdings(),
            held: None,
        }
    }
}

fn problem(requests: &Outcomes, asked_for: usize, connections: &Outcomes) -> Option<String> {
    if requests.get(Outcome::Answered) == 0 {
        return Some("no request was answered".to_owned());
    }
    let bad = |outcomes: &Outcomes, what: &str| {
        let words: Vec<String> = Outcome::ALL
            .iter()
            .filter(|&&outcome| outcome != Outcome::Answered && outcomes.get(outcome) > 0)
            .map(|&outcome| format!("{} {}", outcomes.get(outcome), outcome.words()))
            .collect();
        (!words.is_empty()).then(|| format!("{what}: {}", words.join(", ")))
    };
    let connected = connections.get(Outcome::Answered);
    let too_few = || {
        (connected < asked_for as u64).then(|| format!("{connected} of {asked_for} were connected"))
    };
    bad(requests, "requests").or_else(|| bad(connections, "connections")).or_else(too_few)
}
