//! Measuring a server: a load, who watches it, and what that comes to.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use super::assessment::{ACHIEVED, P99};
use super::connections::PATIENCE;
use super::engine::{Course, Ran, Watch, run};
use super::idle_connections::IdleConnections;
use super::load_spec::{ArrivalProcess, Arrivals, LoadSpec};
use super::lost_time::LostTimeMeter;
use super::machine::Ticks;
use super::measurement::{About, Held, Measurement};
use super::placement::{Pin, Placement};
use super::recorder::{Clock, Interval, Recorder, thread_cpu_ns};
use super::reply_template::ReplyTemplate;
use super::server_stats::{Sampler, ServerSide};
use super::syscalls::SyscallCounter;
use super::validity::{Caveat, CaveatKind};
use super::workloads::{Load, Plan, Workload};
use crate::contract::Contract;
use crate::server::Server;
use crate::server::proc::Pid;

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

/// Rates that are tried, at the most, and how often the one that was found is tried for as long as any
/// other workload.
const MOST_TRIES: usize = 16;

/// How many tries of a search are made again, because the generator or the machine was to blame.
const RETRIES: usize = 4;

/// Requests that are due while a rate is tried, at the least: fewer have no p99.
const LEAST_TRIED: f64 = 1_100.0;

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
    (contract, dialog): (&Contract, &ReplyTemplate),
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
    demand: &LoadSpec,
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
        are_turned_away: demand.groups[1..].iter().any(|group| group.pace == ArrivalProcess::Churn),
        placement: placement.clone(),
        precision: measuring.precision,
    };
    Ok((Measurement::of(&ran, about, watcher.side), ran))
}

/// How many system calls the server makes for each right reply, if there was any; or why the
/// kernel does not let them be counted. What is counted is not timed.
fn syscalls(
    server: &Server,
    demand: &LoadSpec,
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

/// What trying a rate shows.
#[derive(Clone, Debug, PartialEq)]
enum Attempt {
    /// The server keeps up.
    Sustained,
    /// It does not.
    TooMuch,
    /// Nothing about the server: the generator or the machine is to blame, in words.
    NotCounted(String),
}

impl Attempt {
    fn of((one, ran): &(Measurement, Ran)) -> Attempt {
        if let Some(caveat) = one.validity.blames_generator() {
            return Attempt::NotCounted(caveat.words.clone());
        }
        let p99 = one.latency_intended_ns.p99;
        let is_fast = p99.is_some_and(|p99| u128::from(p99) <= LIMIT.as_nanos());
        match is_fast && ran.achieved() >= ACHIEVED && one.outcomes.is_all_answered() {
            true => Attempt::Sustained,
            false => Attempt::TooMuch,
        }
    }
}

/// The search for the highest rate that is sustained: rates are doubled, then halved in between.
struct Search {
    good: Option<f64>,
    bad: Option<f64>,
    /// Why the lowest bad rate says nothing about the server, if so.
    not_counted: Option<String>,
    rate: f64,
}

impl Search {
    fn new() -> Search {
        Search { good: None, bad: None, not_counted: None, rate: FIRST_RATE }
    }

    /// Takes note of what trying [`rate`](Self::rate) showed, and chooses the next one. Returns false
    /// if the search is over.
    fn goes_on(&mut self, attempt: Attempt) -> bool {
        match attempt {
            Attempt::Sustained => self.good = Some(self.rate),
            Attempt::TooMuch => (self.bad, self.not_counted) = (Some(self.rate), None),
            Attempt::NotCounted(words) => {
                (self.bad, self.not_counted) = (Some(self.rate), Some(words));
            }
        }
        self.rate = match (self.good, self.bad) {
            (Some(good), Some(bad)) if bad / good < NEAR => return false,
            (Some(good), Some(bad)) => (good * bad).sqrt(),
            (Some(good), None) => good * 2.0,
            // A lower rate makes the generator no faster, and the machine no less busy.
            (None, _) if self.rate <= LEAST_RATE || self.not_counted.is_some() => return false,
            (None, _) => (self.rate / 2.0).max(LEAST_RATE),
        };
        true
    }
}

/// The highest rate whose p99 is within the limit, measured as long as any other workload. Only runs
/// count that do not blame the generator or the machine; where no higher rate is reached because of
/// those, the result says so.
fn saturation(
    server: &Server,
    demand: &LoadSpec,
    name: &str,
    measuring: &Measuring<'_>,
    placement: &Placement,
) -> io::Result<(Measurement, Ran)> {
    let Plan { warm_up, duration, .. } = measuring.plan;
    let brief = Plan { warm_up: warm_up / 2, duration: duration / 2, ..measuring.plan };
    let mut demand = demand.clone();
    let mut retries = RETRIES;
    let mut at = |per_s: f64, plan: Plan, precision: Option<f64>| {
        demand.groups[0].pace = ArrivalProcess::Open { arrivals: Arrivals::Poisson, per_s };
        let duration = plan.duration.max(Duration::from_secs_f64(LEAST_TRIED / per_s));
        let measuring = Measuring { plan: Plan { duration, ..plan }, precision, ..*measuring };
        loop {
            let ran = load(Some(server), &demand, name, &measuring, placement)?;
            let attempt = Attempt::of(&ran);
            let is_over = retries == 0 || measuring.interrupted.load(Relaxed);
            if is_over || !matches!(attempt, Attempt::NotCounted(_)) {
                return Ok::<_, io::Error>((ran, attempt));
            }
            retries -= 1;
        }
    };
    let mut search = Search::new();
    for _ in 0..MOST_TRIES {
        if measuring.interrupted.load(Relaxed) || !search.goes_on(at(search.rate, brief, None)?.1) {
            break;
        }
    }
    // What was good for a moment may not be so for longer.
    let mut rate = search.good.unwrap_or(search.rate);
    let (mut not_counted, mut tries) = (search.not_counted, 0);
    let mut confirmed = loop {
        let (ran, attempt) = at(rate, measuring.plan, measuring.precision)?;
        tries += 1;
        let is_over = tries == MOST_TRIES || rate <= LEAST_RATE;
        // One that does not count says so itself: that a lower rate would, nobody knows.
        if attempt != Attempt::TooMuch || is_over || measuring.interrupted.load(Relaxed) {
            break ran;
        }
        not_counted = None;
        rate = (rate / NEAR).max(LEAST_RATE);
    };
    if let Some(why) = not_counted {
        let words = format!(
            "this rate is the limit of the generator or the machine, and the server's may be \
             higher: at a higher one, {why}"
        );
        confirmed.0.validity.add(Caveat { kind: CaveatKind::GeneratorLimit, words });
    }
    Ok(confirmed)
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
    let mut herd =
        IdleConnections::connect(address, service, connections, &mut connecting, &goes_on)?;
    let connected_in_ms = began.elapsed().as_millis() as u64;
    let mut sampler = Sampler::begin(server);
    let mut recorder = Recorder::new();
    let (clock_began, ticks) = (SystemTime::now(), Ticks::now());
    let (clock, cpu) = (Clock::start(), thread_cpu_ns());
    let (meter, began) = (LostTimeMeter::begin(clock.now()), Instant::now());
    herd.take_gaps();
    let duration = measuring.plan.duration;
    // Whole rounds, so that each asks as often as any other, unless that takes too long.
    let round_goes_on = || goes_on() && began.elapsed() < duration + PATIENCE;
    while goes_on() && herd.living() > 0 && began.elapsed() < duration {
        herd.ask_all(&mut recorder, &round_goes_on)?;
        sampler.look();
    }
    let elapsed = began.elapsed();
    let lost = meter.end(clock.now(), &herd.take_gaps());
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
        planned: duration,
        lost,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The rates that are tried where a server sustains less than so much, and the generator so much.
    fn searched(server: f64, generator: f64) -> Search {
        let mut search = Search::new();
        for _ in 0..MOST_TRIES {
            let attempt = match search.rate {
                rate if rate > generator => Attempt::NotCounted("it was late".to_owned()),
                rate if rate > server => Attempt::TooMuch,
                _ => Attempt::Sustained,
            };
            if !search.goes_on(attempt) {
                break;
            }
        }
        search
    }

    #[test]
    fn the_highest_rate_is_found_and_whose_limit_it_is() {
        let found = searched(50_000.0, f64::MAX);
        let good = found.good.expect("a rate");
        assert!((50_000.0 / NEAR..=50_000.0).contains(&good), "{good}");
        assert_eq!(found.not_counted, None);
        let found = searched(50_000.0, 20_000.0);
        let good = found.good.expect("a rate");
        assert!((20_000.0 / NEAR..=20_000.0).contains(&good), "{good}");
        assert_eq!(found.not_counted.as_deref(), Some("it was late"));
        // A slow server is found by lower rates, a slow generator is not.
        let good = searched(200.0, f64::MAX).good.expect("a rate");
        assert!((200.0 / NEAR..=200.0).contains(&good), "{good}");
        let found = searched(f64::MAX, 10.0);
        assert_eq!((found.good, found.rate), (None, FIRST_RATE));
        assert!(found.not_counted.is_some());
    }
}
