//! Interleaved comparison of two servers.
//!
//! Both stay up, and the load alternates between them in short slices, so that disturbances of the
//! machine affect both alike.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use super::assessment::{BUSY, SERVER_BUSY};
use super::generator::{Generator, Until};
use super::load_spec::{ArrivalProcess, Group, LoadSpec};
use super::outcome::{Outcome, Outcomes};
use super::placement::Placement;
use super::recorder::Recorder;
use super::reply_template::ReplyTemplate;
use super::request_reply::usual;
use crate::server::proc::{Scheduled, scheduled, scheduled_thread};
use crate::server::{LaunchError, LaunchSpec, Launcher, Server};
use crate::stats::{Comparison, NoInterval, Verdict};

/// Time for which each server is loaded before the measurement.
const WARM_UP: Duration = Duration::from_millis(50);

/// Settings of an interleaved comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InterleavedComparison {
    /// Connections, each with one request in flight.
    pub connections: usize,
    /// Duration of a slice: one server is loaded before it is the other's turn.
    pub slice: Duration,
    /// Number of times that both servers are launched afresh.
    pub launches: u32,
    /// Duration of all slices together, without launching and warm-up.
    pub time: Duration,
    /// Random seed for the order in which the servers are launched and loaded.
    pub seed: u64,
}

impl Default for InterleavedComparison {
    /// Returns the settings of `harness bench --against`, which take about 10 s.
    fn default() -> InterleavedComparison {
        InterleavedComparison {
            connections: 64,
            slice: Duration::from_millis(5),
            launches: 20,
            time: Duration::from_secs(6),
            seed: 0,
        }
    }
}

/// Failure of a server during the comparison: it did not start, or a request got no correct reply.
#[derive(Debug, thiserror::Error)]
#[error("{server} failed: {reason}")]
pub struct Failed {
    /// Name of the server.
    pub server: String,
    /// Reason of the failure.
    pub reason: String,
}

/// A running server with its connections.
#[derive(Debug)]
pub struct Loaded {
    /// Name of the server.
    pub name: String,
    /// The running server.
    pub running: Server,
    generator: Generator,
    recorders: [Recorder; 1],
    /// Requests answered so far.
    pub asked: u64,
    /// Time for which the server has been loaded.
    pub time: Duration,
    /// Scheduling of the generator's thread while it loaded this server.
    pub generated: Scheduled,
}

impl Loaded {
    /// Launches the server and connects to it.
    ///
    /// # Errors
    /// [`Failed`] if the server does not listen or answer. Other errors: the kernel denies the
    /// harness a resource.
    pub fn launch(
        launcher: &Launcher,
        spec: &LaunchSpec,
        connections: usize,
        placement: &Placement,
    ) -> Result<Loaded> {
        let failed = |reason: String| Failed { server: spec.name.clone(), reason };
        let running = placement.launcher(launcher).launch(spec).map_err(|error| match error {
            LaunchError::NoPort(_) | LaunchError::Supervisor(_) | LaunchError::NoThread(_) => {
                anyhow::Error::from(error)
            }
            its_own => failed(its_own.to_string()).into(),
        })?;
        let dialog = ReplyTemplate::of(&spec.contract, running.address).map_err(failed)?;
        let exchanges = dialog.all(&usual(&spec.contract));
        let group = Group { exchanges, connections, pace: ArrivalProcess::Closed { depth: 1 } };
        let demand = LoadSpec {
            opening: dialog.opening.clone(),
            ..LoadSpec::new(running.address, group, 0)
        };
        let mut recorders = [Recorder::new()];
        let generator = Generator::connect(&demand, &mut recorders)?;
        let loaded = Loaded {
            name: spec.name.clone(),
            running,
            generator,
            recorders,
            asked: 0,
            time: Duration::ZERO,
            generated: Scheduled::default(),
        };
        loaded.check_connections()?;
        Ok(loaded)
    }

    /// Loads the server for this time and returns the correct replies per second.
    ///
    /// # Errors
    /// [`Failed`] if a request gets no correct reply. Other errors: the kernel denies the generator
    /// a resource.
    pub fn slice(&mut self, time: Duration) -> Result<f64> {
        let before = scheduled_thread();
        let answered_before = self.outcomes().get(Outcome::Answered);
        let began = Instant::now();
        self.generator.run(Until::Past(time), &mut self.recorders)?;
        let elapsed = began.elapsed();
        self.time += elapsed;
        self.generated += scheduled_thread() - before;
        let answered = self.outcomes().get(Outcome::Answered) - answered_before;
        self.asked += answered;
        if !self.outcomes().is_all_answered() {
            return Err(self.failed("requests", self.outcomes()).into());
        }
        self.check_connections()?;
        if answered == 0 {
            return Err(self.failed("requests", &Outcomes::default()).into());
        }
        Ok(answered as f64 / elapsed.as_secs_f64())
    }

    fn outcomes(&self) -> &Outcomes {
        &self.recorders[0].current().outcomes
    }

    /// Checks that no connection was lost: with fewer connections the server would have a lighter
    /// load than the other one.
    fn check_connections(&self) -> Result<(), Failed> {
        let connections = self.generator.connection_outcomes(0);
        let lost = |outcome: &&Outcome| {
            !matches!(outcome, Outcome::Answered | Outcome::InFlight)
                && connections.get(**outcome) > 0
        };
        match Outcome::ALL.iter().find(lost) {
            None => Ok(()),
            Some(_) => Err(self.failed("connections", &connections)),
        }
    }

    fn failed(&self, what: &str, outcomes: &Outcomes) -> Failed {
        let bad = Outcome::ALL.iter().filter(|&&outcome| outcome != Outcome::Answered);
        let counts: Vec<String> = bad
            .filter(|outcome| outcomes.get(**outcome) > 0)
            .map(|outcome| format!("{} {}", outcomes.get(*outcome), outcome.words()))
            .collect();
        let mut reason = match counts.is_empty() {
            true => "no request was answered".to_owned(),
            false => format!("{what}: {}", counts.join(", ")),
        };
        let lost = [Outcome::Reset, Outcome::Closed, Outcome::Refused];
        if lost.iter().any(|&outcome| outcomes.get(outcome) > 0)
            && let Some(exit) = self.running.process.wait_for_exit(EXIT_SEEN)
        {
            reason = format!("the server ended ({exit}); {reason}");
        }
        Failed { server: self.name.clone(), reason }
    }
}

/// Time until the exit of a server is reported: its connections break first.
const EXIT_SEEN: Duration = Duration::from_secs(2);

/// Two servers that are loaded in turn.
#[derive(Debug)]
pub struct Pair {
    /// The compared server, and its reference.
    pub servers: [Loaded; 2],
    slice: Duration,
    /// Index of the server that has the next first slice.
    first: usize,
}

impl Pair {
    /// Warms both servers up, starting with `first`. The calling thread must be the generator's.
    ///
    /// # Errors
    /// See [`Loaded::slice`].
    pub fn new(servers: [Loaded; 2], slice: Duration, first: usize) -> Result<Pair> {
        let mut pair = Pair { servers, slice, first };
        for which in [first, 1 - first] {
            pair.servers[which].slice(WARM_UP)?;
        }
        Ok(pair)
    }

    /// Returns the ratio of the throughputs over two slices each.
    ///
    /// The order is first, second, second, first, so that a steady drift of the machine's speed
    /// cancels out. The next call starts with the other server.
    ///
    /// # Errors
    /// See [`Loaded::slice`].
    pub fn ratio(&mut self) -> Result<f64> {
        let (first, second) = (self.first, 1 - self.first);
        let mut rates = [0.0; 2];
        for which in [first, second, second, first] {
            rates[which] += self.servers[which].slice(self.slice)?;
        }
        self.first = second;
        Ok(rates[0] / rates[1])
    }
}

/// Index of the server (0 or 1) that is launched first and that is loaded first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Order {
    launched: usize,
    loaded: usize,
}

/// Draws the orders of the launches from the seed, in blocks of four.
///
/// A block has each of the four orders once. In each half of a block, either server is launched
/// first once and loaded first once. So the advantage of being first cancels out, even in an
/// interrupted comparison.
fn orders(seed: u64, launches: u32) -> Vec<Order> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut orders = Vec::new();
    while orders.len() < launches as usize {
        let mut halves = [false, true].map(|is_crossed| {
            let launched = random.random_range(0..2);
            let loaded = if is_crossed { 1 - launched } else { launched };
            [Order { launched, loaded }, Order { launched: 1 - launched, loaded: 1 - loaded }]
        });
        halves.shuffle(&mut random);
        orders.extend(halves.concat());
    }
    orders.truncate(launches as usize);
    orders
}

/// Busy shares of the time in which a server was loaded; 1 is one CPU kept busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Busy {
    /// Share in which the server ran or waited for a CPU, summed over its threads.
    pub server: f64,
    /// Share in which the generator did.
    pub generator: f64,
}

/// Result of an interleaved comparison.
#[derive(Clone, Debug)]
pub struct Found {
    /// Ratio of the throughputs with its confidence interval, or the reason why there is none.
    pub comparison: Result<Comparison, NoInterval>,
    /// Busy shares of the compared server and of the reference, with the generator's.
    pub busy: [Busy; 2],
    /// Whether the servers shared their CPU with the generator.
    pub is_shared: bool,
}

impl Found {
    /// Classifies the result, with a reason if the interval alone does not explain it.
    pub fn verdict(&self, margin: f64) -> (Verdict, Option<String>) {
        let comparison = match self.comparison {
            Ok(comparison) => comparison,
            Err(reason) => return (Verdict::Inconclusive, Some(reason.to_string())),
        };
        let percent = shown_percent(margin);
        match comparison.verdict(margin) {
            Verdict::Equal => match self.blurred() {
                None => (Verdict::Equal, None),
                reason => (Verdict::Inconclusive, reason),
            },
            Verdict::Inconclusive => {
                let reason = format!("the interval contains 1 and is not within ±{percent} %");
                (Verdict::Inconclusive, Some(reason))
            }
            shown if comparison.is_within(margin) => {
                (shown, Some(format!("by less than {percent} %")))
            }
            shown => (shown, None),
        }
    }

    /// Returns whether the first server is shown not to be slower by more than the margin.
    pub fn is_not_slower(&self, margin: f64) -> bool {
        self.comparison.is_ok_and(|it| {
            it.verdict(margin) == Verdict::Faster
                || it.is_not_below(margin) && self.blurred().is_none()
        })
    }

    /// Returns the reason why the throughput may understate a difference between the servers, if
    /// any. Servers that do not limit the throughput look equal, whatever their cost.
    pub fn blurred(&self) -> Option<String> {
        if self.is_shared {
            let words = "servers and generator shared a processor, so that a difference between \
                         the servers shows less than it is";
            return Some(words.to_owned());
        }
        let is_bound = |busy: &&Busy| busy.generator > BUSY && busy.server < SERVER_BUSY;
        self.busy.iter().find(is_bound).map(|busy| {
            format!(
                "the generator limited the throughput: it was busy for {:.0} % of the time, a \
                 server for {:.0} %",
                100.0 * busy.generator,
                100.0 * busy.server
            )
        })
    }
}

/// Returns a margin in percent, as the user wrote it.
pub fn shown_percent(margin: f64) -> f64 {
    (margin * 1e6).round() / 1e4
}

/// Scheduling of a server and its generator over several launches.
#[derive(Clone, Copy, Debug, Default)]
struct Work {
    time: Duration,
    server: Scheduled,
    generator: Scheduled,
}

impl Work {
    /// Returns the values of this launch so far.
    fn now(loaded: &Loaded) -> Work {
        let server = scheduled(&loaded.running.process.tree());
        Work { time: loaded.time, server, generator: loaded.generated }
    }

    fn add(&mut self, now: Work, before: Work) {
        self.time += now.time - before.time;
        self.server += now.server - before.server;
        self.generator += now.generator - before.generator;
    }

    fn busy(&self) -> Busy {
        let time = self.time.as_secs_f64();
        let part = |it: Scheduled| match time > 0.0 {
            true => (it.ran + it.waited).as_secs_f64() / time,
            false => 0.0,
        };
        Busy { server: part(self.server), generator: part(self.generator) }
    }
}

/// Compares the throughput of the first server with that of the second. An interrupted comparison
/// uses the pairs of slices until then.
///
/// # Errors
/// [`Failed`] if a server does not start or does not answer correctly. Other errors: the kernel
/// denies the harness a resource.
pub fn compare(
    launcher: &Launcher,
    specs: [&LaunchSpec; 2],
    alternation: InterleavedComparison,
    placement: &Placement,
    interrupted: &AtomicBool,
) -> Result<Found> {
    let InterleavedComparison { connections, slice, launches, time, seed } = alternation;
    let mut ratios = Vec::new();
    let mut work = [Work::default(); 2];
    for order in orders(seed, launches) {
        if interrupted.load(Relaxed) {
            break;
        }
        let launch = |which: usize| Loaded::launch(launcher, specs[which], connections, placement);
        let (first, second) = (launch(order.launched)?, launch(1 - order.launched)?);
        let servers = if order.launched == 0 { [first, second] } else { [second, first] };
        let _pinned = placement.pin_load_thread(0)?;
        let mut pair = Pair::new(servers, slice, order.loaded)?;
        let before = pair.servers.each_ref().map(Work::now);
        let deadline = Instant::now() + time / launches;
        let mut pairs = Vec::new();
        while Instant::now() < deadline && !interrupted.load(Relaxed) {
            pairs.push(pair.ratio()?);
        }
        for ((sum, loaded), before) in work.iter_mut().zip(&pair.servers).zip(before) {
            sum.add(Work::now(loaded), before);
        }
        ratios.push(pairs);
    }
    let busy = work.each_ref().map(Work::busy);
    let is_shared = matches!(placement, Placement::Together(_) | Placement::OneOnly);
    Ok(Found { comparison: Comparison::of(&ratios), busy, is_shared })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_server_is_first_in_half_of_the_launches_in_an_order_of_the_seed() {
        for seed in 0..200 {
            let all = orders(seed, 16);
            assert_eq!((all.len(), &all), (16, &orders(seed, 16)), "{seed}");
            // Holds for an interruption after any launch.
            for count in 1..=16 {
                let begun = &all[..count];
                let both = [
                    begun.iter().filter(|it| it.launched == 0).count(),
                    begun.iter().filter(|it| it.loaded == 0).count(),
                ];
                assert!(both.iter().all(|first| first.abs_diff(count - first) <= 1), "{begun:?}");
            }
            for block in all.chunks(4) {
                let of = |which: usize| block.iter().filter(move |it| it.launched == which);
                assert_eq!(of(0).filter(|it| it.loaded == 0).count(), 1, "{block:?}");
                assert_eq!(of(1).filter(|it| it.loaded == 0).count(), 1, "{block:?}");
            }
        }
    }

    #[test]
    fn any_order_may_be_the_first_one() {
        let firsts: Vec<Order> = (0..200).map(|seed| orders(seed, 4)[0]).collect();
        for launched in [0, 1] {
            for loaded in [0, 1] {
                let count = firsts.iter().filter(|it| **it == Order { launched, loaded }).count();
                assert!((25..=75).contains(&count), "{launched} {loaded}: {count} of 200");
            }
        }
    }

    fn found(low: f64, high: f64, busy: [Busy; 2]) -> Found {
        let ratio = (low * high).sqrt();
        let comparison = Ok(Comparison { ratio, low, high, launches: 16, pairs: 160 });
        Found { comparison, busy, is_shared: false }
    }

    #[test]
    fn servers_that_the_generator_kept_idle_or_shared_a_processor_with_are_not_called_equal() {
        let limited = Busy { server: 1.0, generator: 0.98 };
        let idle = Busy { server: 0.6, generator: 0.98 };
        let slow_by_itself = Busy { server: 0.1, generator: 0.2 };
        for (busy, verdict) in [
            ([limited, limited], Verdict::Equal),
            ([slow_by_itself, limited], Verdict::Equal),
            ([idle, limited], Verdict::Inconclusive),
            ([limited, idle], Verdict::Inconclusive),
        ] {
            let equal = found(0.98, 1.02, busy);
            let (said, reason) = equal.verdict(0.05);
            assert_eq!(said, verdict, "{busy:?}");
            assert_eq!(reason.is_some(), verdict == Verdict::Inconclusive, "{reason:?}");
            assert_eq!(equal.is_not_slower(0.05), verdict == Verdict::Equal);
            // A difference that shows nevertheless is real.
            assert_eq!(found(1.1, 1.2, busy).verdict(0.05), (Verdict::Faster, None));
            assert!(found(1.1, 1.2, busy).is_not_slower(0.05));
        }
        let shared = Found { is_shared: true, ..found(0.98, 1.02, [limited, limited]) };
        assert_eq!(shared.verdict(0.05).0, Verdict::Inconclusive);
        assert!(!shared.is_not_slower(0.05));
    }

    #[test]
    fn a_verdict_that_the_interval_does_not_explain_has_its_reason() {
        let busy = [Busy { server: 1.0, generator: 0.5 }; 2];
        let none = NoInterval::TooFew { enough: 1, launches: 2 };
        let nothing = Found { comparison: Err(none), busy, is_shared: false };
        let rows = [
            (nothing, Verdict::Inconclusive, Some("1 of 2 launches")),
            (found(0.084, 7.725, busy), Verdict::Inconclusive, Some("not within ±5 %")),
            (found(0.96, 0.99, busy), Verdict::Slower, Some("by less than 5 %")),
            (found(0.6, 0.99, busy), Verdict::Slower, None),
            (found(0.99, 1.01, busy), Verdict::Equal, None),
        ];
        for (found, verdict, words) in rows {
            let (said, reason) = found.verdict(0.05);
            assert_eq!((said, reason.is_some()), (verdict, words.is_some()), "{reason:?}");
            assert!(reason.unwrap_or_default().contains(words.unwrap_or_default()));
        }
        assert!(!found(0.9, 0.99, busy).is_not_slower(0.05));
        assert!(found(0.96, 0.99, busy).is_not_slower(0.05));
    }

    #[test]
    fn servers_that_were_never_loaded_were_not_busy() {
        assert_eq!(Work::default().busy(), Busy::default());
    }
}
