//! Caveats: reasons to distrust the results of a run.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::p99::P99;
use super::thresholds::{ACHIEVED, BUSY, SERVER_BUSY};
use crate::figures::{counted, rate, time_or_dash};
use crate::load::engine::RunResult;
use crate::results::LostShares;
use crate::results::Measurement;
use crate::results::{Caveat, CaveatKind, Validity};
use crate::results::{Outcome, Outcomes};
use crate::stats::{Quantiles, Stationarity};

/// Maximum residual of Little's law, as a relative difference.
const MAX_RESIDUAL: f64 = 0.05;

/// Maximum share of stolen CPU time. Above it, all figures are doubtful.
const MAX_STOLEN: f64 = 0.05;

/// Maximum share of time in which the generator could not run: as large as the share of requests
/// without a reply in time above which a run is overloaded.
const MAX_LOST: f64 = 1.0 - ACHIEVED;

/// Maximum share of time on the run queue, and maximum share of other processes on the generator's
/// CPU. Each wake-up of the generator takes some microseconds on the run queue: many thousand
/// wake-ups per second are a few percent.
const MAX_CONTENTION: f64 = 0.1;

/// Minimum CPU time of other processes for a caveat. The kernel counts CPU time in ticks of 10 ms,
/// so a smaller value proves nothing.
const MIN_OTHERS: Duration = Duration::from_millis(50);

/// Send lateness that is tolerated at any latency, in nanoseconds. A shared machine causes
/// such delays occasionally.
const TOLERATED_LATENESS: u64 = 1_000_000;

/// Facts that determine the validity in addition to the figures of the measurement.
pub(super) struct Facts<'r> {
    pub(super) ran: &'r RunResult,
    /// Whether the server is expected to reject the background clients.
    pub(super) expects_rejections: bool,
    /// Requested relative precision of the p99, if any.
    pub(super) precision: Option<f64>,
    /// Estimate of the p99, with the precision reached.
    pub(super) p99: &'r P99,
    /// Whether the generator was pinned to a CPU that the server does not use.
    pub(super) has_own_processor: bool,
    /// Latency from the scheduled times; requests in flight count with their age.
    pub(super) latency: &'r Histogram<u64>,
    /// Delay from the scheduled time to the sending.
    pub(super) lateness: &'r Histogram<u64>,
}

impl Validity {
    /// Returns the validity of a measurement.
    pub(super) fn of(one: &Measurement, facts: &Facts<'_>) -> Validity {
        use CaveatKind as Kind;
        let ran = facts.ran;
        let (own, lost) = (facts.has_own_processor, &one.lost_time);
        let shortfall = shortfall(one, ran);
        let possible = [
            (Kind::Faults, faults(one, facts)),
            (Kind::EndedEarly, ended_early(one)),
            (Kind::LocalErrors, local_errors(one)),
            (Kind::Overload, shortfall.of_server),
            (Kind::SentLate, late(one, facts).or(shortfall.of_generator)),
            (Kind::GeneratorBusy, busy(one, ran.threads)),
            (Kind::Miscounted, miscounted(one, ran)),
            (Kind::GeneratorStopped, stopped(lost)),
            (Kind::RunQueue, run_queue(lost).filter(|_| own)),
            (Kind::Throttled, throttled(lost)),
            (Kind::OtherLoad, other_load(one).filter(|_| own)),
            (Kind::Stolen, stolen(one)),
            (Kind::Changed, changed(one, ran)),
            (Kind::Imprecise, imprecise(facts)),
        ];
        let caveats = possible.into_iter().filter_map(|(kind, text)| {
            let text = text?;
            Some(Caveat { kind, text })
        });
        Validity::with_caveats(caveats.collect())
    }
}

fn faults(one: &Measurement, facts: &Facts<'_>) -> Option<String> {
    let none_answered = || {
        let is_none = one.outcomes.sum() > 0 && !one.has_answers();
        is_none.then(|| "no request was answered".to_owned())
    };
    let requests = describe_faults(&one.outcomes, NO_FAULTS, "requests");
    let connections = describe_faults(&one.connections, &[Outcome::Answered], "connections");
    let faults = [requests, connections].into_iter().chain(background_faults(facts));
    let faults: Vec<String> = faults.flatten().chain(none_answered()).collect();
    (!faults.is_empty()).then(|| faults.join("; "))
}

/// Request outcomes that are no fault. A request in flight at the end may still get its reply, and
/// a busy line is a correct reply of a full server.
const NO_FAULTS: &[Outcome] = &[Outcome::Answered, Outcome::InFlight, Outcome::Busy];

/// Outcomes that are no fault for background clients that the server is expected to reject, with or
/// without a busy line.
const REJECTED: &[Outcome] = &[
    Outcome::Answered,
    Outcome::InFlight,
    Outcome::Busy,
    Outcome::Refused,
    Outcome::Reset,
    Outcome::Closed,
];

/// Describes the faults of the background clients, which change the load on the server.
fn background_faults(facts: &Facts<'_>) -> [Option<String>; 2] {
    let (requests, connections) = match facts.expects_rejections {
        true => (REJECTED, REJECTED),
        // A slow client may not have completed its first request.
        false => (NO_FAULTS, &[Outcome::Answered, Outcome::InFlight][..]),
    };
    let mut of_requests = Outcomes::default();
    facts.ran.background.iter().for_each(|interval| of_requests.add_all(&interval.outcomes));
    let mut of_connections = Outcomes::default();
    facts.ran.connections.iter().skip(1).for_each(|group| of_connections.add_all(group));
    [
        describe_faults(&of_requests, requests, "requests of background clients"),
        describe_faults(&of_connections, connections, "connections of background clients"),
    ]
}

/// Describes the outcomes that are not in `good`, with their counts.
fn describe_faults(outcomes: &Outcomes, good: &[Outcome], what: &str) -> Option<String> {
    let words: Vec<String> = Outcome::ALL
        .iter()
        .filter(|outcome| !good.contains(outcome) && outcomes.get(**outcome) > 0)
        .map(|&outcome| format!("{} {}", outcomes.get(outcome), outcome.label()))
        .collect();
    (!words.is_empty()).then(|| format!("{what}: {}", words.join(", ")))
}

/// Describes a run that ended early because no connection was open.
fn ended_early(one: &Measurement) -> Option<String> {
    // The generator's own errors have a caveat.
    let is_local = !one.local_errors.is_empty() && one.connections.is_all_answered();
    (one.duration_ms < one.planned_ms && !one.partial && !is_local).then(|| {
        let [took, planned] = [one.duration_ms, one.planned_ms].map(|ms| rate(ms as f64 / 1e3));
        format!("the run ended after {took} of {planned} s: no connection was left")
    })
}

/// Describes the connections that this machine or the network could not open or keep.
fn local_errors(one: &Measurement) -> Option<String> {
    let texts: Vec<String> = one
        .local_errors
        .iter()
        .map(|(error, count)| {
            let connections = counted(count, "connection");
            format!("this machine or the network failed {connections}: {}", error.text())
        })
        .collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

/// Description of a shortfall, by cause: fewer requests were answered in time than were scheduled.
#[derive(Default)]
struct Shortfall {
    of_server: Option<String>,
    of_generator: Option<String>,
}

fn shortfall(one: &Measurement, ran: &RunResult) -> Shortfall {
    let busy = one.outcomes.get(Outcome::Busy);
    if busy > 0 {
        let text = format!("{busy} requests got a busy line");
        return Shortfall { of_server: Some(text), of_generator: None };
    }
    // With Poisson arrivals, the number of scheduled requests is not exactly rate × duration.
    if one.offered_per_s.is_none() || ran.achieved() >= ACHIEVED {
        return Shortfall::default();
    }
    let due = ran.requests() as f64 / ran.elapsed.as_secs_f64().max(1e-9);
    let [answered, due] = [one.throughput_per_s, due].map(rate);
    let text = format!("{answered} of the {due} requests/s that were due were answered in time");
    match ran.achieved() + share_sent_late(ran) < ACHIEVED {
        true => Shortfall { of_server: Some(text), of_generator: None },
        false => {
            let text = format!("{text}; the generator sent the others too late");
            Shortfall { of_server: None, of_generator: Some(text) }
        }
    }
}

/// Returns the share of the requests that the generator sent too late to be answered in time: after
/// the end of the run, or shortly before the end, after a gap.
fn share_sent_late(ran: &RunResult) -> f64 {
    // Requests that waited for a connection were not sent late by the generator.
    let late = ran.after.requests.saturating_sub(ran.after.held);
    let unsent = late as f64 / ran.requests().max(1) as f64;
    let (elapsed, end) = (ran.elapsed.as_nanos() as u64, ran.after.start_ns);
    let (gap_ended, gap) = ran.lost.last_gap;
    let is_near = gap > 0 && gap_ended + elapsed / 10 >= end;
    // The part of the gap after the end does not count: its requests are not in the run.
    let within = gap.saturating_sub(gap_ended.saturating_sub(end)) as f64;
    // If the gap includes the end, its requests were sent after the end and are in `unsent`.
    let in_gap = if is_near && gap_ended < end { within / elapsed.max(1) as f64 } else { 0.0 };
    unsent + in_gap
}

fn late(one: &Measurement, facts: &Facts<'_>) -> Option<String> {
    one.offered_per_s?;
    let [late, latency] = [facts.lateness, facts.latency]
        .map(|times| [0.5, 0.99].map(|quantile| times.value_at_quantile(quantile)));
    let is_late = late[0] > latency[0] / 10 || late[1] > TOLERATED_LATENESS.max(latency[1] / 2);
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
    (lost.gaps_share > MAX_LOST).then(|| {
        let longest = time_or_dash(Some(lost.longest_gap_ns));
        let percent = percent(lost.gaps_share);
        format!(
            "the generator was not running for {percent} of the time; the longest gap was {longest}"
        )
    })
}

fn run_queue(lost: &LostShares) -> Option<String> {
    let share = lost.run_queue_share.filter(|&share| share > MAX_CONTENTION)?;
    Some(format!("the generator waited for its CPU for {} of the time", percent(share)))
}

fn throttled(lost: &LostShares) -> Option<String> {
    let share = lost.throttled_share.filter(|&share| share > MAX_LOST)?;
    Some(format!(
        "the CPU quota of the generator's cgroup was exhausted for {} of the time",
        percent(share)
    ))
}

fn other_load(one: &Measurement) -> Option<String> {
    let share = one.lost_time.other_load_share.filter(|&share| share > MAX_CONTENTION)?;
    let others_ms = share * one.duration_ms as f64;
    (others_ms >= MIN_OTHERS.as_millis() as f64)
        .then(|| format!("other processes used {} of the generator's CPU", percent(share)))
}

fn busy(one: &Measurement, threads: usize) -> Option<String> {
    if one.offered_per_s.is_some() {
        // In an open loop, the generator busy-waits for the next scheduled time.
        return None;
    }
    let generator = one.generator_cpu_share / threads.max(1) as f64;
    let server = one.server_stats.as_ref().and_then(|server| server.cpu_share);
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

fn miscounted(one: &Measurement, ran: &RunResult) -> Option<String> {
    let (requests, outcomes) = (ran.requests(), one.outcomes.sum());
    if requests != outcomes {
        return Some(format!("of {requests} requests, {outcomes} are complete or in flight"));
    }
    let residual = one.littles_residual?;
    (residual.abs() > MAX_RESIDUAL).then(|| {
        let percent = residual * 100.0;
        format!("the requests in flight and the latency disagree by {percent:.1} % (Little's law)")
    })
}

fn stolen(one: &Measurement) -> Option<String> {
    let is_silent = one.outcomes.sum() == 0 && one.offered_per_s.is_none() && !one.partial;
    if is_silent && one.connections.is_all_answered() && one.local_errors.is_empty() {
        return Some("no request was sent during the run: other processes had the CPU".to_owned());
    }
    (one.stolen_share > MAX_STOLEN).then(|| {
        let percent = one.stolen_share * 100.0;
        format!("other virtual machines got {percent:.0} % of this machine's CPU time (steal)")
    })
}

fn changed(one: &Measurement, ran: &RunResult) -> Option<String> {
    // Excludes the last interval if it was cut short.
    let whole = || ran.intervals.iter().filter(|it| it.duration_ns * 10 > longest(ran) * 9);
    let rates: Vec<f64> = whole().map(|it| it.replies as f64 / it.duration_ns as f64).collect();
    let medians: Vec<f64> = whole().map(|it| it.sent.value_at_quantile(0.5) as f64).collect();
    let describe = |what: &str, figures: &[f64]| match Stationarity::of(figures) {
        Stationarity::Stationary | Stationarity::TooShort { .. } => None,
        found => Some(format!("{what}: {found}")),
    };
    match one.offered_per_s {
        Some(_) => describe("median latency", &medians),
        None => describe("throughput", &rates),
    }
}

fn longest(ran: &RunResult) -> u64 {
    ran.intervals.iter().map(|interval| interval.duration_ns).max().unwrap_or(0)
}

fn imprecise(facts: &Facts<'_>) -> Option<String> {
    let requested = facts.precision?;
    let percent = requested * 100.0;
    match facts.p99.precision() {
        Some(reached) if reached <= requested => None,
        Some(reached) => Some(format!(
            "the p99 is known to ±{:.1} %; ±{percent:.1} % was requested",
            reached * 100.0
        )),
        None => Some(format!("the p99 is not known to ±{percent:.1} %: there are too few samples")),
    }
}
