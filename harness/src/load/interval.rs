//! Records of one interval of a run.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::timeouts::MAX_TIMEOUT;
use crate::results::{Outcome, Outcomes};

/// Longest recorded time; longer times are recorded as this one. A latency in an open loop begins
/// at the scheduled time, so it may be longer than the timeout of a reply.
const MAX_LATENCY: Duration = MAX_TIMEOUT.saturating_mul(4);

/// Significant digits of a recorded latency.
const DIGITS: u8 = 3;

/// Significant digits of other recorded times.
const FEW_DIGITS: u8 = 2;

/// Records of one interval. Times are in nanoseconds.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Start on the run's clock.
    pub start_ns: u64,
    /// Duration. 0 until the interval ends.
    pub duration_ns: u64,
    /// Latency of correct replies, from the scheduled time of each request. Empty in a closed loop,
    /// which has no scheduled times.
    pub scheduled: Histogram<u64>,
    /// Latency of correct replies, from the sending of each request.
    pub sent: Histogram<u64>,
    /// Delay of the generator: from the scheduled time of each request to its sending, without the
    /// time in which no connection was open. Includes requests that were due but never sent. Empty
    /// in a closed loop.
    pub lateness: Histogram<u64>,
    /// Durations of successful connects.
    pub connects: Histogram<u64>,
    /// Outcomes of requests.
    pub outcomes: Outcomes,
    /// Time from the scheduled time (in a closed loop, from the sending) to the failure, by
    /// outcome.
    pub failures: Vec<(Outcome, Histogram<u64>)>,
    /// Integral over time of the number of requests in flight. The connections count these
    /// requests, so errors in the records of single requests do not affect it.
    pub in_flight_ns: u64,
    /// Number of requests: in an open loop the scheduled ones, sent or not; in a closed loop those
    /// sent.
    pub requests: u64,
    /// Number of correct replies that arrived in the interval. Includes the replies to requests
    /// that were sent during the warm-up: they compensate for replies that arrive after the end.
    pub replies: u64,
    /// Number of requests that were scheduled while no connection was open.
    pub held: u64,
    /// Outages of slots whose clients reconnect: from the close to the next correct reply, or to
    /// the end of the run.
    pub outages: Histogram<u64>,
    /// Number of outages that had not ended at the end of the run.
    pub down: u64,
    /// Number of failed attempts to connect again.
    pub failed_attempts: u64,
    /// CPU time of the generator's thread.
    pub generator_cpu_ns: u64,
}

fn times(digits: u8) -> Histogram<u64> {
    let longest = MAX_LATENCY.as_nanos() as u64;
    Histogram::new_with_bounds(1, longest, digits).expect("the bounds are in order")
}

impl Interval {
    /// Returns an empty interval that starts at `start_ns`.
    pub fn new(start_ns: u64) -> Interval {
        Interval {
            start_ns,
            duration_ns: 0,
            scheduled: times(DIGITS),
            sent: times(DIGITS),
            lateness: times(DIGITS),
            connects: times(FEW_DIGITS),
            outcomes: Outcomes::default(),
            failures: Vec::new(),
            in_flight_ns: 0,
            requests: 0,
            replies: 0,
            held: 0,
            outages: times(FEW_DIGITS),
            down: 0,
            failed_attempts: 0,
            generator_cpu_ns: 0,
        }
    }

    /// Adds the records of another interval, of the same or a later time. Start and duration stay
    /// unchanged.
    pub fn add(&mut self, other: &Interval) {
        let pairs = [
            (&mut self.scheduled, &other.scheduled),
            (&mut self.sent, &other.sent),
            (&mut self.lateness, &other.lateness),
            (&mut self.connects, &other.connects),
            (&mut self.outages, &other.outages),
        ];
        for (own, others) in pairs {
            own.add(others).expect("all histograms have the same bounds");
        }
        self.outcomes.add_all(&other.outcomes);
        for (outcome, others) in &other.failures {
            self.failures_of(*outcome).add(others).expect("all histograms have the same bounds");
        }
        self.in_flight_ns += other.in_flight_ns;
        self.requests += other.requests;
        self.replies += other.replies;
        self.held += other.held;
        self.down += other.down;
        self.failed_attempts += other.failed_attempts;
        self.generator_cpu_ns += other.generator_cpu_ns;
    }

    pub(super) fn failures_of(&mut self, outcome: Outcome) -> &mut Histogram<u64> {
        let at =
            self.failures.iter().position(|(other, _)| *other == outcome).unwrap_or_else(|| {
                self.failures.push((outcome, times(FEW_DIGITS)));
                self.failures.len() - 1
            });
        &mut self.failures[at].1
    }
}
