//! A load run: generators on threads of their own, and the thread that controls them.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, SystemTime};

use super::generator::{Generator, Until};
use super::load_spec::{ArrivalProcess, Group, LoadSpec};
use super::lost_time::{LostTime, LostTimeMeter};
use super::machine::Ticks;
use super::outcome::Outcomes;
use super::recorder::{Clock, Interval, Recorder};

/// How often the controlling thread checks for an interruption.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Durations, intervals and threads of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Course {
    /// Warm-up before the recording starts.
    pub warm_up: Duration,
    /// Duration of the recording.
    pub duration: Duration,
    /// Maximum duration, if the run may be extended.
    pub at_most: Duration,
    /// Number of intervals that the duration is divided into.
    pub intervals: u32,
    /// Number of generators: threads, each with its share of the connections.
    pub threads: usize,
}

/// Result of a run, before assessment.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Wall-clock time at which the clock of the intervals was 0.
    pub clock_began: SystemTime,
    /// Number of generators, at most the number of connections.
    pub threads: usize,
    /// Intervals of the measured group, in order of time.
    pub intervals: Vec<Interval>,
    /// Replies that arrived after the end of the recording.
    pub after: Interval,
    /// One interval for each group of background clients. For idle clients it covers the
    /// connecting, when they send their only request.
    pub beside: Vec<Interval>,
    /// Outcomes of the connections, by group.
    pub connections: Vec<Outcomes>,
    /// Recorded time.
    pub elapsed: Duration,
    /// Planned recording time, without extensions.
    pub planned: Duration,
    /// Time that the generators lost.
    pub lost: LostTime,
    /// Share of the machine's CPU time that the hypervisor gave to other guests (steal), on a
    /// virtual machine.
    pub stolen: f64,
    /// Correct replies to the measured group, including the warm-up.
    pub answered_in_all: u64,
    /// Whether the run was interrupted.
    pub is_partial: bool,
}

impl Ran {
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

    /// Returns the number of requests of the measured group that were due.
    pub fn asked(&self) -> u64 {
        self.intervals.iter().chain([&self.after]).map(|interval| interval.asked).sum()
    }

    /// Returns the correct replies until the end, as a share of the requests that were due.
    pub fn achieved(&self) -> f64 {
        let replies: u64 = self.intervals.iter().map(|interval| interval.replies).sum();
        replies as f64 / self.asked().max(1) as f64
    }
}

/// Observer of a run, which may extend it.
pub trait Watch {
    /// Called when all connections are established, before the generators start.
    fn begins(&mut self) {}

    /// Called after each interval.
    fn goes_on(&mut self, _interval: &Interval) {}

    /// Returns whether the intervals so far are precise enough to end the run. Called shortly
    /// before each possible end.
    fn is_enough(&mut self, intervals: &[Interval]) -> bool;

    /// Called when the generators have stopped and the connections are still open, with the number
    /// of correct replies.
    fn ends(&mut self, _answered: u64) {}
}

/// No observer: the run is never extended.
impl Watch for () {
    fn is_enough(&mut self, _: &[Interval]) -> bool {
        true
    }
}

/// Runs a load on a server. Each generator's thread first calls `prepare` with its number.
///
/// # Errors
/// The kernel denies a generator a resource. Faults of the server are outcomes, not errors.
pub fn run(
    demand: &LoadSpec,
    course: Course,
    prepare: impl Fn(usize) -> io::Result<()> + Sync,
    watch: &mut dyn Watch,
    interrupted: &AtomicBool,
) -> io::Result<Ran> {
    let threads = course.threads.clamp(1, demand.groups[0].connections.max(1));
    let (clock, clock_began) = (Clock::start(), SystemTime::now());
    let end = AtomicU64::new(u64::MAX);
    thread::scope(|scope| {
        let (mut told, mut begins, mut generators) = (Vec::new(), Vec::new(), Vec::new());
        let (ready, are_ready) = channel();
        for number in 0..threads {
            let (tells, receiver) = channel();
            let (begin, begins_here) = channel();
            told.push(receiver);
            begins.push(begin);
            let (demand, ready) = (share(demand, number, threads), ready.clone());
            let (prepare, end, part) = (&prepare, &end, number as f64 / threads as f64);
            let generate = move || {
                let share = Share { demand, part, course, clock, end, interrupted };
                share.generate(|| prepare(number), &ready, &begins_here, tells)
            };
            let spawned = thread::Builder::new().name("generator".to_owned());
            generators.push(spawned.spawn_scoped(scope, generate)?);
        }
        drop(ready);
        let is_ready = (0..threads).all(|_| are_ready.recv() == Ok(true));
        if is_ready {
            watch.begins();
        }
        // Only now: connecting may take longer than the warm-up.
        let (before, began) = (Ticks::now(), clock.now() + course.warm_up.as_nanos() as u64);
        end.store(began + course.at_most.max(course.duration).as_nanos() as u64, Relaxed);
        if is_ready {
            begins.iter().for_each(|begin| begin.send(began).unwrap_or_default());
        }
        // A generator whose channel closes without a start time ends.
        drop(begins);
        let intervals = control(&told, course, (began, &end), watch, interrupted);
        let mut parts = Vec::new();
        for generator in generators {
            parts.extend(generator.join().expect("a generator does not panic")?);
        }
        let answered_in_all = parts.iter().map(|part| part.answered).sum();
        watch.ends(answered_in_all);
        let ran = Ran {
            clock_began,
            threads,
            intervals,
            after: Interval::new(began),
            beside: Vec::new(),
            connections: Vec::new(),
            elapsed: Duration::ZERO,
            planned: course.duration,
            lost: LostTime::default(),
            stolen: Ticks::now().stolen_since(before),
            answered_in_all,
            is_partial: interrupted.load(Relaxed),
        };
        Ok(gather(parts, ran))
    })
}

/// Task of one generator.
struct Share<'a> {
    demand: LoadSpec,
    /// Share of the generators that precede this one, from 0 to 1.
    part: f64,
    course: Course,
    clock: Clock,
    end: &'a AtomicU64,
    interrupted: &'a AtomicBool,
}

impl Share<'_> {
    /// Connects, reports whether that succeeded, waits for the start time and runs the load.
    fn generate(
        &self,
        prepare: impl Fn() -> io::Result<()>,
        ready: &Sender<bool>,
        begin: &Receiver<u64>,
        told: Sender<Interval>,
    ) -> io::Result<Option<Part>> {
        let groups = &self.demand.groups;
        let mut setup: Vec<Recorder> = groups.iter().map(|_| Recorder::new()).collect();
        let connect =
            |()| Generator::connect_by(&self.demand, &mut setup, self.clock, self.interrupted);
        let connected = prepare().and_then(connect);
        let _ = ready.send(connected.is_ok());
        let mut generator = connected?;
        let Ok(since) = begin.recv() else { return Ok(None) };
        let every = self.course.duration / self.course.intervals.max(1);
        let mut recorders: Vec<Recorder> =
            setup.iter().map(|_| Recorder::recording_since(since)).collect();
        recorders[0] = Recorder::telling(told, every, since);
        generator.ask_between_others(since, self.part);
        let meter = LostTimeMeter::begin(generator.now());
        generator.run(Until::Told(self.end), &mut recorders)?;
        let lost = meter.end(generator.now(), generator.gaps());
        let beside = (1..groups.len()).map(|group| match groups[group].pace {
            // Idle clients sent their requests while connecting.
            ArrivalProcess::Idle => setup[group].current().clone(),
            _ => recorders[group].current().clone(),
        });
        Ok(Some(Part {
            answered: recorders[0].answered(),
            lost,
            beside: beside.collect(),
            after: recorders[0].rest(generator.now()),
            connects: setup[0].current().clone(),
            connections: (0..setup.len()).map(|it| generator.connection_outcomes(it)).collect(),
            _generator: generator,
        }))
    }
}

/// Results of one generator, besides its intervals.
struct Part {
    answered: u64,
    lost: LostTime,
    /// Replies after the end.
    after: Interval,
    /// Connect times of the measured group, and the interval of each other group.
    connects: Interval,
    beside: Vec<Interval>,
    connections: Vec<Outcomes>,
    /// Keeps the connections open until the part is dropped.
    _generator: Generator,
}

/// Returns the share of generator `number` out of `threads`.
fn share(demand: &LoadSpec, number: usize, threads: usize) -> LoadSpec {
    let part = |all: usize| all / threads + usize::from(number < all % threads);
    let groups = demand
        .groups
        .iter()
        .map(|group| Group {
            exchanges: group.exchanges.clone(),
            connections: part(group.connections),
            pace: group.pace.shared(threads),
        })
        .collect();
    let seed = demand.seed.wrapping_add((number as u64) << 32);
    LoadSpec { groups, seed, ..demand.clone() }
}

/// Collects the intervals of all generators until they stop, and moves the end of the run.
fn control(
    told: &[Receiver<Interval>],
    course: Course,
    (began, end): (u64, &AtomicU64),
    watch: &mut dyn Watch,
    interrupted: &AtomicBool,
) -> Vec<Interval> {
    let mut intervals: Vec<Interval> = Vec::new();
    let duration = course.duration.as_nanos() as u64;
    let every = (duration / u64::from(course.intervals.max(1))).max(1);
    let number = |interval: &Interval| interval.start_ns.saturating_sub(began) / every;
    let (most, mut check) = (end.load(Relaxed), began + duration);
    let mut waiting: Vec<Option<Interval>> = told.iter().map(|_| None).collect();
    loop {
        for (receiver, waiting) in told.iter().zip(&mut waiting) {
            if waiting.is_none() {
                *waiting = next(receiver, end, interrupted);
            }
        }
        // Adds up intervals of the same time only: a stopped generator skips some intervals.
        let Some(first) = waiting.iter().flatten().map(number).min() else { return intervals };
        let of_all = waiting.iter_mut().filter_map(|it| it.take_if(|it| number(it) == first));
        let add = |mut all: Interval, one| {
            all.add(&one);
            all
        };
        let Some(together) = of_all.reduce(add) else { return intervals };
        let reached = together.start_ns + together.duration_ns;
        if together.duration_ns > 0 {
            watch.goes_on(&together);
            intervals.push(together);
        }
        // One interval ahead, so that the run can still end on time.
        let is_near = reached + every + every / 2 >= check;
        if is_near && check < most && end.load(Relaxed) == most {
            match watch.is_enough(&intervals) {
                true => end.store(check, Relaxed),
                false => check = (check + duration).min(most),
            }
        }
    }
}

/// Returns the next interval of a generator, or `None` when it has stopped.
fn next(told: &Receiver<Interval>, end: &AtomicU64, interrupted: &AtomicBool) -> Option<Interval> {
    loop {
        if interrupted.load(Relaxed) {
            // Ends at once: every clock value is past 0.
            end.store(0, Relaxed);
        }
        match told.recv_timeout(LOOK_EVERY) {
            Ok(interval) => return Some(interval),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Adds up the results that the generators have besides their intervals.
fn gather(parts: Vec<Part>, mut ran: Ran) -> Ran {
    let began = ran.after.start_ns;
    // The last generator to stop determines the recorded time.
    let ended = parts.iter().map(|part| part.after.start_ns).max().unwrap_or(began);
    ran.elapsed = Duration::from_nanos(ended.saturating_sub(began));
    ran.after.start_ns = ended;
    for part in &parts {
        ran.lost.add(&part.lost);
        ran.after.add(&part.after);
        ran.after.duration_ns = ran.after.duration_ns.max(part.after.duration_ns);
        ran.after.connects.add(&part.connects.connects).expect("the bounds are the same");
        ran.connections.resize(part.connections.len(), Outcomes::default());
        ran.connections.iter_mut().zip(&part.connections).for_each(|(all, one)| all.add_all(one));
        ran.beside.resize_with(part.beside.len(), || Interval::new(began));
        ran.beside.iter_mut().zip(&part.beside).for_each(|(all, one)| all.add(one));
    }
    ran
}

#[cfg(test)]
mod tests;
