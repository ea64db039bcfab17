//! Merges reports, and measurements of several runs.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::latency_histogram::LatencyHistogram;
use super::measurement::Measurement;
use super::outcome::Outcomes;
use super::report::{Report, ServerResult};
use crate::stats::{Interval, Quantiles, geometric_mean};

impl Measurement {
    /// Adds another run of the same workload on the same server.
    ///
    /// Counts and durations are added; rates and shares become means, and maxima stay maxima. The
    /// quantiles of `latency_intended_ns` are those of the merged histogram, so they have two
    /// significant digits; of the other times, and without a histogram, each quantile is the
    /// largest of all runs. With three runs or more, the interval of the p99 is that of the mean
    /// over the runs: the noise between runs is larger than that within one.
    pub fn merge(&mut self, other: Measurement) {
        let weight = |one: &Measurement| one.runs.len().max(1) as f64;
        let (own, others) = (weight(self), weight(&other));
        let mean = |one: f64, other: f64| (one * own + other * others) / (own + others);
        let mean_of = |one: Option<f64>, other: Option<f64>| match (one, other) {
            (Some(one), Some(other)) => Some(mean(one, other)),
            (one, other) => one.or(other),
        };
        let mean_ns = |one: Option<u64>, other: Option<u64>| {
            mean_of(one.map(|ns| ns as f64), other.map(|ns| ns as f64)).map(|ns| ns.round() as u64)
        };
        self.throughput_per_s = mean(self.throughput_per_s, other.throughput_per_s);
        self.offered_per_s = mean_of(self.offered_per_s, other.offered_per_s);
        self.generator_cpu_share = mean(self.generator_cpu_share, other.generator_cpu_share);
        self.generator_cpu_ns_per_request =
            mean_ns(self.generator_cpu_ns_per_request, other.generator_cpu_ns_per_request);
        self.littles_residual = mean_of(self.littles_residual, other.littles_residual);
        self.syscalls_per_request = mean_of(self.syscalls_per_request, other.syscalls_per_request);
        self.stolen_share = mean(self.stolen_share, other.stolen_share);
        self.effective_samples = mean_of(self.effective_samples, other.effective_samples);
        self.duration_ms += other.duration_ms;
        self.planned_ms += other.planned_ms;
        self.partial |= other.partial;
        self.outcomes.add_all(&other.outcomes);
        self.connections.add_all(&other.connections);
        self.local_errors.add_all(&other.local_errors);
        self.reconnects = match (self.reconnects.take(), other.reconnects) {
            (Some(own), Some(other)) => Some(own.merged(&other)),
            (own, other) => own.or(other),
        };
        self.background = merged_lists(&self.background, &other.background);
        for caveat in other.validity.caveats {
            if !self.validity.caveats.iter().any(|own| own.kind == caveat.kind) {
                self.validity.add(caveat);
            }
        }
        match (&mut self.server_stats, other.server_stats) {
            (Some(own), Some(other)) => {
                own.cpu_ns_per_request = mean_ns(own.cpu_ns_per_request, other.cpu_ns_per_request);
                own.user_cpu_ns_per_request =
                    mean_ns(own.user_cpu_ns_per_request, other.user_cpu_ns_per_request);
                own.system_cpu_ns_per_request =
                    mean_ns(own.system_cpu_ns_per_request, other.system_cpu_ns_per_request);
                own.cpu_share = mean_of(own.cpu_share, other.cpu_share);
                own.voluntary_switches_per_request = mean_of(
                    own.voluntary_switches_per_request,
                    other.voluntary_switches_per_request,
                );
                own.involuntary_switches_per_request = mean_of(
                    own.involuntary_switches_per_request,
                    other.involuntary_switches_per_request,
                );
                own.threads = own.threads.max(other.threads);
                own.processes = own.processes.max(other.processes);
                own.descriptors = own.descriptors.max(other.descriptors);
                own.anonymous_bytes = own.anonymous_bytes.max(other.anonymous_bytes);
                own.accept_queue_depth_max =
                    own.accept_queue_depth_max.max(other.accept_queue_depth_max);
            }
            (own @ None, other) => *own = other,
            (Some(_), None) => {}
        }
        match (&mut self.idle_connections, other.idle_connections) {
            (Some(own), Some(other)) => {
                let bytes = [own.memory_per_connection_bytes, other.memory_per_connection_bytes];
                own.memory_per_connection_bytes =
                    mean(bytes[0] as f64, bytes[1] as f64).round() as u64;
                own.connected_in_ms = own.connected_in_ms.max(other.connected_in_ms);
            }
            (own @ None, other) => *own = other,
            (Some(_), None) => {}
        }
        self.lost_time = self.lost_time.largest(&other.lost_time);
        self.rates.extend(other.rates);
        self.rates.sort_by(|one, other| one.offered_per_s.total_cmp(&other.offered_per_s));
        for (outcome, times) in other.failures_ns {
            self.failures_ns
                .entry(outcome)
                .and_modify(|own| *own = own.largest(&times))
                .or_insert(times);
        }
        self.latency_sent_ns = self.latency_sent_ns.largest(&other.latency_sent_ns);
        self.send_lateness_ns = self.send_lateness_ns.largest(&other.send_lateness_ns);
        self.connect_ns = self.connect_ns.largest(&other.connect_ns);
        let values = [self.latency_intended_ns.count, other.latency_intended_ns.count];
        let latency = match values {
            // A run without a reply has no histogram.
            [_, 0] => self.latency_histogram.as_ref().and_then(LatencyHistogram::decode),
            [0, _] => other.latency_histogram.as_ref().and_then(LatencyHistogram::decode),
            _ => merged_histogram(&self.latency_histogram, &other.latency_histogram),
        };
        self.latency_intended_ns = match &latency {
            Some(latency) => Quantiles::of(latency),
            // Quantiles of several runs cannot be computed from those of each run.
            None => self.latency_intended_ns.largest(&other.latency_intended_ns),
        };
        self.latency_histogram = latency.as_ref().and_then(LatencyHistogram::of);
        self.runs.extend(other.runs);
        let p99: Vec<f64> =
            self.runs.iter().filter_map(|run| run.p99_ns).map(|ns| ns as f64).collect();
        // Two runs are too few for an interval, and that of one of them is not that of both.
        self.p99_interval_ns = geometric_mean(&p99).map(|(_, interval)| {
            let [low, high] = [interval.low, interval.high].map(|ns| ns.round() as u64);
            Interval { low, high }
        });
    }
}

fn merged_lists(one: &[Outcomes], other: &[Outcomes]) -> Vec<Outcomes> {
    let mut merged = vec![Outcomes::default(); one.len().max(other.len())];
    for list in [one, other] {
        merged.iter_mut().zip(list).for_each(|(sum, outcomes)| sum.add_all(outcomes));
    }
    merged
}

/// Returns the sum of both histograms, or `None` if one is missing.
fn merged_histogram(
    one: &Option<LatencyHistogram>,
    other: &Option<LatencyHistogram>,
) -> Option<Histogram<u64>> {
    let decoded = |it: &Option<LatencyHistogram>| it.as_ref().and_then(LatencyHistogram::decode);
    match (decoded(one), decoded(other)) {
        (Some(mut one), Some(other)) => {
            one.auto(true);
            one.add(other).ok().map(|()| one)
        }
        _ => None,
    }
}

impl ServerResult {
    /// Adds a measurement: a new workload, or another run of a workload.
    pub fn add_measurement(&mut self, measurement: Measurement) {
        let same = |own: &&mut Measurement| own.workload == measurement.workload;
        match self.measurements.iter_mut().find(same) {
            Some(own) => own.merge(measurement),
            None => self.measurements.push(measurement),
        }
    }

    /// Adds the results of another run of this server. Of each case, the result that needs
    /// attention stays, otherwise the first.
    fn merge(&mut self, other: ServerResult) {
        for result in other.cases {
            match self.cases.iter_mut().find(|own| own.name == result.name) {
                Some(own) if own.is_fine() && !result.is_fine() => *own = result,
                Some(_) => {}
                None => self.cases.push(result),
            }
        }
        for measurement in other.measurements {
            self.add_measurement(measurement);
        }
        for not_measured in other.not_measured {
            if !self.not_measured.contains(&not_measured) {
                self.not_measured.push(not_measured);
            }
        }
        self.not_run = self.not_run.take().filter(|_| other.not_run.is_some());
        self.problem = self.problem.take().or(other.problem);
        self.round_trip_us = self.round_trip_us.into_iter().chain(other.round_trip_us).min();
        self.measured_command = self.measured_command.take().or(other.measured_command);
        self.measured_capacity = self.measured_capacity.or(other.measured_capacity);
        self.concurrency_model = self.concurrency_model.or(other.concurrency_model);
        self.start_state = self.start_state.take().or(other.start_state);
        self.launch = self.launch.take().or(other.launch);
    }
}

impl Report {
    /// Returns whether the report has a measurement.
    pub(crate) fn is_measured(&self) -> bool {
        self.servers.iter().any(|server| !server.measurements.is_empty())
    }

    /// Merges reports of the same servers into one. Environment and seed are those of the first
    /// report, and the plan that of the first report with measurements. Returns `None` for no
    /// report.
    pub fn merged(reports: impl IntoIterator<Item = Report>) -> Option<Report> {
        let mut reports = reports.into_iter();
        let mut merged = reports.next()?;
        let mut index: BTreeMap<String, usize> =
            merged.servers.iter().enumerate().map(|(at, it)| (it.name.clone(), at)).collect();
        for report in reports {
            merged.complete &= report.complete;
            if !merged.is_measured() && report.is_measured() {
                merged.plan.clone_from(&report.plan);
            }
            merged.duration_ms += report.duration_ms;
            merged.merged_reports += 1 + report.merged_reports;
            for server in report.servers {
                match index.get(&server.name) {
                    Some(&at) => merged.servers[at].merge(server),
                    None => {
                        index.insert(server.name.clone(), merged.servers.len());
                        merged.servers.push(server);
                    }
                }
            }
        }
        Some(merged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_histograms_have_the_values_of_both() {
        let histogram = |value: u64| {
            let mut histogram = Histogram::<u64>::new(3).expect("three digits");
            histogram.record_n(value, 10).expect("in range");
            LatencyHistogram::of(&histogram)
        };
        // The second histogram needs a larger range than the first, and the other way round.
        for (one, other) in [(1_000, 900_000_000), (900_000_000, 1_000)] {
            let merged = merged_histogram(&histogram(one), &histogram(other)).expect("values");
            assert_eq!(merged.len(), 20);
            assert!(merged.min() <= 1_000 && merged.max() >= 900_000_000);
        }
    }
}
