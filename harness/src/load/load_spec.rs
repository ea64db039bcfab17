//! What is asked of a server: by how many, when, and for how long.

use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::connections::PATIENCE;
use super::request_reply::RequestReply;

/// A load on one server.
#[derive(Clone, Debug)]
pub struct LoadSpec {
    /// Where it listens.
    pub address: SocketAddr,
    /// Who asks. The first group is the one that is measured; the others are beside it.
    pub groups: Vec<Group>,
    /// What is sent and received on each connection before the first request.
    pub opening: RequestReply,
    /// The server may end a connection that is owed nothing: by its wire each is for few requests.
    pub may_end: bool,
    /// How long a connection, and a reply, may take.
    pub patience: Duration,
    /// For all chance.
    pub seed: u64,
}

impl LoadSpec {
    /// One group, with the usual patience.
    pub fn new(address: SocketAddr, group: Group, seed: u64) -> LoadSpec {
        let opening = RequestReply { request: Vec::new(), reply: Vec::new() };
        LoadSpec { address, groups: vec![group], opening, may_end: false, patience: PATIENCE, seed }
    }
}

/// Connections that do alike.
#[derive(Clone, Debug)]
pub struct Group {
    /// What they ask, in turn.
    pub exchanges: Vec<RequestReply>,
    /// How many they are.
    pub connections: usize,
    /// When they ask.
    pub pace: ArrivalProcess,
}

/// When connections ask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ArrivalProcess {
    /// As soon as they are answered: a closed loop, with so many requests under way on each.
    Closed {
        /// 1 or more.
        depth: u32,
    },
    /// When the time has come, whether they are answered or not: an open loop. The connections
    /// take turns, and each may have several requests under way.
    Open {
        /// At which distances.
        arrivals: Arrivals,
        /// Requests per second, on all connections together.
        per_s: f64,
    },
    /// Each connects, asks once, closes, and begins again.
    Churn,
    /// All are reset at once, and connect again and ask once.
    Storm {
        /// How often.
        every: Duration,
    },
    /// They send their requests byte by byte.
    Drip {
        /// The time between two bytes of one connection.
        every: Duration,
    },
    /// They ask once when they are connected, and then are silent.
    Idle,
}

/// The distances between requests of an open loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// All alike.
    Constant,
    /// By chance, as of many who know nothing of each other: exponentially distributed.
    Poisson,
}

impl Arrivals {
    /// Both of them.
    pub const ALL: &[Arrivals] = &[Arrivals::Constant, Arrivals::Poisson];

    /// Returns its name in flags.
    pub fn name(self) -> &'static str {
        match self {
            Arrivals::Constant => "constant",
            Arrivals::Poisson => "poisson",
        }
    }
}

impl ArrivalProcess {
    /// How many requests are due each second, where that is said.
    pub fn offered_per_s(self) -> Option<f64> {
        match self {
            ArrivalProcess::Open { per_s, .. } => Some(per_s),
            _ => None,
        }
    }

    /// Whether connections are made again and again.
    pub(super) fn reconnects(self) -> bool {
        matches!(self, ArrivalProcess::Churn | ArrivalProcess::Storm { .. })
    }

    /// The part of one of so many generators.
    pub(super) fn shared(self, generators: usize) -> ArrivalProcess {
        match self {
            ArrivalProcess::Open { arrivals, per_s } => {
                ArrivalProcess::Open { arrivals, per_s: per_s / generators as f64 }
            }
            other => other,
        }
    }
}

/// When the requests of an open loop are due, in nanoseconds.
#[derive(Debug)]
pub(super) struct Schedule {
    arrivals: Arrivals,
    gap_ns: f64,
    due_ns: f64,
    /// A time at which one would be due, where the distances are even.
    step_ns: Option<f64>,
    chance: SmallRng,
}

impl Schedule {
    /// The first is due after one distance.
    pub(super) fn new(arrivals: Arrivals, per_s: f64, seed: u64) -> Schedule {
        let chance = SmallRng::seed_from_u64(seed);
        Schedule { arrivals, gap_ns: 1e9 / per_s, due_ns: 0.0, step_ns: None, chance }
    }

    /// Requests at even distances are due in step with this time, that part of a distance later.
    pub(super) fn keep_in_step_with(&mut self, time: u64, part: f64) {
        self.step_ns = Some(time as f64 + part * self.gap_ns);
    }

    pub(super) fn begin(&mut self, now: u64) {
        self.due_ns = now as f64;
        match (self.arrivals, self.step_ns) {
            (Arrivals::Constant, Some(step)) => {
                let gaps = ((self.due_ns - step) / self.gap_ns).floor() + 1.0;
                self.due_ns = step + gaps * self.gap_ns;
            }
            _ => self.advance(),
        }
    }

    /// When the next one is due.
    pub(super) fn due(&self) -> u64 {
        self.due_ns as u64
    }

    pub(super) fn advance(&mut self) {
        self.due_ns += match self.arrivals {
            Arrivals::Constant => self.gap_ns,
            // The inverse of the exponential distribution's function, of a chance above 0.
            Arrivals::Poisson => -(1.0 - self.chance.random::<f64>()).ln() * self.gap_ns,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(arrivals: Arrivals) -> Vec<f64> {
        let mut schedule = Schedule::new(arrivals, 1000.0, 7);
        schedule.begin(5_000_000);
        let mut last = 5_000_000;
        (0..10_000)
            .map(|_| {
                let due = schedule.due();
                schedule.advance();
                (due - std::mem::replace(&mut last, due)) as f64
            })
            .collect()
    }

    #[test]
    fn constant_arrivals_are_evenly_spaced() {
        assert!(gaps(Arrivals::Constant).iter().all(|gap| (gap - 1e6).abs() <= 1.0));
    }

    #[test]
    fn requests_of_several_generators_are_evenly_spaced_though_they_begin_at_other_times() {
        let pace = ArrivalProcess::Open { arrivals: Arrivals::Constant, per_s: 1000.0 }.shared(2);
        let mut due: Vec<u64> = [(0.0, 5_000_000), (0.5, 5_130_000)]
            .into_iter()
            .flat_map(|(part, now)| {
                let per_s = pace.offered_per_s().expect("it is an open loop");
                let mut schedule = Schedule::new(Arrivals::Constant, per_s, 7);
                schedule.keep_in_step_with(9_000_000, part);
                schedule.begin(now);
                std::iter::repeat_with(move || {
                    let due = schedule.due();
                    schedule.advance();
                    due
                })
                .take(10)
            })
            .collect();
        due.sort_unstable();
        assert!(due[0] >= 5_000_000 && due.windows(2).all(|two| two[1] - two[0] == 1_000_000));
        assert!(due.contains(&9_000_000));
    }

    #[test]
    fn poisson_arrivals_have_the_mean_and_the_spread_of_an_exponential_distribution() {
        let gaps = gaps(Arrivals::Poisson);
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean / 1e6 - 1.0).abs() < 0.05, "{mean}");
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.05, "{variance}");
    }
}
