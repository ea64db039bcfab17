//! Measurement of a server: runs a load, observes the server and assesses the result.

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

/// Number of intervals of a run: enough to detect a change.
const INTERVALS: u32 = 10;

/// Latency limit (p99) of the search for the highest sustained rate.
const LIMIT: Duration = Duration::from_millis(10);

/// First rate of the search, per second, and the ratio of failed to sustained rate that ends it.
const FIRST_RATE: f64 = 1_000.0;
const NEAR: f64 = 1.1;

/// Lowest rate of the search: with fewer requests the result would mean little.
const LEAST_RATE: f64 = 100.0;

/// Time for which system calls are counted.
const COUNTED: Duration = Duration::from_millis(100);

/// Maximum number of rates in the search, and of full runs to confirm the rate found.
const MOST_TRIES: usize = 16;

/// Number of attempts that are repeated because the generator or the machine disturbed them.
const RETRIES: usize = 4;

/// Minimum number of requests due at a rate: fewer have no p99.
const LEAST_TRIED: f64 = 1_100.0;

/// Settings of a measurement, besides the workload.
#[derive(Clone, Copy, Debug)]
pub struct Measuring<'a> {
    /// Durations and sizes.
    pub plan: Plan,
    /// CPU pinning of the server and the generators.
    pub pin: Pin,
    /// Number of generators.
    pub threads: usize,
    /// Random seed.
    pub seed: u64,
    /// Requested precision of the p99, relative to it: the run is extended until it is reached.
    pub precision: Option<f64>,
    /// Maximum duration of an extended run, as a multiple of the planned one.
    pub extended: u32,
    /// Whether to count the server's system calls, in a run of its own.
    pub syscalls: bool,
    /// Set to stop the measurement.
    pub interrupted: &'a AtomicBool,
}

impl<'a> Measuring<'a> {
    /// Returns the default settings: one generator, server and generator on separate CPUs, no
    /// extension.
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

    /// Returns the CPUs of the server and the generators. Launch the server with the placement's
    /// launcher.
    ///
    /// # Errors
    /// The kernel does not report the usable CPUs.
    pub fn placement(&self) -> io::Result<Placement> {
        Ok(Placement::find(self.pin, self.threads)?)
    }

    fn course(&self) -> Course {
        let Plan { warm_up, duration, .. } = self.plan;
        let at_most = if self.precision.is_some() { duration * self.extended } else { duration };
        Course { warm_up, duration, at_most, intervals: INTERVALS, threads: self.threads }
    }
}

/// Measures a running server with this number of connections.
///
/// # Errors
/// The server runs on other CPUs than planned, or the kernel denies the generator a resource.
/// Faults of the server are outcomes, not errors.
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

/// Runs a load spec against any listening server. `server` is its process, if the harness launched
/// it.
///
/// # Errors
/// The kernel denies the generator a resource. Faults of the server are outcomes, not errors.
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
        // The thread ends with the run, so the pinning need not be undone.
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

/// Counts the server's system calls per correct reply, if there was any reply. Returns the reason
/// if the kernel does not permit it. Counting slows the server, so this run gives no latency.
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
    // The count includes the warm-up, and so do the replies.
    let answered = ran.answered_in_all;
    Ok(Ok((answered > 0).then(|| calls as f64 / answered as f64)))
}

/// Observer that counts system calls once all connections are established.
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

/// Observer that samples the server from the warm-up to the last reply, and decides whether a run
/// is precise enough.
struct Watcher<'s> {
    server: Option<&'s Server>,
    sampler: Option<Sampler>,
    side: Option<ServerSide>,
    precision: Option<f64>,
    /// Sum of all intervals so far, if a precision is requested.
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
        // The server's resource use includes the warm-up, and so do the replies.
        self.side = self.sampler.take().map(|sampler| sampler.finish(answered));
    }
}

/// Result of an attempt at a rate.
#[derive(Clone, Debug, PartialEq)]
enum Attempt {
    /// The server sustains the rate.
    Sustained,
    /// The server does not sustain the rate.
    TooMuch,
    /// The attempt says nothing about the server: the generator or the machine limited it, with the
    /// reason.
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

/// Search for the highest sustained rate: doubles the rate, then bisects on a logarithmic scale.
struct Search {
    good: Option<f64>,
    bad: Option<f64>,
    /// Reason why the lowest failed rate says nothing about the server, if so.
    not_counted: Option<String>,
    rate: f64,
}

impl Search {
    fn new() -> Search {
        Search { good: None, bad: None, not_counted: None, rate: FIRST_RATE }
    }

    /// Records the result at [`rate`](Self::rate) and chooses the next rate. Returns false if the
    /// search is over.
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
            // A lower rate does not make the generator faster or the machine less busy.
            (None, _) if self.rate <= LEAST_RATE || self.not_counted.is_some() => return false,
            (None, _) => (self.rate / 2.0).max(LEAST_RATE),
        };
        true
    }
}

/// Finds the highest rate whose p99 is within the limit, and measures at it for the planned
/// duration.
///
/// Runs limited by the generator or the machine do not count. If they prevented a higher rate, the
/// result has a caveat.
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
    // A rate that was sustained briefly may not be sustained for longer.
    let mut rate = search.good.unwrap_or(search.rate);
    let (mut not_counted, mut tries) = (search.not_counted, 0);
    let mut confirmed = loop {
        let (ran, attempt) = at(rate, measuring.plan, measuring.precision)?;
        tries += 1;
        let is_over = tries == MOST_TRIES || rate <= LEAST_RATE;
        // A disturbed run has its own caveat; a lower rate might be disturbed just as well.
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
    // Whole rounds, so that all clients send equally often, unless a round takes too long.
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

    /// Simulates a search with these limits of the server and of the generator, in requests per
    /// second.
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
        // Lower rates help to find a slow server, but not a slow generator.
        let good = searched(200.0, f64::MAX).good.expect("a rate");
        assert!((200.0 / NEAR..=200.0).contains(&good), "{good}");
        let found = searched(f64::MAX, 10.0);
        assert_eq!((found.good, found.rate), (None, FIRST_RATE));
        assert!(found.not_counted.is_some());
    }
}
