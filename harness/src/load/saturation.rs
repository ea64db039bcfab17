//! Search for the highest rate that a server sustains.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::assessment::thresholds::ACHIEVED;
use super::engine::RunResult;
use super::load_spec::{ArrivalProcess, Arrivals, LoadSpec};
use super::measurement_settings::{MeasurementSettings, load};
use super::placement::Placement;
use super::workloads::Plan;
use crate::results::{Caveat, CaveatKind, Measurement, RateFigures};
use crate::server::Server;

/// Latency limit (p99) of the search for the highest sustained rate.
const LIMIT: Duration = Duration::from_millis(10);

/// First rate of the search, in requests per second.
const FIRST_RATE: f64 = 4_000.0;

/// Ratio of the lowest failed to the highest sustained rate at which the search ends.
const NEAR: f64 = 1.1;

/// Lowest rate of the search, in requests per second.
const MIN_RATE: f64 = 100.0;

/// Maximum number of rates in the search, and maximum number of full runs to confirm the result.
const MAX_TRIES: usize = 16;

/// Maximum number of repeated attempts. An attempt that the generator or the machine disturbed is
/// repeated.
const RETRIES: usize = 4;

/// Minimum number of requests scheduled per attempt: with fewer, no p99 is reported.
const MIN_REQUESTS: f64 = 1_100.0;

/// Result of an attempt at a rate.
#[derive(Clone, Debug, PartialEq)]
enum Attempt {
    /// The server sustains the rate.
    Sustained,
    /// The server does not sustain the rate.
    TooMuch,
    /// The generator or the machine limited the attempt, for this reason.
    NotCounted(String),
}

impl Attempt {
    fn of((measurement, ran): &(Measurement, RunResult)) -> Attempt {
        if let Some(caveat) = measurement.validity.blames_generator_or_machine() {
            return Attempt::NotCounted(caveat.text.clone());
        }
        let p99 = measurement.latency_intended_ns.p99;
        let is_fast = p99.is_some_and(|p99| u128::from(p99) <= LIMIT.as_nanos());
        let is_answered = measurement.outcomes.is_all_answered();
        match is_fast && ran.achieved() >= ACHIEVED && is_answered {
            true => Attempt::Sustained,
            false => Attempt::TooMuch,
        }
    }

    /// Returns the figures of the attempt for the report.
    fn figures(&self, offered_per_s: f64, measurement: &Measurement) -> RateFigures {
        RateFigures {
            offered_per_s,
            throughput_per_s: measurement.throughput_per_s,
            p50_ns: measurement.latency_intended_ns.p50,
            p99_ns: measurement.latency_intended_ns.p99,
            is_sustained: *self == Attempt::Sustained,
            is_limited: matches!(self, Attempt::NotCounted(_)),
        }
    }
}

/// Search for the highest sustained rate: doubles the rate, then bisects on a logarithmic scale.
struct Search {
    /// Highest sustained rate.
    good: Option<f64>,
    /// Lowest failed rate.
    bad: Option<f64>,
    /// Reason why the attempt at `bad` does not count, if the generator or the machine limited it.
    not_counted: Option<String>,
    /// Rate of the next attempt.
    rate: f64,
}

impl Search {
    fn new() -> Search {
        Search { good: None, bad: None, not_counted: None, rate: FIRST_RATE }
    }

    /// Records an attempt at [`rate`](Self::rate) and chooses the next rate. Returns whether the
    /// search continues.
    fn record_attempt(&mut self, attempt: Attempt) -> bool {
        match attempt {
            Attempt::Sustained => self.good = Some(self.rate),
            Attempt::TooMuch => (self.bad, self.not_counted) = (Some(self.rate), None),
            Attempt::NotCounted(reason) => {
                (self.bad, self.not_counted) = (Some(self.rate), Some(reason));
            }
        }
        self.rate = match (self.good, self.bad) {
            (Some(good), Some(bad)) if bad / good < NEAR => return false,
            (Some(good), Some(bad)) => (good * bad).sqrt(),
            (Some(good), None) => good * 2.0,
            // A lower rate does not make the generator faster or the machine less busy.
            (None, _) if self.rate <= MIN_RATE || self.not_counted.is_some() => return false,
            (None, _) => (self.rate / 2.0).max(MIN_RATE),
        };
        true
    }
}

/// Finds the highest rate whose p99 is within the limit, and measures at that rate for the planned
/// duration.
///
/// Runs that the generator or the machine limited do not count. If such a run prevented a higher
/// rate, the result has a caveat.
pub(super) fn saturation(
    server: &Server,
    load_spec: &LoadSpec,
    name: &str,
    settings: &MeasurementSettings<'_>,
    placement: &Placement,
) -> io::Result<(Measurement, RunResult)> {
    let Plan { warm_up, duration, .. } = settings.plan;
    let brief = Plan { warm_up: warm_up / 2, duration: duration / 2, ..settings.plan };
    let mut load_spec = load_spec.clone();
    let mut retries = RETRIES;
    let mut rates = Vec::new();
    let mut at = |per_s: f64, plan: Plan, precision: Option<f64>| {
        load_spec.groups[0].arrival_process =
            ArrivalProcess::Open { arrivals: Arrivals::Poisson, per_s };
        let duration = plan.duration.max(Duration::from_secs_f64(MIN_REQUESTS / per_s));
        let settings =
            MeasurementSettings { plan: Plan { duration, ..plan }, precision, ..*settings };
        loop {
            let ran = load(Some(server), &load_spec, name, &settings, placement)?;
            let attempt = Attempt::of(&ran);
            rates.push(attempt.figures(per_s, &ran.0));
            let is_over = retries == 0 || settings.interrupted.load(Relaxed);
            if is_over || !matches!(attempt, Attempt::NotCounted(_)) {
                return Ok::<_, io::Error>((ran, attempt));
            }
            retries -= 1;
        }
    };
    let mut search = Search::new();
    for _ in 0..MAX_TRIES {
        if settings.interrupted.load(Relaxed)
            || !search.record_attempt(at(search.rate, brief, None)?.1)
        {
            break;
        }
    }
    // A rate that was sustained briefly may not be sustained for longer.
    let mut rate = search.good.unwrap_or(search.rate);
    let (mut not_counted, mut tries) = (search.not_counted, 0);
    let mut confirmed = loop {
        let (ran, attempt) = at(rate, settings.plan, settings.precision)?;
        tries += 1;
        let is_over = tries == MAX_TRIES || rate <= MIN_RATE;
        // A disturbed run already has a caveat. A lower rate might be disturbed in the same way.
        if attempt != Attempt::TooMuch || is_over || settings.interrupted.load(Relaxed) {
            break ran;
        }
        not_counted = None;
        rate = (rate / NEAR).max(MIN_RATE);
    };
    if let Some(reason) = not_counted {
        let text = format!(
            "this rate is the limit of the generator or the machine, so the limit of the server \
             may be higher; at a higher rate, {reason}"
        );
        confirmed.0.validity.add(Caveat { kind: CaveatKind::GeneratorLimit, text });
    }
    rates.sort_by(|one, other| one.offered_per_s.total_cmp(&other.offered_per_s));
    confirmed.0.rates = rates;
    confirmed.0.runs = vec![confirmed.0.run_figures()];
    Ok(confirmed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Simulates a search with these limits of the server and of the generator, in requests per
    /// second.
    fn searched(server: f64, generator: f64) -> Search {
        let mut search = Search::new();
        for _ in 0..MAX_TRIES {
            let attempt = match search.rate {
                rate if rate > generator => Attempt::NotCounted("requests were late".to_owned()),
                rate if rate > server => Attempt::TooMuch,
                _ => Attempt::Sustained,
            };
            if !search.record_attempt(attempt) {
                break;
            }
        }
        search
    }

    #[test]
    fn the_highest_rate_is_found_and_attributed_to_server_or_generator() {
        let found = searched(50_000.0, f64::MAX);
        let good = found.good.expect("a sustained rate");
        assert!((50_000.0 / NEAR..=50_000.0).contains(&good), "{good}");
        assert_eq!(found.not_counted, None);
        let found = searched(50_000.0, 20_000.0);
        let good = found.good.expect("a sustained rate");
        assert!((20_000.0 / NEAR..=20_000.0).contains(&good), "{good}");
        assert_eq!(found.not_counted.as_deref(), Some("requests were late"));
        // Lower rates help to find a slow server, but not a slow generator.
        let good = searched(200.0, f64::MAX).good.expect("a sustained rate");
        assert!((200.0 / NEAR..=200.0).contains(&good), "{good}");
        let found = searched(f64::MAX, 10.0);
        assert_eq!((found.good, found.rate), (None, FIRST_RATE));
        assert!(found.not_counted.is_some());
    }
}
