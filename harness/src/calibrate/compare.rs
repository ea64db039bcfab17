//! Comparison of the load generator with a reference load generator, in rounds.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Result, bail};
use serde::Serialize;

use super::reference_generators::{ReferenceGenerator, ReferenceLoad};
use super::run::run;
use crate::figures::count;
use crate::interrupt;
use crate::load::placement::Placement;
use crate::load::{
    self, ArrivalProcess, ConnectionGroup, LoadSpec, MeasurementSettings, Plan, RequestReply,
};
use crate::results::{Measurement, ValidityLabel};
use crate::selftest::known;
use crate::server::{Launcher, Server};

/// Loads of the comparisons: number of connections, and requests in flight on each connection.
pub const LOADS: &[(usize, usize)] = &[(50, 1), (1_000, 1), (50, 16)];

/// Warm-up of the load generator.
const WARM_UP: Duration = Duration::from_millis(200);

/// Result of a comparison with a reference generator. A ratio is the figure of the load generator
/// divided by the figure of the reference generator.
#[derive(Clone, Debug, Serialize)]
pub struct Calibration {
    /// Name of the reference generator.
    pub reference: &'static str,
    /// Number of connections.
    pub connections: usize,
    /// Requests in flight on each connection.
    pub depth: usize,
    /// Ratios of the requests per second, one per round, in ascending order.
    pub throughput: Vec<f64>,
    /// Ratios of the generators' CPU time per request, one per round, in ascending order.
    pub cpu_per_request: Vec<f64>,
    /// Requests per second in the last round, of the load generator and of the reference generator.
    pub per_s: (f64, f64),
    /// Busy share of the server under the load of the load generator, in the last round.
    pub server_cpu_share: Option<f64>,
    /// Busy share of the load generator in the last round.
    pub generator_cpu_share: f64,
    /// Caveats of the load generator's runs that are not valid, one text per run.
    pub doubts: Vec<String>,
}

/// Compares the load generator with a reference generator in this number of rounds.
///
/// # Errors
/// The server cannot be launched, or a run fails.
pub fn compare(
    reference: &'static ReferenceGenerator,
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
        reference: reference.name,
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
        let run_reference = |before: bool| match before == (round % 2 == 1) {
            true => run(reference, server.address, load).map(Some),
            false => Ok(None),
        };
        let first = run_reference(true)?;
        let own =
            run_load_generator(&server, reference, (connections, depth), placement, duration)?;
        let Some(other) = first.or(run_reference(false)?) else {
            bail!("the reference generator did not run in this round")
        };
        if let Some(problem) = own.problem() {
            bail!("the load generator with {} connections: {problem}", connections);
        }
        compared.throughput.push(own.throughput_per_s / other.per_s);
        let Some(own_cpu) = own.generator_cpu_ns_per_request else {
            bail!("the load generator with {connections} connections: no request was answered");
        };
        compared.cpu_per_request.push(own_cpu as f64 / other.cpu_ns_per_request);
        if own.validity.label != ValidityLabel::Valid {
            let (label, caveats) = (own.validity.label.name(), own.validity.text());
            compared.doubts.push(format!("{label}: {caveats}"));
        }
        compared.per_s = (own.throughput_per_s, other.per_s);
        compared.server_cpu_share = own.server_stats.as_ref().and_then(|stats| stats.cpu_share);
        compared.generator_cpu_share = own.generator_cpu_share;
    }
    compared.throughput.sort_by(f64::total_cmp);
    compared.cpu_per_request.sort_by(f64::total_cmp);
    Ok(compared)
}

/// Runs the load generator with the request bytes of the reference generator.
fn run_load_generator(
    server: &Server,
    reference: &ReferenceGenerator,
    (connections, depth): (usize, usize),
    placement: &Placement,
    duration: Duration,
) -> Result<Measurement> {
    let bytes = reference.request.to_vec();
    let group = ConnectionGroup {
        requests: vec![RequestReply { request: bytes.clone(), reply: bytes }],
        connections,
        arrival_process: ArrivalProcess::Closed { depth: depth as u32 },
    };
    let load_spec = LoadSpec::new(server.address, group, 1);
    let plan = Plan { warm_up: WARM_UP, duration, idle_connections: 0, ..Plan::ONE_RUN };
    let measuring = MeasurementSettings::new(plan, 1, interrupt::flag());
    Ok(load::load(Some(server), &load_spec, reference.name, &measuring, placement)?.0)
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
            "{}, {} connections, depth {}: ratio of requests/s {}, of CPU time per request {}; \
             last round {}/s and {}/s, busy: generator {:.0} %",
            self.reference,
            self.connections,
            self.depth,
            spread(&self.throughput),
            spread(&self.cpu_per_request),
            count(own),
            count(other),
            self.generator_cpu_share * 100.0,
        )?;
        if let Some(share) = self.server_cpu_share {
            write!(formatter, ", server {:.0} %", share * 100.0)?;
        }
        match &self.doubts[..] {
            [] => Ok(()),
            [first, ..] => {
                let (count, all) = (self.doubts.len(), self.throughput.len());
                write!(
                    formatter,
                    "; {count} of {all} runs of the load generator are not valid, such as {first}"
                )
            }
        }
    }
}
