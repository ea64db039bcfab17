//! Assessment of a run: its results and their validity.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::engine::Ran;
use super::lost_time::LostShares;
use super::measurement::{About, Measurement};
use super::outcome::{Outcome, Outcomes};
use super::recorder::Interval;
use super::server_stats::ServerSide;
use super::validity::{Caveat, CaveatKind, Validity};
use crate::figures::{rate, time_or_dash};
use crate::stats::{self, Quantiles, Stationarity};

/// A generator that is busy for a larger share of the time may limit the throughput.
pub(super) const BUSY: f64 = 0.95;

/// A server that is busy for a larger share of the time limits the throughput, too.
pub(super) const SERVER_BUSY: f64 = 0.9;

/// Share of the offered requests that a server must answer in time to keep up. The validity of a
/// run and the search for the highest sustained rate use this same threshold.
pub(super) const ACHIEVED: f64 = 0.98;

/// Maximum relative disagreement of the generator's own counts (Little's law).
const LITTLE: f64 = 0.05;

/// Share of stolen CPU time above which every figure is affected.
const STOLEN: f64 = 0.05;

/// Maximum share of time that the generator may lose. A shortfall of the same size on the server's
/// side is called overload.
const LOST: f64 = 1.0 - ACHIEVED;

/// Maximum share of time on the run queue, and of other processes on the generator's CPU. Each
/// wake-up waits for some microseconds: at many thousand per second that makes a few percent.
const CROWDED: f64 = 0.1;

/// Minimum CPU time of other processes: it is counted in ticks of mostly 10 ms, and a smaller value
/// proves nothing.
const LEAST_OTHERS: Duration = Duration::from_millis(50);

/// Send lateness that is tolerated in itself, in nanoseconds: a shared machine causes it now and
/// then.
const LATE: u64 = 1_000_000;

/// Facts that decide the validity, besides the figures.
pub(super) struct Believed<'r> {
    pub(super) ran: &'r Ran,
    /// Whether the server must turn the background clients away.
    pub(super) are_turned_away: bool,
    /// Requested relative precision of the p99, if any; `p99` has the precision reached.
    pub(super) precision: Option<f64>,
    pub(super) p99: &'r P99,
    /// Whether the generator had a CPU that no other process of the run was to use.
    pub(super) has_own_processor: bool,
    /// Latency from the requests' due times, and the delay of their sending.
    pub(super) latency: &'r Histogram<u64>,
    pub(super) lateness: &'r Histogram<u64>,
}

impl Validity {
    pub(super) fn of(one: &Measurement, believed: &Believed<'_>) -> Validity {
        use CaveatKind as Kind;
        let ran = believed.ran;
        let (own, lost) = (believed.has_own_processor, &one.lost);
        let shortfall = shortfall(one, ran);
        let against = [
            (Kind::Faults, faults(one, believed)),
            (Kind::EndedEarly, ended_early(one)),
            (Kind::Overload, shortfall.of_server),
            (Kind::SentLate, late(one, believed).or(shortfall.of_generator)),
            (Kind::GeneratorBusy, busy(one, ran.threads)),
            (Kind::Miscounted, miscounted(one, ran)),
            (Kind::GeneratorStopped, stopped(lost)),
            (Kind::RunQueue, run_queue(lost).filter(|_| own)),
            (Kind::Throttled, throttled(lost)),
            (Kind::OtherLoad, other_load(one).filter(|_| own)),
            (Kind::Stolen, stolen(one)),
            (Kind::Changed, changed(one, ran)),
            (Kind::Imprecise, imprecise(believed)),
        ];
        let caveats = against.into_iter().filter_map(|(kind, words)| {
            let words = words?;
            Some(Caveat { kind, words })
        });
        Validity::by(caveats.collect())
    }
}

fn faults(one: &Measurement, believed: &Believed<'_>) -> Option<String> {
    let none_answered = || {
        let is_none = one.outcomes.sum() > 0 && !one.has_answers();
        is_none.then(|| "no request was answered".to_owned())
    };
    let requests = bad(&one.outcomes, NO_FAULTS, "requests");
    let connections = bad(&one.connections, &[Outcome::Answered], "connections");
    let faults = [requests, connections].into_iter().chain(faults_beside(believed));
    let faults: Vec<String> = faults.flatten().chain(none_answered()).collect();
    (!faults.is_empty()).then(|| faults.join("; "))
}

/// Request outcomes that count as no fault. A request in flight at the end may still get its reply,
/// and a busy line is a correct answer of a full server.
const NO_FAULTS: &[Outcome] = &[Outcome::Answered, Outcome::InFlight, Outcome::Busy];

/// Outcomes permitted for background clients that are turned away: the server may send a busy line
/// or none.
const TURNED_AWAY: &[Outcome] = &[
    Outcome::Answered,
    Outcome::InFlight,
    Outcome::Busy,
    Outcome::Refused,
    Outcome::Reset,
    Outcome::Closed,
];

/// Returns the faults of the background clients. With them the run had another load than planned.
fn faults_beside(believed: &Believed<'_>) -> [Option<String>; 2] {
    let (requests, connections) = match believed.are_turned_away {
        true => (TURNED_AWAY, TURNED_AWAY),
        // A slow client may not have completed its first request.
        false => (NO_FAULTS, &[Outcome::Answered, Outcome::InFlight][..]),
    };
    let mut of_requests = Outcomes::default();
    believed.ran.beside.iter().for_each(|interval| of_requests.add_all(&interval.outcomes));
    let mut of_connections = Outcomes::default();
    believed.ran.connections.iter().skip(1).for_each(|group| of_connections.add_all(group));
    [
        bad(&of_requests, requests, "requests beside"),
        bad(&of_connections, connections, "connections beside"),
    ]
}

/// Describes the outcomes that are not in `good`.
fn bad(outcomes: &Outcomes, good: &[Outcome], what: &str) -> Option<String> {
    let words: Vec<String> = Outcome::ALL
        .iter()
        .filter(|outcome| !good.contains(outcome) && outcomes.get(**outcome) > 0)
        .map(|&outcome| format!("{} {}", outcomes.get(outcome), outcome.words()))
        .collect();
    (!words.is_empty()).then(|| format!("{what}: {}", words.join(", ")))
}

/// Describes a run that ended early because no connection was left: the server must have closed
/// them.
fn ended_early(one: &Measurement) -> Option<String> {
    (one.duration_ms < one.planned_ms && !one.partial).then(|| {
        let [took, planned] = [one.duration_ms, one.planned_ms].map(|ms| rate(ms as f64 / 1e3));
        format!("it was measured for {took} of {planned} s: no connection was left")
    })
}

/// Description of a shortfall: fewer requests answered in time than due, by cause.
#[derive(Default)]
struct Shortfall {
    of_server: Option<String>,
    of_generator: Option<String>,
}

fn shortfall(one: &Measurement, ran: &Ran) -> Shortfall {
    let busy = one.outcomes.get(Outcome::Busy);
    if busy > 0 {
        let words = format!("{busy} requests were told that the server is busy");
        return Shortfall { of_server: Some(words), of_generator: None };
    }
    // Compares with the requests that were really due: random arrivals may be more or fewer.
    if one.offered_per_s.is_none() || ran.achieved() >= ACHIEVED {
        return Shortfall::default();
    }
    let due = ran.asked() as f64 / ran.elapsed.as_secs_f64().max(1e-9);
    let [answered, due] = [one.throughput_per_s, due].map(rate);
    let words = format!("{answered} of {due} requests/s were answered in time");
    match ran.achieved() + not_sent_in_time(ran) < ACHIEVED {
        true => Shortfall { of_server: Some(words), of_generator: None },
        false => {
            let words = format!("{words}: the generator sent the others too late");
            Shortfall { of_server: None, of_generator: Some(words) }
        }
    }
}

/// Returns the share of the requests that the server could not answer in time because the generator
/// sent them late. They were sent after the end, or shortly before it after a gap.
fn not_sent_in_time(ran: &Ran) -> f64 {
    let unsent = ran.after.asked as f64 / ran.asked().max(1) as f64;
    let (elapsed, end) = (ran.elapsed.as_nanos() as u64, ran.after.start_ns);
    let (gap_ended, gap) = ran.lost.last_gap;
    let is_near = gap > 0 && gap_ended + elapsed / 10 >= end;
    // Requests due in the part of the gap after the end do not belong to the run.
    let within = gap.saturating_sub(gap_ended.saturating_sub(end)) as f64;
    // Requests of a gap across the end were sent after it, and are in `unsent` already.
    let in_gap = if is_near && gap_ended < end { within / elapsed.max(1) as f64 } else { 0.0 };
    unsent + in_gap
}

fn late(one: &Measurement, believed: &Believed<'_>) -> Option<String> {
    one.offered_per_s?;
    let [late, latency] = [believed.lateness, believed.latency]
        .map(|times| [0.5, 0.99].map(|quantile| times.value_at_quantile(quantile)));
    let is_late = late[0] > latency[0] / 10 || late[1] > LATE.max(latency[1] / 2);
    is_late.then(|| {
        let Quantiles { p50, p99, max, .. } = one.send_lateness_ns;
        let [p50, p99, max] = [p50, p99, max].map(time_or_dash);
        format!("requests were sent late: p50 {p50}, p99 {p99}, max {max}")
    })
}

/// Formats a share in percent.
fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn stopped(lost: &LostShares) -> Option<String> {
    (lost.gaps_share > LOST).then(|| {
        let longest = time_or_dash(Some(lost.longest_gap_ns));
        let percent = percent(lost.gaps_share);
        format!("the generator did not run for {percent} of the time, for {longest} in a row")
    })
}

fn run_queue(lost: &LostShares) -> Option<String> {
    let share = lost.run_queue_share.filter(|&share| share > CROWDED)?;
    Some(format!("the generator waited for its processor for {} of the time", percent(share)))
}

fn throttled(lost: &LostShares) -> Option<String> {
    let share = lost.throttled_share.filter(|&share| share > LOST)?;
    Some(format!("the CPU quota of its cgroup was used up for {} of the time", percent(share)))
}

fn other_load(one: &Measurement) -> Option<String> {
    let share = one.lost.other_load_share.filter(|&share| share > CROWDED)?;
    let others_ms = share * one.duration_ms as f64;
    (others_ms >= LEAST_OTHERS.as_millis() as f64)
        .then(|| format!("others used {} of the generator's processor", percent(share)))
}

fn busy(one: &Measurement, threads: usize) -> Option<String> {
    if one.offered_per_s.is_some() {
        // The generator busy-waits for the next due time.
        return None;
    }
    let generator = one.generator_cpu_share / threads.max(1) as f64;
    let server = one.server.as_ref().and_then(|server| server.cpu_share);
    let is_bound = generator > BUSY && server.is_none_or(|share| share < SERVER_BUSY);
    is_bound.then(|| {
        let generator =
            format!("the generator was busy for {:.0} % of the time", generator * 100.0);
        match server {
            Some(share) => format!("{generator}, the server for {:.0} %", share * 100.0),
            None => generator,
        }
    })
}

fn miscounted(one: &Measurement, ran: &Ran) -> Option<String> {
    let (asked, over) = (ran.asked(), one.outcomes.sum());
    if asked != over {
        return Some(format!("of {asked} requests {over} are known to be over or in flight"));
    }
    let residual = one.littles_residual?;
    (residual.abs() > LITTLE).then(|| {
        let percent = residual * 100.0;
        format!("requests under way and latency disagree by {percent:.1} % (Little's law)")
    })
}

fn stolen(one: &Measurement) -> Option<String> {
    let is_silent = one.outcomes.sum() == 0 && one.offered_per_s.is_none() && !one.partial;
    if is_silent && one.connections.is_all_answered() {
        return Some("nothing was asked in all that time: others had the processor".to_owned());
    }
    (one.stolen_share > STOLEN).then(|| {
        let percent = one.stolen_share * 100.0;
        format!("others were given {percent:.0} % of the machine's time (steal)")
    })
}

fn changed(one: &Measurement, ran: &Ran) -> Option<String> {
    // Excludes a last interval that was cut short.
    let whole = || ran.intervals.iter().filter(|it| it.duration_ns * 10 > longest(ran) * 9);
    let rates: Vec<f64> = whole().map(|it| it.replies as f64 / it.duration_ns as f64).collect();
    let medians: Vec<f64> = whole().map(|it| it.sent.value_at_quantile(0.5) as f64).collect();
    let says = |what: &str, figures: &[f64]| match Stationarity::of(figures) {
        Stationarity::Stationary | Stationarity::TooShort { .. } => None,
        found => Some(format!("{what}: {found}")),
    };
    match one.offered_per_s {
        Some(_) => says("median latency", &medians),
        None => says("throughput", &rates),
    }
}

fn longest(ran: &Ran) -> u64 {
    ran.intervals.iter().map(|interval| interval.duration_ns).max().unwrap_or(0)
}

fn imprecise(believed: &Believed<'_>) -> Option<String> {
    let wanted = believed.precision?;
    let percent = wanted * 100.0;
    match believed.p99.precision() {
        Some(found) if found <= wanted => None,
        Some(found) => Some(format!(
            "the p99 is known to ±{:.1} %, and ±{percent:.1} % was asked for",
            found * 100.0
        )),
        None => Some(format!("the p99 is not known to ±{percent:.1} %: too little was measured")),
    }
}

impl Measurement {
    /// Returns the result of a run.
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
}

/// Returns the latency from due times. Requests in flight count with their age.
fn with_bounds(total: &Interval, is_open: bool) -> Histogram<u64> {
    let mut latency = if is_open { total.intended.clone() } else { total.sent.clone() };
    for (outcome, ages) in &total.failures {
        if *outcome == Outcome::InFlight {
            latency.add(ages).expect("it has room for them");
        }
    }
    latency
}

/// Estimate of a latency's 99th percentile.
pub(super) struct P99 {
    value: u64,
    samples: Option<f64>,
    interval: Option<stats::Interval<u64>>,
}

impl P99 {
    /// Estimates it from the latencies of all these intervals.
    pub(super) fn of(intervals: &[Interval], latency: &Histogram<u64>) -> P99 {
        let samples = effective_samples(intervals, 0.99, latency);
        let interval = samples.and_then(|it| stats::quantile_interval(latency, 0.99, it));
        P99 { value: latency.value_at_quantile(0.99), samples, interval }
    }

    /// Returns half the width of the confidence interval, relative to the p99.
    pub(super) fn precision(&self) -> Option<f64> {
        let interval = self.interval.as_ref()?;
        Some((interval.high - interval.low) as f64 / 2.0 / self.value.max(1) as f64)
    }
}

/// Returns the effective sample size of the intervals for this quantile.
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

#[cfg(test)]
mod tests;
