//! What one server did under one load, and whether that is to be believed.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::engine::Ran;
use super::lost_time::LostShares;
use super::outcome::{Outcome, Outcomes};
use super::placement::Placement;
use super::recorder::Interval;
use super::side::ServerSide;
use super::validity::{Believed, Caveat, CaveatKind, Validity};
use crate::stats::{self, Quantiles};

/// What one server did under one load.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    /// The workload's name.
    pub workload: String,
    /// Connections asked for.
    pub clients: usize,
    /// How long was recorded, in milliseconds.
    pub duration_ms: u64,
    /// How long was to be recorded, in milliseconds. A run that ended earlier says why.
    pub planned_ms: u64,
    /// Whether the figures are to be believed, and why not.
    #[serde(flatten)]
    pub validity: Validity,
    /// Whether the run was interrupted.
    pub partial: bool,
    /// What became of the requests.
    pub outcomes: Outcomes,
    /// What became of the connections; `answered` are those that lasted and were answered.
    pub connections: Outcomes,
    /// What became of the requests of others, who were there beside, by group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<Outcomes>,
    /// Requests that were due per second, in an open loop.
    pub offered_per_s: Option<f64>,
    /// Right replies per second.
    pub throughput_per_s: f64,
    /// From when a request was due to its right reply. In a closed loop it is due when it is sent,
    /// and a slow reply delays the next request: that is what a client saw, not what an independent
    /// arrival would have. Requests still in flight at the end are there with their age, which is a
    /// lower bound: `outcomes` says how many.
    pub latency_intended_ns: Quantiles,
    /// From when a request was sent to its right reply.
    pub latency_sent_ns: Quantiles,
    /// Where the p99 of `latency_intended_ns` is with 95 % confidence, if enough was measured.
    pub p99_interval_ns: Option<stats::Interval<u64>>,
    /// As many independent requests would say as much: those of a run depend on each other.
    pub effective_samples: Option<f64>,
    /// How much later than due requests were sent, in an open loop.
    pub send_lateness_ns: Quantiles,
    /// How long it took to connect.
    pub connect_ns: Quantiles,
    /// How long it took until requests met anything but their right reply, by that.
    pub failures_ns: BTreeMap<&'static str, Quantiles>,
    /// Processor time of the generator for each right reply, if there was any. That of an open loop
    /// counts the waiting for the next request, too.
    pub generator_cpu_ns_per_request: Option<u64>,
    /// Processor time of the generator over the run's, 1 for one processor that was kept busy.
    pub generator_cpu_share: f64,
    /// By how much the requests under way, on average over time, differ from throughput times mean
    /// latency (Little's law), as a part: a check of the generator's own counting, as those under way
    /// are counted apart from the latencies.
    pub littles_residual: Option<f64>,
    /// The part of the machine's processor time that others were given meanwhile, where it is a
    /// virtual one.
    pub stolen_share: f64,
    /// Time that the generator lost.
    pub lost: LostShares,
    /// System calls of the server for each right reply, counted in a run of its own, where that was
    /// asked for and is permitted.
    pub syscalls_per_request: Option<f64>,
    /// Why they were not counted, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syscalls_not_counted: Option<String>,
    /// Who ran where.
    pub placement: String,
    /// What the server did meanwhile; not known of one that the harness has not launched.
    pub server: Option<ServerSide>,
    /// What holding the connections took, where that is what the workload is about.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

/// What holding many connections took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Anonymous resident memory of the server's processes for each connection: what they hold
    /// with all connected and answered, less what they held with none.
    pub memory_per_connection_bytes: u64,
    /// How long it took until all were connected and answered once, in milliseconds.
    pub connected_in_ms: u64,
}

/// What a measurement is of.
#[derive(Clone, Debug)]
pub struct About {
    /// The workload's name.
    pub workload: String,
    /// Connections asked for.
    pub clients: usize,
    /// Requests due per second, in an open loop.
    pub offered_per_s: Option<f64>,
    /// Whether those beside are there to be turned away.
    pub are_turned_away: bool,
    /// Who ran where.
    pub placement: Placement,
    /// How wide the interval of the p99 may be to either side, as a part of it, if that was asked
    /// for.
    pub precision: Option<f64>,
}

impl Measurement {
    /// What a run comes to.
    pub fn of(ran: &Ran, about: About, server: Option<ServerSide>) -> Measurement {
        let (recorded, total) = (ran.recorded(), ran.total());
        let seconds = ran.elapsed.as_secs_f64().max(1e-9);
        let in_time = recorded.replies;
        let answered = total.outcomes.get(Outcome::Answered);
        let throughput_per_s = in_time as f64 / seconds;
        let latency = with_bounds(&total, about.offered_per_s.is_some());
        let cpu = recorded.generator_cpu_ns;
        let level = total.level_ns as f64 / (seconds * 1e9);
        let rate = answered as f64 / seconds;
        let littles_residual = (level > 0.0 && total.failures.is_empty() && answered > 0)
            .then(|| stats::littles_residual(level, rate, total.sent.mean() / 1e9));
        let p99 = P99::of(&ran.intervals, &latency);
        let mut measurement = Measurement {
            workload: about.workload,
            clients: about.clients,
            duration_ms: ran.elapsed.as_millis() as u64,
            planned_ms: ran.planned.as_millis() as u64,
            validity: Validity::default(),
            partial: ran.is_partial,
            connections: ran.connections.first().cloned().unwrap_or_default(),
            beside: ran.beside.iter().map(|interval| interval.outcomes.clone()).collect(),
            offered_per_s: about.offered_per_s,
            throughput_per_s,
            latency_intended_ns: Quantiles::of(&latency),
            latency_sent_ns: Quantiles::of(&total.sent),
            p99_interval_ns: p99.interval,
            effective_samples: p99.samples,
            send_lateness_ns: Quantiles::of(&total.lateness),
            connect_ns: Quantiles::of(&total.connects),
            failures_ns: total
                .failures
                .iter()
                .map(|(outcome, times)| (outcome.name(), Quantiles::of(times)))
                .collect(),
            generator_cpu_ns_per_request: cpu.checked_div(in_time),
            generator_cpu_share: cpu as f64 / 1e9 / seconds,
            littles_residual,
            stolen_share: ran.stolen,
            lost: ran.lost.shares(ran.elapsed, ran.threads),
            syscalls_per_request: None,
            syscalls_not_counted: None,
            placement: about.placement.words(),
            server,
            held: None,
            outcomes: total.outcomes,
        };
        measurement.validity = Validity::of(
            &measurement,
            &Believed {
                ran,
                are_turned_away: about.are_turned_away,
                precision: about.precision,
                p99: &p99,
                has_own_processor: about.placement.is_apart(),
                latency: &latency,
                lateness: &total.lateness,
            },
        );
        if let Some(words) = about.placement.caveat() {
            measurement.validity.add(Caveat { kind: CaveatKind::SharedProcessor, words });
        }
        measurement
    }

    /// Processor time of the server for each right reply, in nanoseconds, where it is known.
    pub fn server_cpu_ns_per_request(&self) -> Option<u64> {
        self.server.as_ref()?.cpu_ns_per_request
    }

    /// Whether any request was answered rightly: without, there is no result.
    pub fn has_answers(&self) -> bool {
        // Where much is late, all that came in time may have been due before.
        self.outcomes.get(Outcome::Answered) > 0 || self.throughput_per_s > 0.0
    }

    /// What the server did wrong under this load, if so.
    pub fn problem(&self) -> Option<String> {
        self.validity.problem()
    }
}

/// The latency from when requests were due, with those in flight as their ages.
fn with_bounds(total: &Interval, is_open: bool) -> Histogram<u64> {
    let mut latency = if is_open { total.intended.clone() } else { total.sent.clone() };
    for (outcome, ages) in &total.failures {
        if *outcome == Outcome::InFlight {
            latency.add(ages).expect("it has room for them");
        }
    }
    latency
}

/// What is known of the 99th percentile of a latency.
pub(super) struct P99 {
    value: u64,
    samples: Option<f64>,
    interval: Option<stats::Interval<u64>>,
}

impl P99 {
    /// That of the latency of all these intervals.
    pub(super) fn of(intervals: &[Interval], latency: &Histogram<u64>) -> P99 {
        let samples = effective_samples(intervals, 0.99, latency);
        let interval = samples.and_then(|it| stats::quantile_interval(latency, 0.99, it));
        P99 { value: latency.value_at_quantile(0.99), samples, interval }
    }

    /// Half the width of its interval, as a part of it.
    pub(super) fn precision(&self) -> Option<f64> {
        let interval = self.interval.as_ref()?;
        Some((interval.high - interval.low) as f64 / 2.0 / self.value.max(1) as f64)
    }
}

/// How many independent requests would say as much about this quantile as those of the intervals.
fn effective_samples(
    intervals: &[Interval],
    quantile: f64,
    latency: &Histogram<u64>,
) -> Option<f64> {
    let bound = latency.value_at_quantile(quantile);
    let batches: Vec<stats::Batch> = intervals
        .iter()
        .map(|interval| {
            let of = if interval.intended.is_empty() { &interval.sent } else { &interval.intended };
            let count = of.len();
            let above = count - of.count_between(0, bound).min(count);
            let part = above as f64 / count.max(1) as f64;
            stats::Batch { count, mean: part, variance: part * (1.0 - part) }
        })
        .collect();
    stats::effective_sample_size(&batches)
}
