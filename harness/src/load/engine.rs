//! A run: generators on threads of their own, and who tells them when to stop.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::demand::{Demand, Group};
use super::generator::{Generator, Until};
use super::machine::Ticks;
use super::outcome::Outcomes;
use super::recorder::{Clock, Interval, Recorder};

/// How often the controlling thread looks whether the run is to be interrupted.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How a run goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Course {
    /// Before anything is recorded.
    pub warm_up: Duration,
    /// While it is.
    pub duration: Duration,
    /// How long it may become where it is extended.
    pub at_most: Duration,
    /// How many intervals the duration is divided into.
    pub intervals: u32,
    /// Generators, each a thread with its part of the connections.
    pub threads: usize,
}

/// What a run gave.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Of the measured group, in the order of time.
    pub intervals: Vec<Interval>,
    /// What came after the last request was due: the replies that were waited for.
    pub after: Interval,
    /// Of each group beside it, all together.
    pub beside: Vec<Interval>,
    /// What became of connections, by group.
    pub connections: Vec<Outcomes>,
    /// How long was recorded.
    pub elapsed: Duration,
    /// The part of the machine's processor time that others were given meanwhile, where it is a
    /// virtual one.
    pub stolen: f64,
    /// Right replies to the measured group, with those of the warm-up.
    pub answered_in_all: u64,
    /// Whether it was interrupted.
    pub is_partial: bool,
}

impl Ran {
    /// All of the measured group, with what came after the end.
    pub fn total(&self) -> Interval {
        let mut total = self.recorded();
        total.add(&self.after);
        total
    }

    /// What was recorded of the measured group until the end.
    pub fn recorded(&self) -> Interval {
        let mut total = Interval::new(self.intervals.first().map_or(0, |first| first.start_ns));
        self.intervals.iter().for_each(|interval| total.add(interval));
        total.duration_ns = self.elapsed.as_nanos() as u64;
        total
    }
}

/// Who watches a run, and may make it longer.
pub trait Watch {
    /// The measured intervals so far have come to be one more. Says whether the run is precise
    /// enough to end when its duration is over; it is asked so from the last but one on.
    fn is_enough(&mut self, intervals: &[Interval]) -> bool;

    /// The connections are made, and the generators begin.
    fn begins(&mut self) {}
}

/// Nobody: the run is as long as it is.
impl Watch for () {
    fn is_enough(&mut self, _: &[Interval]) -> bool {
        true
    }
}

/// Loads a server. `prepare` is called on the thread of each generator, with its number, first.
///
/// # Errors
/// The kernel refuses a generator what it needs. What the server does wrong is an outcome.
pub fn run(
    demand: &Demand,
    course: Course,
    prepare: impl Fn(usize) -> io::Result<()> + Sync,
    watch: &mut dyn Watch,
    interrupted: &AtomicBool,
) -> io::Result<Ran> {
    let threads = course.threads.clamp(1, demand.groups[0].connections.max(1));
    let (clock, end) = (Clock::start(), AtomicU64::new(u64::MAX));
    thread::scope(|scope| {
        let (mut told, mut begins, mut generators) = (Vec::new(), Vec::new(), Vec::new());
        let (ready, are_ready) = channel();
        for number in 0..threads {
            let (tells, receiver) = channel();
            let (begin, begins_here) = channel();
            told.push(receiver);
            begins.push(begin);
            let (share, ready) = (share(demand, number, threads), ready.clone());
            let (prepare, end) = (&prepare, &end);
            let generate = move || {
                let part = Share { demand: share, course, clock, end };
                part.generate(|| prepare(number), &ready, &begins_here, tells)
            };
            let spawned = thread::Builder::new().name("generator".to_owned());
            generators.push(spawned.spawn_scoped(scope, generate)?);
        }
        drop(ready);
        let is_ready = (0..threads).all(|_| are_ready.recv() == Ok(true));
        let began = clock.now() + course.warm_up.as_nanos() as u64;
        end.store(began + course.at_most.max(course.duration).as_nanos() as u64, Relaxed);
        let mut before = Ticks::now();
        if is_ready {
            watch.begins();
            before = Ticks::now();
            begins.iter().for_each(|begin| begin.send(began).unwrap_or_default());
        }
        // Whoever is told nothing ends.
        drop(begins);
        let intervals = control(&told, course, (began, &end), watch, interrupted);
        let mut parts = Vec::new();
        for generator in generators {
            parts.push(generator.join().expect("a generator does not panic")?);
        }
        let ran = gather(parts, intervals, began, end.load(Relaxed));
        let is_partial = interrupted.load(Relaxed);
        Ok(Ran { stolen: Ticks::now().stolen_since(before), is_partial, ..ran })
    })
}

/// What one generator is to do.
struct Share<'a> {
    demand: Demand,
    course: Course,
    clock: Clock,
    end: &'a AtomicU64,
}

impl Share<'_> {
    /// Connects, says whether that could be done, and begins when it is told from when on to
    /// record.
    fn generate(
        &self,
        prepare: impl Fn() -> io::Result<()>,
        ready: &Sender<bool>,
        begin: &Receiver<u64>,
        told: Sender<Interval>,
    ) -> io::Result<Part> {
        let groups = &self.demand.groups;
        let mut setup: Vec<Recorder> = groups.iter().map(|_| Recorder::new()).collect();
        let connected =
            prepare().and_then(|()| Generator::connect_by(&self.demand, &mut setup, self.clock));
        let _ = ready.send(connected.is_ok());
        let mut generator = connected?;
        let Ok(since) = begin.recv() else { return Ok(Part::default()) };
        let every = self.course.duration / self.course.intervals.max(1);
        let mut recorders: Vec<Recorder> = setup.iter().map(|_| Recorder::since(since)).collect();
        recorders[0] = Recorder::telling(told, every, since);
        generator.run(Until::Told(self.end), &mut recorders)?;
        recorders[0].finish(generator.now());
        Ok(Part {
            answered: recorders[0].answered(),
            connects: setup.iter().map(|it| it.current().clone()).collect(),
            beside: recorders[1..].iter().map(|it| it.current().clone()).collect(),
            connections: (0..setup.len()).map(|it| generator.connection_outcomes(it)).collect(),
        })
    }
}

/// What a generator has beside its intervals.
#[derive(Default)]
struct Part {
    answered: u64,
    /// Of each group, how it connected; of each but the measured one, what was recorded.
    connects: Vec<Interval>,
    beside: Vec<Interval>,
    connections: Vec<Outcomes>,
}

/// The part of one of so many generators.
fn share(demand: &Demand, number: usize, threads: usize) -> Demand {
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
    Demand { groups, seed, ..demand.clone() }
}

/// Gathers the intervals of all generators until they are done, and moves the end.
fn control(
    told: &[Receiver<Interval>],
    course: Course,
    (began, end): (u64, &AtomicU64),
    watch: &mut dyn Watch,
    interrupted: &AtomicBool,
) -> Vec<Interval> {
    let mut intervals: Vec<Interval> = Vec::new();
    let duration = course.duration.as_nanos() as u64;
    let every = duration / u64::from(course.intervals.max(1));
    let (most, mut check) = (end.load(Relaxed), began + duration);
    while let Some(together) = next(told, end, interrupted) {
        let reached = together.start_ns + together.duration_ns;
        intervals.push(together);
        let is_enough = watch.is_enough(&intervals);
        // Within the last interval before it, so that the run ends when it should.
        if reached + every + every / 2 >= check && check < most && end.load(Relaxed) == most {
            match is_enough {
                true => end.store(check, Relaxed),
                false => check = (check + duration).min(most),
            }
        }
    }
    intervals
}

/// The next interval of all generators together; none when they are done.
fn next(
    told: &[Receiver<Interval>],
    end: &AtomicU64,
    interrupted: &AtomicBool,
) -> Option<Interval> {
    let mut together: Option<Interval> = None;
    for receiver in told {
        let interval = loop {
            if interrupted.load(Relaxed) {
                // Now: no time is as early.
                end.store(0, Relaxed);
            }
            match receiver.recv_timeout(LOOK_EVERY) {
                Ok(interval) => break Some(interval),
                Err(RecvTimeoutError::Disconnected) => break None,
                Err(RecvTimeoutError::Timeout) => {}
            }
        };
        match (&mut together, interval) {
            (Some(together), Some(interval)) => together.add(&interval),
            (None, interval) => together = interval,
            (Some(_), None) => {}
        }
    }
    together
}

fn gather(parts: Vec<Part>, mut intervals: Vec<Interval>, began: u64, end: u64) -> Ran {
    // The last of each generator is what came after the end.
    let mut after = intervals.pop().unwrap_or_else(|| Interval::new(end));
    let ended = intervals.last().map_or(began, |last| last.start_ns + last.duration_ns);
    intervals.retain(|interval| interval.duration_ns > 0);
    let (mut connections, mut beside): (Vec<Outcomes>, Vec<Interval>) = (Vec::new(), Vec::new());
    let answered_in_all = parts.iter().map(|part| part.answered).sum();
    for part in parts {
        if let Some(first) = part.connects.first() {
            after.connects.add(&first.connects).expect("the bounds are the same");
        }
        connections.resize(part.connections.len(), Outcomes::default());
        connections.iter_mut().zip(&part.connections).for_each(|(all, one)| all.add_all(one));
        beside.resize_with(part.beside.len(), || Interval::new(began));
        beside.iter_mut().zip(&part.beside).for_each(|(all, one)| all.add(one));
    }
    let elapsed = Duration::from_nanos(ended.saturating_sub(began));
    Ran {
        intervals,
        after,
        beside,
        connections,
        elapsed,
        stolen: 0.0,
        answered_in_all,
        is_partial: false,
    }
}
