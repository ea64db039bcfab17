//! Measuring a server: a load, who watches it, and what that comes to.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use super::connections::PATIENCE;
use super::demand::{Arrivals, Demand, Pace};
use super::dialog::Dialog;
use super::engine::{Course, Ran, Watch, run};
use super::herd::Herd;
use super::machine::Ticks;
use super::measurement::{About, Held, Measurement, P99};
use super::placement::{Pin, Placement};
use super::recorder::{Interval, Recorder, thread_cpu_ns};
use super::side::{Sampler, ServerSide};
use super::syscalls::SyscallCounter;
use super::workloads::{Load, Plan, Workload};
use crate::server::proc::Pid;
use crate::server::{Contract, Server};

/// Intervals of a run: enough to see a change.
const INTERVALS: u32 = 10;

/// The p99 that a rate must keep to be the one that is looked for.
const LIMIT: Duration = Duration::from_millis(10);

/// The first rate that is tried, per second, and how near the last two tries are.
const FIRST_RATE: f64 = 1_000.0;
const NEAR: f64 = 1.1;

/// A lower rate is not tried: too few requests would say nothing.
const LEAST_RATE: f64 = 100.0;

/// For how long system calls are counted.
const COUNTED: Duration = Duration::from_millis(100);

/// The part of what is due that is answered in time at a rate that is kept up with.
const KEPT_UP: f64 = 0.95;

/// Rates that are tried, at the most.
const MOST_TRIES: usize = 16;

/// How to measure, beside what a workload says.
#[derive(Clone, Copy, Debug)]
pub struct Measuring<'a> {
    /// For how long.
    pub plan: Plan,
    /// Who runs where.
    pub pin: Pin,
    /// Generators.
    pub threads: usize,
    /// For all chance.
    pub seed: u64,
    /// How precise the p99 is to be, as a part of it: the run is extended for that.
    pub precision: Option<f64>,
    /// How long it may become by that, as a multiple of the plan's duration.
    pub extended: u32,
    /// Whether to count the server's system calls, in a run of its own.
    pub syscalls: bool,
    /// Whether to stop now.
    pub interrupted: &'a AtomicBool,
}

impl<'a> Measuring<'a> {
    /// One generator, both parties on processors of their own, no more than the plan.
    pub fn usual(plan: Plan, seed: u64, interrupted: &'a AtomicBool) -> Measuring<'a> {
        let (pin, precision) = (Pin::default(), None);
        Measuring {
            plan,
            pin,
            threads: 1,
            seed,
            precision,
            extended: 1,
            syscalls: false,
            interrupted,
        }
    }

    /// Who runs where. The server is launched by the placement's launcher.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn placement(&self) -> io::Result<Placement> {
        Ok(Placement::find(self.pin, self.threads)?)
    }

    fn course(&self) -> Course {
        let Plan { warm_up, duration, .. } = self.plan;
        let at_most = if self.precision.is_some() { duration * self.extended } else { duration };
        Course { warm_up, duration, at_most, intervals: INTERVALS, threads: self.threads }
    }
}

/// Loads a running server with so many connections.
///
/// # Errors
/// The kernel refuses the generator what it needs. What the server does wrong is an outcome.
pub fn measure(
    server: &Server,
    (contract, dialog): (&Contract, &Dialog),
    workload: &Workload,
    connections: usize,
    measuring: &Measuring<'_>,
) -> io::Result<Measurement> {
    let placement = measuring.placement()?;
    if server.process.processors() != placement.of_server() {
        return Err(io::Error::other("the server was not launched on its processors"));
    }
    let demand = workload.demand(server.address, (contract, dialog), connections, measuring.seed);
    let (mut measurement, _) = match workload.load {
        Load::Held => return held(server, workload, connections, contract, measuring, &placement),
        Load::Saturation(_) => saturation(server, &demand, workload.name, measuring, &placement)?,
        _ => load(Some(server), &demand, workload.name, measuring, &placement)?,
    };
    if measuring.syscalls && matches!(workload.load, Load::Closed(..) | Load::Mixed(_)) {
        match syscalls(server, &demand, measuring)? {
            Ok(each) => measurement.syscalls_per_request = each,
            Err(reason) => measurement.syscalls_not_counted = Some(reason),
        }
    }
    Ok(measurement)
}

/// Puts a load on whoever listens where the demand says. `server` is who that is, if it was
/// launched here.
///
/// # Errors
/// The kernel refuses the generator what it needs. What the server does wrong is an outcome.
pub fn load(
    server: Option<&Server>,
    demand: &Demand,
    name: &str,
    measuring: &Measuring<'_>,
    placement: &Placement,
) -> io::Result<(Measurement, Ran)> {
    let measured = &demand.groups[0];
    let mut watcher = Watcher::of(server, measuring.precision);
    let pin = |number| match placement.pin_load_thread(number) {
        // The thread ends with the run.
        Ok(pinned) => {
            std::mem::forget(pinned);
            Ok(())
        }
        Err(error) => Err(error.into()),
    };
    let ran = run(demand, measuring.course(), pin, &mut watcher, measuring.interrupted)?;
    let about = About {
        workload: name.to_owned(),
        clients: measured.connections,
        offered_per_s: measured.pace.offered_per_s(),
        are_turned_away: demand.groups[1..].iter().any(|group| group.pace == Pace::Churn),
        placement: placement.clone(),
        precision: measuring.precision,
    };
    Ok((Measurement::of(&ran, about, watcher.side), ran))
}

/// How many system calls the server makes for each right reply, if there was any; or why the
/// kernel does not let them be counted. What is counted is not timed.
fn syscalls(
    server: &Server,
    demand: &Demand,
    measuring: &Measuring<'_>,
) -> io::Result<Result<Option<f64>, String>> {
    let mut counting =
        Counting { tree: server.process.tree(), counter: Err("it was interrupted".to_owned()) };
    let duration = COUNTED;
    let course = Course { warm_up: COUNTED / 4, duration, at_most: duration, ..measuring.course() };
    let ran = run(demand, course, |_| Ok(()), &mut counting, measuring.interrupted)?;
    let mut counter = match counting.counter {
        Ok(counter) => counter,
        Err(reason) => return Ok(Err(reason)),
    };
    let calls = counter.count()?;
    // Those of the warm-up are answered, too.
    let answered = ran.answered_in_all;
    Ok(Ok((answered > 0).then(|| calls as f64 / answered as f64)))
}

/// Counts the system calls from when all are connected.
struct Counting {
    tree: Vec<Pid>,
    counter: Result<SyscallCounter, String>,
}

impl Watch for Counting {
    fn begins(&mut self) {
        self.counter = SyscallCounter::attach(&self.tree);
    }

    fn is_enough(&mut self, _: &[Interval]) -> bool {
        true
    }
}

/// Samples the server, from the warm-up on to the last reply, and knows when a run is precise enough.
struct Watcher<'s> {
    server: Option<&'s Server>,
    sampler: Option<Sampler>,
    side: Option<ServerSide>,
    precision: Option<f64>,
    /// All intervals so far, where it is asked how precise they are.
    total: Interval,
}

impl Watcher<'_> {
    fn of(server: Option<&Server>, precision: Option<f64>) -> Watcher<'_> {
        Watcher { server, sampler: None, side: None, precision, total: Interval::new(0) }
    }
}

impl Watch for Watcher<'_> {
    fn begins(&mut self) {
        self.sampler = self.server.map(Sampler::begin);
    }

    fn goes_on(&mut self, interval: &Interval) {
        if let Some(sampler) = &mut self.sampler {
            sampler.look();
        }
        if self.precision.is_some() {
            self.total.add(interval);
        }
    }

    fn is_enough(&mut self, intervals: &[Interval]) -> bool {
        let Some(wanted) = self.precision else { return true };
        let Interval { intended, sent, .. } = &self.total;
        let latency = if intended.is_empty() { sent } else { intended };
        P99::of(intervals, latency).precision().is_some_and(|it| it <= wanted)
    }

    fn ends(&mut self, answered: u64) {
        // What the server did for the warm-up is in it, and so are the replies then.
        self.side = self.sampler.take().map(|sampler| sampler.finish(answered));
    }
}

/// The highest rate whose p99 is within the limit: rates are doubled, then halved in between; and
/// the best is measured as long as any other workload.
fn saturation(
    server: &Server,
    demand: &Demand,
    name: &str,
    measuring: &Measuring<'_>,
    placement: &Placement,
) -> io::Result<(Measurement, Ran)> {
    let brief = Measuring {
        plan: Plan {
            warm_up: measuring.plan.warm_up / 2,
            duration: measuring.plan.duration / 2,
            ..measuring.plan
        },
        precision: None,
        ..*measuring
    };
    let mut demand = demand.clone();
    let mut at = |per_s: f64, measuring: &Measuring<'_>| {
        demand.groups[0].pace = Pace::Open { arrivals: Arrivals::Poisson, per_s };
        load(Some(server), &demand, name, measuring, placement)
    };
    let (mut good, mut bad, mut rate) = (None, None, FIRST_RATE);
    for _ in 0..MOST_TRIES {
        if measuring.interrupted.load(Relaxed) {
            break;
        }
        match keeps_up(&at(rate, &brief)?) {
            true => good = Some(rate),
            false => bad = Some(rate),
        }
        rate = match (good, bad) {
            (Some(good), Some(bad)) if bad / good < NEAR => break,
            (Some(good), Some(bad)) => (good * bad).sqrt(),
            (Some(good), None) => good * 2.0,
            (None, _) if rate <= LEAST_RATE => break,
            (None, _) => (rate / 2.0).max(LEAST_RATE),
        };
    }
    // What was good for a moment may not be so for longer.
    let mut rate = good.unwrap_or(rate);
    loop {
        let confirmed = at(rate, measuring)?;
        if keeps_up(&confirmed) || rate <= LEAST_RATE || measuring.interrupted.load(Relaxed) {
            return Ok(confirmed);
        }
        rate = (rate / NEAR).max(LEAST_RATE);
    }
}

fn keeps_up((one, ran): &(Measurement, Ran)) -> bool {
    let is_fast = u128::from(one.latency_intended_ns.p99) <= LIMIT.as_nanos();
    is_fast && ran.achieved() >= KEPT_UP && one.outcomes.is_all_answered()
}

fn held(
    server: &Server,
    workload: &Workload,
    connections: usize,
    contract: &Contract,
    measuring: &Measuring<'_>,
    placement: &Placement,
) -> io::Result<Measurement> {
    let _pinned = placement.pin_load_thread(0)?;
    let before = server.process.holdings().anonymous_bytes;
    let began = Instant::now();
    let mut connecting = Recorder::new();
    let goes_on = || !measuring.interrupted.load(Relaxed);
    let (address, service) = (server.address, contract.service);
    let mut herd = Herd::connect(address, service, connections, &mut connecting, &goes_on)?;
    let connected_in_ms = began.elapsed().as_millis() as u64;
    let mut sampler = Sampler::begin(server);
    let mut recorder = Recorder::new();
    let (clock_began, ticks) = (SystemTime::now(), Ticks::now());
    let (began, cpu) = (Instant::now(), thread_cpu_ns());
    let duration = measuring.plan.duration;
    // Whole rounds, so that each asks as often as any other, unless that takes too long.
    let round_goes_on = || goes_on() && began.elapsed() < duration + PATIENCE;
    while goes_on() && herd.living() > 0 && began.elapsed() < duration {
        herd.ask_all(&mut recorder, &round_goes_on)?;
        sampler.look();
    }
    let elapsed = began.elapsed();
    let mut recorded = recorder.current().clone();
    recorded.duration_ns = elapsed.as_nanos() as u64;
    recorded.generator_cpu_ns = thread_cpu_ns() - cpu;
    recorded.connects = connecting.current().connects.clone();
    let answered_in_all = recorded.replies;
    let side = sampler.finish(answered_in_all);
    let grown = server.process.holdings().anonymous_bytes.saturating_sub(before);
    let ran = Ran {
        clock_began,
        threads: 1,
        after: Interval::new(recorded.duration_ns),
        intervals: vec![recorded],
        beside: Vec::new(),
        connections: vec![herd.connection_outcomes()],
        elapsed,
        answered_in_all,
        stolen: Ticks::now().stolen_since(ticks),
        is_partial: measuring.interrupted.load(Relaxed),
    };
    let about = About {
        workload: workload.name.to_owned(),
        clients: connections,
        offered_per_s: None,
        are_turned_away: false,
        placement: placement.clone(),
        precision: None,
    };
    let mut measurement = Measurement::of(&ran, about, Some(side));
    measurement.held = grown
        .checked_div(herd.living())
        .map(|each| Held { memory_per_connection_bytes: each, connected_in_ms });
    Ok(measurement)
}
