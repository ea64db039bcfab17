//! Whether a run is to be believed: it judges itself before anybody believes its figures.

use serde::Serialize;

use super::engine::Ran;
use super::measurement::{Measurement, P99};
use super::outcome::{Outcome, Outcomes};
use crate::stats::{Quantiles, Stationarity};

/// A generator that works for a larger part of the time may be what limits the throughput.
pub(super) const BUSY: f64 = 0.95;

/// A server that works for a larger part of the time is what limits it, too.
pub(super) const SERVER_BUSY: f64 = 0.9;

/// A server that answers a smaller part of what is due in time does not keep up.
const ACHIEVED: f64 = 0.98;

/// By how much the generator's own counts may disagree (Little's law).
const LITTLE: f64 = 0.05;

/// A larger part of the machine's time that others are given shows in every figure.
const STOLEN: f64 = 0.05;

/// Lateness of sending that is no matter in itself, in nanoseconds: what a machine that others
/// share takes now and then.
const LATE: u64 = 1_000_000;

/// Whether figures are to be believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// They are.
    #[default]
    Valid,
    /// Not every request was answered rightly, or not every connection lasted.
    Faulty,
    /// The server did not keep up with what was due.
    Overloaded,
    /// They are as much the generator's as the server's.
    GeneratorBound,
    /// Others were given too much of the machine's time.
    Disturbed,
    /// The run was another at its end than at its beginning.
    NotStationary,
    /// They are less precise than was asked for.
    Imprecise,
}

/// A verdict, and all that stands against the figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Validity {
    /// The gravest.
    pub verdict: Verdict,
    /// All of them, in words, the gravest first; in the end what a reader must know of a valid run
    /// too, as that server and generator shared a processor.
    pub reasons: Vec<String>,
}

/// What a run is judged by beside its figures.
pub(super) struct Believed<'r> {
    pub(super) ran: &'r Ran,
    /// Whether those beside are there to be turned away.
    pub(super) are_turned_away: bool,
    /// How precise the p99 is to be, if that was asked for, and how precise it is.
    pub(super) precision: Option<f64>,
    pub(super) p99: &'r P99,
}

impl Verdict {
    /// The word used in reports.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Valid => "valid",
            Verdict::Faulty => "faulty",
            Verdict::Overloaded => "overloaded",
            Verdict::GeneratorBound => "generator-bound",
            Verdict::Disturbed => "disturbed",
            Verdict::NotStationary => "not-stationary",
            Verdict::Imprecise => "imprecise",
        }
    }
}

impl Validity {
    pub(super) fn of(one: &Measurement, believed: &Believed<'_>) -> Validity {
        let against = [
            (Verdict::Faulty, faults(one, believed)),
            (Verdict::Overloaded, not_achieved(one, believed.ran)),
            (Verdict::GeneratorBound, late(one)),
            (Verdict::GeneratorBound, busy(one, believed.ran.threads)),
            (Verdict::GeneratorBound, miscounted(one, believed.ran)),
            (Verdict::Disturbed, stolen(one)),
            (Verdict::NotStationary, changed(one, believed.ran)),
            (Verdict::Imprecise, imprecise(believed)),
        ];
        let against: Vec<_> =
            against.into_iter().filter_map(|(verdict, words)| Some((verdict, words?))).collect();
        Validity {
            verdict: against.first().map_or(Verdict::Valid, |(verdict, _)| *verdict),
            reasons: against.into_iter().map(|(_, words)| words).collect(),
        }
    }

    /// What the server did wrong, in words, if so: what else stands against figures may be the
    /// machine's.
    pub fn problem(&self) -> Option<String> {
        (self.verdict == Verdict::Faulty).then(|| self.reasons.join("; "))
    }
}

fn faults(one: &Measurement, believed: &Believed<'_>) -> Option<String> {
    let none_answered = || {
        // Where much is late, all that came in time may have been due before.
        let is_any = one.outcomes.get(Outcome::Answered) > 0 || one.throughput_per_s > 0.0;
        let is_none = one.outcomes.sum() > 0 && !is_any;
        is_none.then(|| "no request was answered".to_owned())
    };
    let requests = bad(&one.outcomes, NO_FAULTS, "requests");
    let connections = bad(&one.connections, &[Outcome::Answered], "connections");
    let faults = [requests, connections].into_iter().chain(faults_beside(believed));
    let faults: Vec<String> = faults.flatten().chain(none_answered()).collect();
    (!faults.is_empty()).then(|| faults.join("; "))
}

/// What was in flight when nobody waited any more may have been answered yet; and to be told that
/// the server is busy is to be told the truth.
const NO_FAULTS: &[Outcome] = &[Outcome::Answered, Outcome::InFlight, Outcome::Busy];

/// How whoever is turned away may fare beside: a busy line, or none, as the server has it.
const TURNED_AWAY: &[Outcome] = &[
    Outcome::Answered,
    Outcome::InFlight,
    Outcome::Busy,
    Outcome::Refused,
    Outcome::Reset,
    Outcome::Closed,
];

/// What went wrong with those who were there beside: the figures are not of what they should be of
/// then.
fn faults_beside(believed: &Believed<'_>) -> [Option<String>; 2] {
    let (requests, connections) = match believed.are_turned_away {
        true => (TURNED_AWAY, TURNED_AWAY),
        // Who drips may not have come to the end of a first request.
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

/// What became of those that did not end well.
fn bad(outcomes: &Outcomes, good: &[Outcome], what: &str) -> Option<String> {
    let words: Vec<String> = Outcome::ALL
        .iter()
        .filter(|outcome| !good.contains(outcome) && outcomes.get(**outcome) > 0)
        .map(|&outcome| format!("{} {}", outcomes.get(outcome), outcome.words()))
        .collect();
    (!words.is_empty()).then(|| format!("{what}: {}", words.join(", ")))
}

fn not_achieved(one: &Measurement, ran: &Ran) -> Option<String> {
    let busy = one.outcomes.get(Outcome::Busy);
    if busy > 0 {
        return Some(format!("{busy} requests were told that the server is busy"));
    }
    one.offered_per_s?;
    // Of those that really were due: how many come by chance may be more or fewer.
    (ran.achieved() < ACHIEVED).then(|| {
        let due = ran.asked() as f64 / ran.elapsed.as_secs_f64().max(1e-9);
        format!("{:.0} of {due:.0} requests/s were answered in time", one.throughput_per_s)
    })
}

fn late(one: &Measurement) -> Option<String> {
    one.offered_per_s?;
    let (late, latency): (Quantiles, Quantiles) = (one.send_lateness_ns, one.latency_intended_ns);
    let is_late = late.p50 > latency.p50 / 10 || late.p99 > LATE.max(latency.p99 / 2);
    is_late.then(|| {
        let [half, most] = [late.p50, late.p99].map(|it| it as f64 / 1e3);
        format!("requests were sent late: p50 {half:.1} µs, p99 {most:.1} µs")
    })
}

fn busy(one: &Measurement, threads: usize) -> Option<String> {
    if one.offered_per_s.is_some() {
        // It waits for the next request by looking at the clock.
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
    // The last one may be cut short.
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

#[cfg(test)]
mod tests;
