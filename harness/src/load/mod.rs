//! Measuring a server under load. Every reply is checked: a wrong one is an outcome, never a
//! latency.

mod engine;
mod exchange;
mod outcome;

pub use engine::{ClosedLoop, Recorder, Until};
pub use exchange::{Exchange, exchanges};
pub use outcome::{Outcome, Outcomes};

use std::time::{Duration, Instant};

use serde::Serialize;
use servers::Service;

use crate::server::Server;
use crate::server::proc::{Holdings, cpu_time};
use crate::stats::Quantiles;

/// A way to load a server.
#[derive(Debug)]
pub struct Workload {
    /// Its stable name.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// Connections, each with one request at a time under way.
    pub connections: usize,
}

/// The workloads, in the order of a report.
pub const WORKLOADS: &[Workload] = &[
    Workload { name: "closed-1", summary: "closed loop, 1 connection", connections: 1 },
    Workload { name: "closed-8", summary: "closed loop, 8 connections", connections: 8 },
    Workload { name: "closed-64", summary: "closed loop, 64 connections", connections: 64 },
];

/// How long to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Before anything is recorded.
    pub warm_up: Duration,
    /// While it is.
    pub duration: Duration,
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
    /// Why these figures are not to be believed, if so.
    pub problem: Option<String>,
}

/// Loads a running server.
///
/// # Errors
/// The kernel refuses the generator what it needs. What the server does wrong is an outcome.
pub fn measure(
    server: &Server,
    service: Service,
    workload: &Workload,
    plan: Plan,
) -> std::io::Result<Measurement> {
    let mut load = ClosedLoop::connect(server.address, exchanges(service), workload.connections)?;
    load.run(Until::Past(plan.warm_up), &mut Recorder::new())?;

    let tree = server.process.tree();
    let server_before = cpu_time(&tree);
    let generator_before = engine::thread_cpu_time();
    let began = Instant::now();
    let mut recorder = Recorder::new();
    load.run(Until::Past(plan.duration), &mut recorder)?;
    let elapsed = began.elapsed();
    let generator = engine::thread_cpu_time().saturating_sub(generator_before);
    let server_time = cpu_time(&tree).saturating_sub(server_before);

    let answered = recorder.outcomes.get(Outcome::Answered);
    let each = |time: Duration| time.as_nanos().checked_div(answered.into()).unwrap_or(0) as u64;
    Ok(Measurement {
        workload: workload.name.to_owned(),
        connections: workload.connections,
        duration_ms: elapsed.as_millis() as u64,
        problem: problem(&recorder.outcomes, &load.connection_outcomes()),
        outcomes: recorder.outcomes,
        connection_outcomes: load.connection_outcomes(),
        throughput_per_s: answered as f64 / elapsed.as_secs_f64(),
        latency_sent_ns: Quantiles::of(&recorder.latency),
        generator_cpu_ns_per_request: each(generator),
        server_cpu_ns_per_request: each(server_time),
        server: server.process.holdings(),
    })
}

fn problem(requests: &Outcomes, connections: &Outcomes) -> Option<String> {
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
    bad(requests, "requests").or_else(|| bad(connections, "connections"))
}
