//! Measurement of idle connections: the server's memory per connection.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Instant, SystemTime};

use super::clock::{Clock, thread_cpu_ns};
use super::engine::RunResult;
use super::idle_connections::IdleConnections;
use super::interval::Interval;
use super::lost_time::LostTimeMeter;
use super::machine::Ticks;
use super::measurement_settings::MeasurementSettings;
use super::placement::Placement;
use super::recorder::Recorder;
use super::run_description::RunDescription;
use super::server_stats::Sampler;
use super::workloads::Workload;
use crate::contract::Contract;
use crate::results::{IdleConnectionCost, Measurement, MemoryAt, ServerStats};
use crate::server::Server;

/// Number of samples of the server's memory while connections are established.
const GROWTH_SAMPLES: usize = 10;

/// Opens this number of connections, and sends requests on all of them for the planned duration.
pub(super) fn measure_idle(
    server: &Server,
    workload: &Workload,
    connections: usize,
    contract: &Contract,
    settings: &MeasurementSettings<'_>,
    placement: &Placement,
) -> io::Result<Measurement> {
    let _pinned = placement.pin_load_thread(0)?;
    let before = server.process.resource_usage().anonymous_bytes;
    let began = Instant::now();
    let mut connecting = Recorder::new();
    let keep_going = || !settings.interrupted.load(Relaxed);
    let (address, service) = (server.address, contract.service);
    let mut growth = vec![MemoryAt { connections: 0, anonymous_bytes: before }];
    let every = connections.div_ceil(GROWTH_SAMPLES);
    let mut sample = |connected: usize| {
        if connected.is_multiple_of(every) {
            let anonymous_bytes = server.process.resource_usage().anonymous_bytes;
            growth.push(MemoryAt { connections: connected as u64, anonymous_bytes });
        }
    };
    let mut idle = IdleConnections::connect(
        address,
        (service, settings.timeout),
        connections,
        &mut connecting,
        &keep_going,
        &mut sample,
    )?;
    let connected_in_ms = began.elapsed().as_millis() as u64;
    let (ran, server_stats) = request_in_rounds(server, &mut idle, connecting.current(), settings)?;
    let grown = server.process.resource_usage().anonymous_bytes.saturating_sub(before);
    let description = RunDescription {
        workload: workload.name.to_owned(),
        clients: connections,
        offered_per_s: None,
        expects_rejections: false,
        reconnects: false,
        placement: placement.clone(),
        precision: None,
    };
    let mut measurement = Measurement::of(&ran, description, Some(server_stats));
    measurement.idle_connections =
        grown.checked_div(idle.answered_and_open()).map(|memory_per_connection_bytes| {
            IdleConnectionCost { memory_per_connection_bytes, connected_in_ms, growth }
        });
    measurement.runs = vec![measurement.run_figures()];
    Ok(measurement)
}

/// Repeatedly sends a request on every connection. `connecting` has the connect times.
fn request_in_rounds(
    server: &Server,
    idle: &mut IdleConnections,
    connecting: &Interval,
    settings: &MeasurementSettings<'_>,
) -> io::Result<(RunResult, ServerStats)> {
    let mut sampler = Sampler::begin(server);
    let mut recorder = Recorder::new();
    let (clock_began, ticks) = (SystemTime::now(), Ticks::now());
    let (clock, cpu) = (Clock::start(), thread_cpu_ns());
    let (meter, began) = (LostTimeMeter::begin(clock.now()), Instant::now());
    idle.take_gaps();
    let duration = settings.plan.duration;
    let keep_going = || !settings.interrupted.load(Relaxed);
    // Completes each round, so that all clients send equally often, unless the round takes too
    // long.
    let round_may_continue = || keep_going() && began.elapsed() < duration + settings.timeout;
    while keep_going() && idle.answered_and_open() > 0 && began.elapsed() < duration {
        idle.request_all(&mut recorder, &round_may_continue)?;
        sampler.sample_if_due();
    }
    let elapsed = began.elapsed();
    let lost = meter.end(clock.now(), &idle.take_gaps());
    let mut recorded = recorder.current().clone();
    recorded.duration_ns = elapsed.as_nanos() as u64;
    recorded.generator_cpu_ns = thread_cpu_ns() - cpu;
    recorded.connects = connecting.connects.clone();
    let answered_with_warm_up = recorded.replies;
    let server_stats = sampler.finish(answered_with_warm_up);
    let ran = RunResult {
        clock_began,
        threads: 1,
        after: Interval::new(recorded.duration_ns),
        intervals: vec![recorded],
        background: Vec::new(),
        connections: vec![idle.connection_outcomes()],
        local_errors: idle.local_errors().clone(),
        elapsed,
        planned: duration,
        lost,
        answered_with_warm_up,
        stolen: Ticks::now().stolen_since(ticks),
        is_partial: settings.interrupted.load(Relaxed),
    };
    Ok((ran, server_stats))
}
