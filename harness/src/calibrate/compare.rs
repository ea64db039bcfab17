//! Comparison of the load generator with a reference load generator, in rounds.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Result, bail};
use serde::Serialize;

use super::reference_generators::{ReferenceGenerator, ReferenceLoad};
use super::run::run;
use crate::interrupt;
use crate::load::placement::Placement;
use crate::load::{
    self, ArrivalProcess, Group, LoadSpec, Measurement, Measuring, Plan, RequestReply, Verdict,
};
use crate::selftest::known;
use crate::server::{Launcher, Server};

/// Numbers of connections, and of requests in flight on each, for the comparisons.
pub const LOADS: &[(usize, usize)] = &[(50, 1), (1_000, 1), (50, 16)];

/// Warm-up of the load generator. The reference generators have their own.
const WARM_UP: Duration = Duration::from_millis(200);

/// Result of a comparison with a reference generator: ratios of this generator's figure to the
/// other's, one per round, in ascending order.
#[derive(Clone, Debug, Serialize)]
pub struct Calibration {
    /// Name of the reference generator.
    pub rival: &'static str,
    /// Number of connections.
    pub connections: usize,
    /// Requests in flight on each connection.
    pub depth: usize,
    /// Ratios of the requests per second.
    pub throughput: Vec<f64>,
    /// Ratios of the generators' CPU time per request.
    pub cpu_per_request: Vec<f64>,
    /// Requests per second of the last round: this generator's, and the reference generator's.
    pub per_s: (f64, f64),
    /// Busy share of the server's CPU under this generator's load, in the last round.
    pub server_cpu_share: Option<f64>,
    /// Busy share of this generator in the last round.
    pub generator_cpu_share: f64,
    /// Caveats of this generator's runs, one for each run that is not valid.
    pub doubts: Vec<String>,
}

/// Compares the load generator with a reference generator in this number of rounds.
///
/// # Errors
/// The server cannot be launched, or a run fails.
pub fn compare(
    rival: &'static ReferenceGenerator,
    launcher: &Launcher,
    placement: &Placement,
    (connections, depth): (usize, usize),
    rounds: u32,
    duration: Duration,
) -> Result<Calibration> {
    let server = placement.launcher(launcher).launch(&known::spec(launcher, "echo"))?;
    let load =
        ReferenceLoad { connections, depth, duration, processor: placement.of_load_thread(0) };
    let mut compared = Calibration {
        rival: rival.name,
        connections,
        depth,
        throughput: Vec::new(),
        cpu_per_request: Vec::new(),
        per_s: (0.0, 0.0),
        server_cpu_share: None,
        generator_cpu_share: 0.0,
        doubts: Vec::new(),
    };
    for round in 0..rounds {
        if interrupt::flag().load(Relaxed) {
            break;
        }
        // Alternates the order, so that the advantage of being first cancels out.
        let rivals = |before: bool| match before == (round % 2 == 1) {
            true => run(rival, server.address, load).map(Some),
            false => Ok(None),
        };
        let first = rivals(true)?;
        let own = engine(&server, rival, (connections, depth), placement, duration)?;
        let Some(other) = first.or(rivals(false)?) else { bail!("a round has a rival's run") };
        if let Some(problem) = own.problem() {
            bail!("the engine against {} connections: {problem}", connections);
        }
        compared.throughput.push(own.throughput_per_s / other.per_s);
        let Some(own_cpu) = own.generator_cpu_ns_per_request else {
            bail!("the engine against {connections} connections: no request was answered");
        };
        compared.cpu_per_request.push(own_cpu as f64 / other.cpu_ns_per_request);
        if own.validity.verdict != Verdict::Valid {
            let (verdict, words) = (own.validity.verdict.name(), own.validity.words());
            compared.doubts.push(format!("{verdict}: {words}"));
        }
        compared.per_s = (own.throughput_per_s, other.per_s);
        compared.server_cpu_share = own.server.as_ref().and_then(|side| side.cpu_share);
        compared.generator_cpu_share = own.generator_cpu_share;
    }
    compared.throughput.sort_by(f64::total_cmp);
    compared.cpu_per_request.sort_by(f64::total_cmp);
    Ok(compared)
}

/// Runs the load generator with the reference generator's request bytes.
fn engine(
    server: &Server,
    rival: &ReferenceGenerator,
    (connections, depth): (usize, usize),
    placement: &Placement,
    duration: Duration,
) -> Result<Measurement> {
    let bytes = rival.request.to_vec();
    let group = Group {
        exchanges: vec![RequestReply { request: bytes.clone(), reply: bytes }],
        connections,
        pace: ArrivalProcess::Closed { depth: depth as u32 },
    };
    let demand = LoadSpec::new(server.address, group, 1);
    let plan = Plan { warm_up: WARM_UP, duration, held: 0, is_short: false };
    let measuring = Measuring::usual(plan, 1, interrupt::flag());
    Ok(load::load(Some(server), &demand, rival.name, &measuring, placement)?.0)
}

impl fmt::Display for Calibration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spread = |ratios: &[f64]| match ratios {
            [] => "none".to_owned(),
            [low, .., high] => {
                format!("{:.2}× ({low:.2} to {high:.2})", ratios[ratios.len() / 2])
            }
            [one] => format!("{one:.2}×"),
        };
        let (own, other) = self.per_s;
        write!(
            formatter,
            "{}, {} connections, depth {}: requests/s {} of it, processor time per request {}; \
             last {own:.0}/s and {other:.0}/s, busy: generator {:.0} %",
            self.rival,
            self.connections,
            self.depth,
            spread(&self.throughput),
            spread(&self.cpu_per_request),
            self.generator_cpu_share * 100.0,
        )?;
        if let Some(share) = self.server_cpu_share {
            write!(formatter, ", server {:.0} %", share * 100.0)?;
        }
        match &self.doubts[..] {
            [] => Ok(()),
            [first, ..] => {
                let (count, all) = (self.doubts.len(), self.throughput.len());
                write!(formatter, "; {count} of {all} runs of the engine in doubt, as {first}")
            }
        }
    }
}
