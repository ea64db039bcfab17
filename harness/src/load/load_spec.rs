//! Load specs: the requests of a load run, their connections and their arrival process.

use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::request_reply::RequestReply;
use super::timeouts::REPLY_TIMEOUT;

/// Load on one server.
#[derive(Clone, Debug)]
pub struct LoadSpec {
    /// Address on which the server listens.
    pub address: SocketAddr,
    /// Groups of connections. The first group is measured; the others are background clients.
    pub groups: Vec<ConnectionGroup>,
    /// Bytes sent and received on each connection before its first request.
    pub opening: RequestReply,
    /// Whether the server may close a connection that has no request in flight, because its
    /// protocol limits the requests per connection.
    pub may_close: bool,
    /// Whether clients of a closed or open loop connect again when their connection closes.
    pub reconnect: bool,
    /// Maximum number of requests on each connection, if clients reconnect.
    pub requests_per_connection: Option<u32>,
    /// Timeout for connecting, and for each reply.
    pub reply_timeout: Duration,
    /// Random seed.
    pub seed: u64,
}

impl LoadSpec {
    /// Returns the load of one group, with the default timeout.
    pub fn new(address: SocketAddr, group: ConnectionGroup, seed: u64) -> LoadSpec {
        let opening = RequestReply { request: Vec::new(), reply: Vec::new() };
        LoadSpec {
            address,
            groups: vec![group],
            opening,
            may_close: false,
            reconnect: false,
            requests_per_connection: None,
            reply_timeout: REPLY_TIMEOUT,
            seed,
        }
    }
}

/// Connections with the same requests and arrival process.
#[derive(Clone, Debug)]
pub struct ConnectionGroup {
    /// Requests that each connection sends in turn, with their replies.
    pub requests: Vec<RequestReply>,
    /// Number of connections.
    pub connections: usize,
    /// Arrival process.
    pub arrival_process: ArrivalProcess,
}

/// Arrival process: when connections send their requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ArrivalProcess {
    /// Closed loop: the next request is sent when a reply arrives, with `depth` requests in flight.
    Closed {
        /// Requests in flight on each connection, 1 or more.
        depth: u32,
    },
    /// Open loop: requests are sent at scheduled times, regardless of earlier replies. The
    /// connections take turns, and each may have several requests in flight.
    Open {
        /// Distribution of the interarrival times.
        arrivals: Arrivals,
        /// Requests per second, over all connections.
        per_s: f64,
    },
    /// Each client connects, sends one request, closes and starts over.
    Churn,
    /// All clients reset their connections at the same time, then connect again and send one
    /// request each.
    Storm {
        /// Time between two resets.
        every: Duration,
    },
    /// Clients send their requests byte by byte.
    Drip {
        /// Time between two bytes on one connection.
        every: Duration,
    },
    /// Clients send one request after connecting, and then send nothing.
    Idle,
}

/// Distribution of the interarrival times of an open loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// Constant interarrival times.
    Constant,
    /// Exponentially distributed interarrival times, like those of many independent clients.
    Poisson,
}

impl Arrivals {
    /// Both distributions.
    pub const ALL: &[Arrivals] = &[Arrivals::Constant, Arrivals::Poisson];

    /// Returns the name used in flags.
    pub fn name(self) -> &'static str {
        match self {
            Arrivals::Constant => "constant",
            Arrivals::Poisson => "poisson",
        }
    }
}

impl ArrivalProcess {
    /// Returns the offered rate in requests per second, for an open loop.
    pub fn offered_per_s(self) -> Option<f64> {
        match self {
            ArrivalProcess::Open { per_s, .. } => Some(per_s),
            _ => None,
        }
    }

    /// Returns whether clients connect again after each request.
    pub(super) fn reconnects(self) -> bool {
        matches!(self, ArrivalProcess::Churn | ArrivalProcess::Storm { .. })
    }

    /// Returns whether each connection serves many requests, in a closed or open loop.
    pub(super) fn is_loop(self) -> bool {
        matches!(self, ArrivalProcess::Closed { .. } | ArrivalProcess::Open { .. })
    }

    /// Returns the part of one generator, if `generators` generators divide the load.
    pub(super) fn divided(self, generators: usize) -> ArrivalProcess {
        match self {
            ArrivalProcess::Open { arrivals, per_s } => {
                ArrivalProcess::Open { arrivals, per_s: per_s / generators as f64 }
            }
            other => other,
        }
    }
}

/// Schedule of an open loop: the times of its requests, in nanoseconds.
#[derive(Debug)]
pub(super) struct Schedule {
    arrivals: Arrivals,
    gap_ns: f64,
    due_ns: f64,
    /// Scheduled time of one request, if constant arrivals are aligned.
    grid_ns: Option<f64>,
    random: SmallRng,
}

impl Schedule {
    /// Returns a schedule whose first request is due one interarrival time after the start.
    pub(super) fn new(arrivals: Arrivals, per_s: f64, seed: u64) -> Schedule {
        let random = SmallRng::seed_from_u64(seed);
        Schedule { arrivals, gap_ns: 1e9 / per_s, due_ns: 0.0, grid_ns: None, random }
    }

    /// Shifts constant arrivals so that a request is scheduled at `time` plus `phase` interarrival
    /// times. With different phases, the requests of several generators are evenly spaced.
    pub(super) fn align(&mut self, time: u64, phase: f64) {
        self.grid_ns = Some(time as f64 + phase * self.gap_ns);
    }

    pub(super) fn begin(&mut self, now: u64) {
        self.due_ns = now as f64;
        match (self.arrivals, self.grid_ns) {
            (Arrivals::Constant, Some(grid)) => {
                let gaps = ((self.due_ns - grid) / self.gap_ns).floor() + 1.0;
                self.due_ns = grid + gaps * self.gap_ns;
            }
            _ => self.advance(),
        }
    }

    /// Returns the scheduled time of the next request.
    pub(super) fn due(&self) -> u64 {
        self.due_ns as u64
    }

    pub(super) fn advance(&mut self) {
        self.due_ns += match self.arrivals {
            Arrivals::Constant => self.gap_ns,
            // Inverse of the exponential distribution function. 1 - random is never 0.
            Arrivals::Poisson => -(1.0 - self.random.random::<f64>()).ln() * self.gap_ns,
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
    fn requests_of_generators_with_different_start_times_are_evenly_spaced() {
        let arrival_process =
            ArrivalProcess::Open { arrivals: Arrivals::Constant, per_s: 1000.0 }.divided(2);
        let mut due: Vec<u64> = [(0.0, 5_000_000), (0.5, 5_130_000)]
            .into_iter()
            .flat_map(|(phase, now)| {
                let per_s = arrival_process.offered_per_s().expect("an open loop has a rate");
                let mut schedule = Schedule::new(Arrivals::Constant, per_s, 7);
                schedule.align(9_000_000, phase);
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
    fn poisson_interarrival_times_have_exponential_mean_and_deviation() {
        let gaps = gaps(Arrivals::Poisson);
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean / 1e6 - 1.0).abs() < 0.05, "{mean}");
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.05, "{variance}");
    }
}
