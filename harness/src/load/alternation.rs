//! Two servers compared: both stay up, and the load alternates between them in short slices, so
//! that whatever else the machine does befalls both alike.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::demand::{Demand, Group, Pace};
use super::exchange::exchanges;
use super::generator::{Generator, Until};
use super::outcome::Outcome;
use super::placement::Placement;
use super::recorder::Recorder;
use crate::server::{Launcher, Server, Spec};
use crate::stats::Comparison;

/// Requests before anything is measured.
const WARM_UP: u64 = 2_000;

/// How to compare.
#[derive(Clone, Copy, Debug)]
pub struct Alternation {
    /// Connections, each with one request under way.
    pub connections: usize,
    /// How long one server is loaded before it is the other's turn, about.
    pub slice: Duration,
    /// How often both servers are launched afresh.
    pub launches: u32,
    /// How long all that may take, but for the launching.
    pub time: Duration,
}

/// A running server, and the connections to it.
#[derive(Debug)]
pub struct Loaded {
    /// The server's name.
    pub name: String,
    /// The server.
    pub running: Server,
    generator: Generator,
    recorders: [Recorder; 1],
    /// Requests in all.
    pub asked: u64,
    /// How long it has been loaded.
    pub time: Duration,
}

impl Loaded {
    /// Launches the server, and connects to it.
    ///
    /// # Errors
    /// It does not listen, or the kernel refuses the generator what it needs.
    pub fn launch(
        launcher: &Launcher,
        spec: &Spec,
        connections: usize,
        placement: &Placement,
    ) -> Result<Loaded> {
        let running = launcher.launch(spec)?;
        placement.pin_server(&running.process)?;
        let exchanges = exchanges(spec.contract.service);
        let group = Group { exchanges, connections, pace: Pace::Closed { depth: 1 } };
        let mut recorders = [Recorder::new()];
        let generator =
            Generator::connect(&Demand::new(running.address, group, 0), &mut recorders)?;
        Ok(Loaded {
            name: spec.name.clone(),
            running,
            generator,
            recorders,
            asked: 0,
            time: Duration::ZERO,
        })
    }

    /// How long so many requests take.
    ///
    /// # Errors
    /// One of them is not answered rightly.
    pub fn slice(&mut self, requests: u64) -> Result<Duration> {
        let began = Instant::now();
        self.generator.run(Until::Sent(requests), &mut self.recorders)?;
        let elapsed = began.elapsed();
        self.asked += requests;
        self.time += elapsed;
        let outcomes = &self.recorders[0].current().outcomes;
        if outcomes.get(Outcome::Answered) != self.asked {
            bail!("{}: not every request was answered rightly: {outcomes:?}", self.name);
        }
        Ok(elapsed)
    }
}

/// Two servers that are loaded in turns.
#[derive(Debug)]
pub struct Pair {
    /// The one that is compared.
    pub one: Loaded,
    /// What it is compared with.
    pub other: Loaded,
    /// Requests in a slice.
    requests: u64,
}

impl Pair {
    /// Warms both up, and finds out how many requests make a slice that long. The calling thread
    /// is the generator's.
    ///
    /// # Errors
    /// A request is not answered rightly.
    pub fn new(mut one: Loaded, mut other: Loaded, slice: Duration) -> Result<Pair> {
        let mut rate: f64 = 0.0;
        for loaded in [&mut one, &mut other] {
            loaded.slice(WARM_UP)?;
            rate = rate.max(WARM_UP as f64 / loaded.slice(WARM_UP)?.as_secs_f64());
        }
        Ok(Pair { one, other, requests: (rate * slice.as_secs_f64()).max(1.0) as u64 })
    }

    /// The ratio of the throughputs, over two slices each in such an order that a machine that
    /// becomes slower or faster meanwhile makes no difference.
    ///
    /// # Errors
    /// A request is not answered rightly.
    pub fn ratio(&mut self) -> Result<f64> {
        let mut one = self.one.slice(self.requests)?;
        let other = self.other.slice(self.requests)? + self.other.slice(self.requests)?;
        one += self.one.slice(self.requests)?;
        Ok(other.as_secs_f64() / one.as_secs_f64())
    }
}

/// How many times as fast the first server is as the second.
///
/// # Errors
/// One of them does not listen, or does not answer rightly.
pub fn compare(
    launcher: &Launcher,
    specs: [&Spec; 2],
    alternation: Alternation,
    placement: &Placement,
    interrupted: &AtomicBool,
) -> Result<Option<Comparison>> {
    let Alternation { connections, slice, launches, time } = alternation;
    let mut ratios = Vec::new();
    for launch in 0..launches {
        if interrupted.load(Relaxed) {
            break;
        }
        let [one, other] = specs.map(|spec| Loaded::launch(launcher, spec, connections, placement));
        let _pinned = placement.pin_load_thread(0)?;
        let (mut one, mut other) = (one?, other?);
        // Whoever is first has no advantage of it in the end.
        let is_turned = launch % 2 == 1;
        if is_turned {
            std::mem::swap(&mut one, &mut other);
        }
        let mut pair = Pair::new(one, other, slice)?;
        let deadline = Instant::now() + time / launches;
        let mut pairs = Vec::new();
        while Instant::now() < deadline && !interrupted.load(Relaxed) {
            let ratio = pair.ratio()?;
            pairs.push(if is_turned { 1.0 / ratio } else { ratio });
        }
        ratios.push(pairs);
    }
    Ok(Comparison::of(&ratios))
}
