//! Assessment of a run: computes its results and their validity.

mod caveats;
pub(super) mod p99;
pub(super) mod thresholds;

use hdrhistogram::Histogram;

use caveats::Facts;
use p99::P99;

use super::engine::RunResult;
use super::interval::Interval;
use super::measurement_settings::INTERVALS;
use super::run_description::RunDescription;
use crate::results::{
    Caveat, CaveatKind, LatencyHistogram, Measurement, Outcome, Reconnects, ServerStats,
    TimeSeries, Validity,
};
use crate::stats::{self, Quantiles};

impl Measurement {
    /// Returns the result of a run.
    pub fn of(
        ran: &RunResult,
        description: RunDescription,
        server: Option<ServerStats>,
    ) -> Measurement {
        let (recorded, total) = (ran.recorded(), ran.total());
        let seconds = ran.elapsed.as_secs_f64().max(1e-9);
        let in_time = recorded.replies;
        let answered = total.outcomes.get(Outcome::Answered);
        let throughput_per_s = in_time as f64 / seconds;
        let latency = latency_with_ages(&total, description.offered_per_s.is_some());
        let cpu = recorded.generator_cpu_ns;
        let level = total.in_flight_ns as f64 / (seconds * 1e9);
        let rate = answered as f64 / seconds;
        let littles_residual = (level > 0.0 && total.failures.is_empty() && answered > 0)
            .then(|| stats::littles_residual(level, rate, total.sent.mean() / 1e9));
        let p99 = P99::of(&ran.intervals, &latency);
        let mut measurement = Measurement {
            workload: description.workload,
            clients: description.clients,
            duration_ms: ran.elapsed.as_millis() as u64,
            planned_ms: ran.planned.as_millis() as u64,
            validity: Validity::default(),
            partial: ran.is_partial,
            connections: ran.connections.first().cloned().unwrap_or_default(),
            local_errors: ran.local_errors.clone(),
            reconnects: description.reconnects.then(|| reconnects(&total)),
            background: ran.background.iter().map(|interval| interval.outcomes.clone()).collect(),
            offered_per_s: description.offered_per_s,
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
                .map(|(outcome, times)| (*outcome, Quantiles::of(times)))
                .collect(),
            generator_cpu_ns_per_request: cpu.checked_div(in_time),
            generator_cpu_share: cpu as f64 / 1e9 / seconds,
            littles_residual,
            stolen_share: ran.stolen,
            lost_time: ran.lost.shares(ran.elapsed, ran.threads),
            syscalls_per_request: None,
            syscalls_not_counted: None,
            placement: description.placement.description(),
            server_stats: server,
            idle_connections: None,
            runs: Vec::new(),
            time_series: Some(time_series(ran)),
            latency_histogram: LatencyHistogram::of(&latency),
            rates: Vec::new(),
            outcomes: total.outcomes,
        };
        measurement.validity = Validity::of(
            &measurement,
            &Facts {
                ran,
                expects_rejections: description.expects_rejections,
                precision: description.precision,
                p99: &p99,
                has_own_processor: description.placement.is_apart(),
                latency: &latency,
                lateness: &total.lateness,
            },
        );
        if let Some(text) = description.placement.caveat() {
            measurement.validity.add(Caveat { kind: CaveatKind::SharedProcessor, text });
        }
        measurement.runs = vec![measurement.run_figures()];
        measurement
    }
}

/// Returns the reconnects and outages of a run.
fn reconnects(total: &Interval) -> Reconnects {
    Reconnects {
        reconnected: total.outages.len() - total.down,
        failed_attempts: total.failed_attempts,
        down_at_end: total.down,
        outage_ns: Quantiles::of(&total.outages),
    }
}

/// Returns the figures of each interval.
fn time_series(ran: &RunResult) -> TimeSeries {
    let seconds = |interval: &Interval| (interval.duration_ns as f64 / 1e9).max(1e-9);
    let all = ran.intervals.iter();
    TimeSeries {
        interval_ms: ran.planned.as_secs_f64() * 1e3 / f64::from(INTERVALS),
        throughput_per_s: all.clone().map(|it| it.replies as f64 / seconds(it)).collect(),
        p99_ns: all
            .clone()
            .map(|it| if it.scheduled.is_empty() { &it.sent } else { &it.scheduled })
            .map(|latency| Quantiles::of(latency).p99)
            .collect(),
        // The observer of the run knows them.
        server_cpu_share: vec![None; ran.intervals.len()],
    }
}

/// Returns the latency from the scheduled times (in a closed loop, from the sending). Requests in
/// flight at the end count with their age.
fn latency_with_ages(total: &Interval, is_open: bool) -> Histogram<u64> {
    let mut latency = if is_open { total.scheduled.clone() } else { total.sent.clone() };
    for (outcome, ages) in &total.failures {
        if *outcome == Outcome::InFlight {
            latency.add(ages).expect("the histogram includes the bounds of the ages");
        }
    }
    latency
}

#[cfg(test)]
mod tests;
