//! Settings of a measurement, and one measured run.

use std::io;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::assessment::p99::P99;
use super::engine::{Observer, RunResult, RunSettings, run};
use super::interval::Interval;
use super::load_spec::{ArrivalProcess, LoadSpec};
use super::placement::{Pin, Placement};
use super::run_description::RunDescription;
use super::server_stats::Sampler;
use super::timeouts::REPLY_TIMEOUT;
use super::workloads::Plan;
use crate::results::Measurement;
use crate::results::ServerStats;
use crate::server::Server;

/// Number of intervals of a run: enough for a test of stationarity.
pub(super) const INTERVALS: u32 = 10;

/// Settings of a measurement, without the workload.
#[derive(Clone, Copy, Debug)]
pub struct MeasurementSettings<'a> {
    /// Durations and sizes.
    pub plan: Plan,
    /// Timeout for connecting, and for each reply.
    pub timeout: Duration,
    /// CPU pinning of the server and the generators.
    pub pin: Pin,
    /// Number of generators.
    pub threads: usize,
    /// Random seed.
    pub seed: u64,
    /// Requested precision of the p99, if any, relative to the p99. The run is extended until the
    /// p99 is that precise.
    pub precision: Option<f64>,
    /// Maximum duration of an extended run, as a multiple of the planned duration.
    pub extended: u32,
    /// Whether to count the server's system calls, in an additional run.
    pub syscalls: bool,
    /// Set to stop the measurement.
    pub interrupted: &'a AtomicBool,
}

impl<'a> MeasurementSettings<'a> {
    /// Returns the default settings: the default timeout, one generator, server and generator on
    /// separate CPUs, no extension.
    pub fn new(plan: Plan, seed: u64, interrupted: &'a AtomicBool) -> MeasurementSettings<'a> {
        let (pin, precision) = (Pin::default(), None);
        MeasurementSettings {
            plan,
            timeout: REPLY_TIMEOUT,
            pin,
            threads: 1,
            seed,
            precision,
            extended: 1,
            syscalls: false,
            interrupted,
        }
    }

    /// Returns the CPUs of the server and the generators. Launch the server with
    /// [`Placement::launcher`].
    ///
    /// # Errors
    /// The kernel does not report the usable CPUs.
    pub fn placement(&self) -> io::Result<Placement> {
        Ok(Placement::find(self.pin, self.threads)?)
    }

    pub(super) fn run_settings(&self) -> RunSettings {
        let Plan { warm_up, duration, .. } = self.plan;
        let at_most = if self.precision.is_some() { duration * self.extended } else { duration };
        RunSettings { warm_up, duration, at_most, intervals: INTERVALS, threads: self.threads }
    }
}

/// An event of a run, for display during the run.
#[derive(Clone, Copy, Debug)]
pub enum LiveEvent<'i> {
    /// All connections are established, and the warm-up begins.
    Start,
    /// The records of an interval, or of a part of an interval.
    Part(&'i Interval),
}

/// Receiver of the events of a run, and the maximum time between two parts.
pub type LiveEvents<'e> = (Duration, &'e mut dyn FnMut(LiveEvent<'_>));

/// Runs a load spec against any listening server. `server` is the process of the server, if the
/// harness launched it. Its resource use is unknown if its processes are.
///
/// # Errors
/// The kernel denies the generator a resource. Faults of the server are outcomes, not errors.
pub fn load(
    server: Option<&Server>,
    load_spec: &LoadSpec,
    name: &str,
    settings: &MeasurementSettings<'_>,
    placement: &Placement,
) -> io::Result<(Measurement, RunResult)> {
    load_live(server, load_spec, name, settings, placement, None)
}

/// Like [`load`], with events during the run.
///
/// # Errors
/// As [`load`].
pub fn load_live(
    server: Option<&Server>,
    load_spec: &LoadSpec,
    name: &str,
    settings: &MeasurementSettings<'_>,
    placement: &Placement,
    live: Option<LiveEvents<'_>>,
) -> io::Result<(Measurement, RunResult)> {
    let server = server.filter(|server| server.process.supervisor().is_some());
    let measured = &load_spec.groups[0];
    let mut watcher = SamplingObserver { live, ..SamplingObserver::of(server, settings.precision) };
    let pin = |number| match placement.pin_load_thread(number) {
        // The thread ends with the run, so its affinity need not be restored.
        Ok(pinned) => {
            std::mem::forget(pinned);
            Ok(())
        }
        Err(error) => Err(error.into()),
    };
    let ran = run(load_spec, settings.run_settings(), pin, &mut watcher, settings.interrupted)?;
    let description = RunDescription {
        workload: name.to_owned(),
        clients: measured.connections,
        offered_per_s: measured.arrival_process.offered_per_s(),
        expects_rejections: load_spec.groups[1..]
            .iter()
            .any(|group| group.arrival_process == ArrivalProcess::Churn),
        reconnects: load_spec.reconnect,
        placement: placement.clone(),
        precision: settings.precision,
    };
    let mut measurement = Measurement::of(&ran, description, watcher.server_stats);
    if let Some(series) = &mut measurement.time_series {
        for (share, sampled) in series.server_cpu_share.iter_mut().zip(watcher.cpu_shares) {
            *share = sampled;
        }
    }
    Ok((measurement, ran))
}

/// Samples the server from the warm-up to the last reply, and decides whether the run is precise
/// enough.
struct SamplingObserver<'s, 'e> {
    server: Option<&'s Server>,
    sampler: Option<Sampler>,
    server_stats: Option<ServerStats>,
    /// The server's share of a CPU in each interval.
    cpu_shares: Vec<Option<f64>>,
    precision: Option<f64>,
    /// Sum of all intervals so far, if a precision is requested.
    total: Interval,
    live: Option<LiveEvents<'e>>,
}

impl<'s> SamplingObserver<'s, '_> {
    fn of(server: Option<&'s Server>, precision: Option<f64>) -> Self {
        SamplingObserver {
            server,
            sampler: None,
            server_stats: None,
            cpu_shares: Vec::new(),
            precision,
            total: Interval::new(0),
            live: None,
        }
    }
}

impl Observer for SamplingObserver<'_, '_> {
    fn on_start(&mut self) {
        self.sampler = self.server.map(Sampler::begin);
        if let Some((_, live)) = &mut self.live {
            live(LiveEvent::Start);
        }
    }

    fn report_every(&self) -> Option<Duration> {
        self.live.as_ref().map(|(every, _)| *every)
    }

    fn on_report(&mut self, part: &Interval) {
        if let Some((_, live)) = &mut self.live {
            live(LiveEvent::Part(part));
        }
    }

    fn on_interval(&mut self, interval: &Interval) {
        self.cpu_shares.push(self.sampler.as_mut().and_then(Sampler::sample_if_due));
        if self.precision.is_some() {
            self.total.add(interval);
        }
    }

    fn is_precise_enough(&mut self, intervals: &[Interval]) -> bool {
        let Some(requested) = self.precision else { return true };
        let Interval { scheduled, sent, .. } = &self.total;
        let latency = if scheduled.is_empty() { sent } else { scheduled };
        P99::of(intervals, latency).precision().is_some_and(|reached| reached <= requested)
    }

    fn on_end(&mut self, answered: u64) {
        // Both the resource use and the replies include the warm-up.
        self.server_stats = self.sampler.take().map(|sampler| sampler.finish(answered));
    }
}
