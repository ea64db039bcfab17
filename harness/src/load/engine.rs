//! A load run: each generator has a thread, and the calling thread controls them.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, SystemTime};

use super::clock::Clock;
use super::generator::Generator;
use super::generator::quota::Until;
use super::interval::Interval;
use super::load_spec::{ArrivalProcess, ConnectionGroup, LoadSpec};
use super::lost_time::{LostTime, LostTimeMeter};
use super::machine::Ticks;
use super::recorder::Recorder;
use crate::results::{LocalErrors, Outcomes};

/// Maximum time between two checks for an interruption.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Durations, intervals and threads of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunSettings {
    /// Warm-up before the recording starts.
    pub warm_up: Duration,
    /// Duration of the recording.
    pub duration: Duration,
    /// Maximum duration of the recording, with extensions.
    pub at_most: Duration,
    /// Number of intervals in `duration`.
    pub intervals: u32,
    /// Number of generators. Each is a thread with its share of the connections.
    pub threads: usize,
}

impl RunSettings {
    /// Returns the number of equal parts of an interval, for reports at most `maximum` apart.
    fn parts(&self, maximum: Option<Duration>) -> u32 {
        let interval = self.duration / self.intervals.max(1);
        let parts = maximum.map_or(1, |it| interval.as_nanos().div_ceil(it.as_nanos().max(1)));
        u32::try_from(parts).unwrap_or(u32::MAX).max(1)
    }

    /// Returns the time between two reports of a generator.
    fn report_every(&self, maximum: Option<Duration>) -> Duration {
        self.duration / self.intervals.max(1) / self.parts(maximum)
    }
}

/// Result of a run, before assessment.
#[derive(Clone, Debug)]
pub struct RunResult {
    /// Wall-clock time at the start of the run's clock.
    pub clock_began: SystemTime,
    /// Number of generators, at most the number of connections.
    pub threads: usize,
    /// Intervals of the measured group, in order of time.
    pub intervals: Vec<Interval>,
    /// Interval after the end of the recording, in which missing replies arrive.
    pub after: Interval,
    /// One interval for each group of background clients. For idle clients, it covers the setup,
    /// in which they send their only request.
    pub background: Vec<Interval>,
    /// Outcomes of the connections, by group.
    pub connections: Vec<Outcomes>,
    /// Errors of this machine and of the network, in all groups.
    pub local_errors: LocalErrors,
    /// Recorded time.
    pub elapsed: Duration,
    /// Planned recording time, without extensions.
    pub planned: Duration,
    /// Time in which the generators could not run.
    pub lost: LostTime,
    /// Share of the machine's CPU time that the hypervisor gave to other guests (steal), on a
    /// virtual machine.
    pub stolen: f64,
    /// Number of correct replies to the measured group, including the warm-up.
    pub answered_with_warm_up: u64,
    /// Whether the run was interrupted.
    pub is_partial: bool,
}

impl RunResult {
    /// Returns the sum of the measured group's intervals, including the replies after the end.
    pub fn total(&self) -> Interval {
        let mut total = self.recorded();
        total.add(&self.after);
        total
    }

    /// Returns the sum of the measured group's intervals until the end.
    pub fn recorded(&self) -> Interval {
        let mut total = Interval::new(self.intervals.first().map_or(0, |first| first.start_ns));
        self.intervals.iter().for_each(|interval| total.add(interval));
        total.duration_ns = self.elapsed.as_nanos() as u64;
        total
    }

    /// Returns the number of scheduled requests of the measured group.
    pub fn requests(&self) -> u64 {
        self.intervals.iter().chain([&self.after]).map(|interval| interval.requests).sum()
    }

    /// Returns the correct replies until the end, as a share of the scheduled requests.
    pub fn achieved(&self) -> f64 {
        let replies: u64 = self.intervals.iter().map(|interval| interval.replies).sum();
        replies as f64 / self.requests().max(1) as f64
    }
}

/// Observes a run, and may extend it.
pub trait Observer {
    /// Called when all connections are established, before the generators start.
    fn on_start(&mut self) {}

    /// Called after each interval.
    fn on_interval(&mut self, _interval: &Interval) {}

    /// Returns the maximum time between two calls of [`on_report`](Self::on_report). `None`: one
    /// call after each interval. The figures of the run do not depend on it.
    fn report_every(&self) -> Option<Duration> {
        None
    }

    /// Called after each interval, or after each part of an interval, with the records of this
    /// part.
    fn on_report(&mut self, _part: &Interval) {}

    /// Returns whether the intervals so far are precise enough to end the run. Called shortly
    /// before each possible end.
    fn is_precise_enough(&mut self, intervals: &[Interval]) -> bool;

    /// Called when the generators have stopped and the connections are still open. `_answered` is
    /// the number of correct replies, including the warm-up.
    fn on_end(&mut self, _answered: u64) {}
}

/// Does nothing: the run is never extended.
impl Observer for () {
    fn is_precise_enough(&mut self, _: &[Interval]) -> bool {
        true
    }
}

/// Runs a load on a server. Each generator's thread first calls `prepare` with the generator's
/// number.
///
/// # Errors
/// The kernel denies a generator a resource. Faults of the server are outcomes, not errors.
pub fn run(
    load_spec: &LoadSpec,
    settings: RunSettings,
    prepare: impl Fn(usize) -> io::Result<()> + Sync,
    observer: &mut dyn Observer,
    interrupted: &AtomicBool,
) -> io::Result<RunResult> {
    let threads = settings.threads.clamp(1, load_spec.groups[0].connections.max(1));
    let (clock, clock_began) = (Clock::start(), SystemTime::now());
    let end = AtomicU64::new(u64::MAX);
    let report_every = settings.report_every(observer.report_every());
    thread::scope(|scope| {
        let (mut interval_rxs, mut start_txs, mut generators) =
            (Vec::new(), Vec::new(), Vec::new());
        let (ready_tx, ready_rx) = channel();
        for number in 0..threads {
            let (interval_tx, interval_rx) = channel();
            let (start_tx, start_rx) = channel();
            interval_rxs.push(interval_rx);
            start_txs.push(start_tx);
            let load_spec = split_load(load_spec, number, threads);
            let ready_tx = ready_tx.clone();
            let (prepare, end, phase) = (&prepare, &end, number as f64 / threads as f64);
            let generate = move || {
                let task =
                    GeneratorTask { load_spec, phase, report_every, clock, end, interrupted };
                task.generate(|| prepare(number), &ready_tx, &start_rx, interval_tx)
            };
            let spawned = thread::Builder::new().name("generator".to_owned());
            generators.push(spawned.spawn_scoped(scope, generate)?);
        }
        drop(ready_tx);
        let all_ready = (0..threads).all(|_| ready_rx.recv() == Ok(true));
        if all_ready {
            observer.on_start();
        }
        // The start time is set when all connections are open: connecting may take longer than the
        // warm-up.
        let (before, began) = (Ticks::now(), clock.now() + settings.warm_up.as_nanos() as u64);
        end.store(began + settings.at_most.max(settings.duration).as_nanos() as u64, Relaxed);
        if all_ready {
            start_txs.iter().for_each(|start_tx| start_tx.send(began).unwrap_or_default());
        }
        // A generator exits if its channel closes before it receives a start time.
        drop(start_txs);
        let intervals = control(&interval_rxs, settings, (began, &end), observer, interrupted);
        let mut results = Vec::new();
        for generator in generators {
            results.extend(generator.join().expect("no panic in a generator")?);
        }
        let answered_with_warm_up = results.iter().map(|result| result.answered).sum();
        observer.on_end(answered_with_warm_up);
        let result = RunResult {
            clock_began,
            threads,
            intervals,
            after: Interval::new(began),
            background: Vec::new(),
            connections: Vec::new(),
            local_errors: LocalErrors::default(),
            elapsed: Duration::ZERO,
            planned: settings.duration,
            lost: LostTime::default(),
            stolen: Ticks::now().stolen_since(before),
            answered_with_warm_up,
            is_partial: interrupted.load(Relaxed),
        };
        Ok(gather(results, result))
    })
}

/// Task of one generator.
struct GeneratorTask<'a> {
    load_spec: LoadSpec,
    /// Phase of this generator's schedule: its number divided by the number of generators.
    phase: f64,
    /// Time between two reports to the controlling thread.
    report_every: Duration,
    clock: Clock,
    end: &'a AtomicU64,
    interrupted: &'a AtomicBool,
}

impl GeneratorTask<'_> {
    /// Connects, reports whether connecting succeeded, waits for the start time and runs the load.
    fn generate(
        &self,
        prepare: impl Fn() -> io::Result<()>,
        ready_tx: &Sender<bool>,
        start_rx: &Receiver<u64>,
        interval_tx: Sender<Interval>,
    ) -> io::Result<Option<GeneratorResult>> {
        let groups = &self.load_spec.groups;
        let mut setup: Vec<Recorder> = groups.iter().map(|_| Recorder::new()).collect();
        let connect =
            |()| Generator::connect_by(&self.load_spec, &mut setup, self.clock, self.interrupted);
        let connected = prepare().and_then(connect);
        let _ = ready_tx.send(connected.is_ok());
        let mut generator = connected?;
        let Ok(since) = start_rx.recv() else { return Ok(None) };
        let mut recorders: Vec<Recorder> =
            setup.iter().map(|_| Recorder::recording_since(since)).collect();
        recorders[0] = Recorder::reporting_to(interval_tx, self.report_every, since);
        generator.align_schedules(since, self.phase);
        let meter = LostTimeMeter::begin(generator.now());
        generator.run(Until::ClockReaches(self.end), &mut recorders)?;
        let lost = meter.end(generator.now(), generator.gaps());
        let background = (1..groups.len()).map(|group| match groups[group].arrival_process {
            // Idle clients sent their requests while connecting.
            ArrivalProcess::Idle => setup[group].current().clone(),
            _ => recorders[group].current().clone(),
        });
        Ok(Some(GeneratorResult {
            answered: recorders[0].answered(),
            lost,
            background: background.collect(),
            after: recorders[0].take_interval(generator.now()),
            connects: setup[0].current().clone(),
            connections: (0..setup.len())
                .map(|group| generator.connection_outcomes(group))
                .collect(),
            local_errors: generator.local_errors().clone(),
            _generator: generator,
        }))
    }
}

/// Results of one generator, without the intervals of the recording.
struct GeneratorResult {
    answered: u64,
    lost: LostTime,
    /// Interval of the measured group after the end of the recording.
    after: Interval,
    /// Interval of the measured group during setup, with the connect times.
    connects: Interval,
    /// One interval for each group of background clients.
    background: Vec<Interval>,
    /// Outcomes of the connections, by group.
    connections: Vec<Outcomes>,
    local_errors: LocalErrors,
    /// Keeps the connections open until the result is dropped.
    _generator: Generator,
}

/// Returns the load of generator `number` out of `threads`.
fn split_load(load_spec: &LoadSpec, number: usize, threads: usize) -> LoadSpec {
    let portion = |all: usize| all / threads + usize::from(number < all % threads);
    let groups = load_spec
        .groups
        .iter()
        .map(|group| ConnectionGroup {
            requests: group.requests.clone(),
            connections: portion(group.connections),
            arrival_process: group.arrival_process.divided(threads),
        })
        .collect();
    let seed = load_spec.seed.wrapping_add((number as u64) << 32);
    LoadSpec { groups, seed, ..load_spec.clone() }
}

/// Collects the intervals of all generators until they stop, and ends the run when it is precise
/// enough.
fn control(
    interval_rxs: &[Receiver<Interval>],
    settings: RunSettings,
    (began, end): (u64, &AtomicU64),
    observer: &mut dyn Observer,
    interrupted: &AtomicBool,
) -> Vec<Interval> {
    let mut intervals: Vec<Interval> = Vec::new();
    let duration = settings.duration.as_nanos() as u64;
    let parts = u64::from(settings.parts(observer.report_every()));
    let report_every = settings.report_every(observer.report_every()).as_nanos().max(1) as u64;
    let every = report_every * parts;
    let number = |interval: &Interval| interval.start_ns.saturating_sub(began) / report_every;
    // The current interval, and its number.
    let mut current: Option<(u64, Interval)> = None;
    let (latest_end, mut next_end) = (end.load(Relaxed), began + duration);
    let mut pending: Vec<Option<Interval>> = interval_rxs.iter().map(|_| None).collect();
    loop {
        for (interval_rx, pending) in interval_rxs.iter().zip(&mut pending) {
            if pending.is_none() {
                *pending = next_interval(interval_rx, end, interrupted);
            }
        }
        // Adds up intervals with the same number only: a generator that was stopped for a while
        // skips numbers.
        let Some(first) = pending.iter().flatten().map(number).min() else { break };
        let of_first = pending.iter_mut().filter_map(|it| it.take_if(|it| number(it) == first));
        let add = |mut sum: Interval, interval| {
            sum.add(&interval);
            sum
        };
        let Some(merged) = of_first.reduce(add) else { break };
        let reached = merged.start_ns + merged.duration_ns;
        observer.on_report(&merged);
        if let Some((_, over)) = current.take_if(|(number, _)| *number != first / parts) {
            keep(over, &mut intervals, observer);
        }
        let interval = match current.take() {
            None => merged,
            Some((_, mut interval)) => {
                interval.add(&merged);
                interval.duration_ns = reached.saturating_sub(interval.start_ns);
                interval
            }
        };
        if first % parts + 1 < parts {
            current = Some((first / parts, interval));
            continue;
        }
        keep(interval, &mut intervals, observer);
        // Decides before the last interval ends, so that the generators read the new end in time.
        let is_near = reached + every + every / 2 >= next_end;
        if is_near && next_end < latest_end && end.load(Relaxed) == latest_end {
            match observer.is_precise_enough(&intervals) {
                true => end.store(next_end, Relaxed),
                false => next_end = (next_end + duration).min(latest_end),
            }
        }
    }
    if let Some((_, interval)) = current {
        keep(interval, &mut intervals, observer);
    }
    intervals
}

/// Adds an interval that is over, unless it is empty.
fn keep(interval: Interval, intervals: &mut Vec<Interval>, observer: &mut dyn Observer) {
    if interval.duration_ns > 0 {
        observer.on_interval(&interval);
        intervals.push(interval);
    }
}

/// Returns the next interval of a generator, or `None` when the generator has stopped.
fn next_interval(
    interval_rx: &Receiver<Interval>,
    end: &AtomicU64,
    interrupted: &AtomicBool,
) -> Option<Interval> {
    loop {
        if interrupted.load(Relaxed) {
            // Ends the run at once: the clock is past 0.
            end.store(0, Relaxed);
        }
        match interval_rx.recv_timeout(CHECK_INTERVAL) {
            Ok(interval) => return Some(interval),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Adds the results of the generators to the result of the run.
fn gather(results: Vec<GeneratorResult>, mut result: RunResult) -> RunResult {
    let began = result.after.start_ns;
    // The last generator to stop determines the recorded time.
    let ended = results.iter().map(|result| result.after.start_ns).max().unwrap_or(began);
    result.elapsed = Duration::from_nanos(ended.saturating_sub(began));
    result.after.start_ns = ended;
    for own in &results {
        result.lost.add(&own.lost);
        result.after.add(&own.after);
        result.after.duration_ns = result.after.duration_ns.max(own.after.duration_ns);
        let connects = &mut result.after.connects;
        connects.add(&own.connects.connects).expect("all histograms have the same bounds");
        result.local_errors.add_all(&own.local_errors);
        result.connections.resize(own.connections.len(), Outcomes::default());
        result.connections.iter_mut().zip(&own.connections).for_each(|(sum, own)| sum.add_all(own));
        result.background.resize_with(own.background.len(), || Interval::new(began));
        result.background.iter_mut().zip(&own.background).for_each(|(sum, own)| sum.add(own));
    }
    result
}

#[cfg(test)]
mod tests;
