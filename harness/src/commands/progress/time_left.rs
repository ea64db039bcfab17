//! Estimate of the time left.

use std::time::{Duration, Instant};

/// Kind of a step. Steps of a kind have weights that are proportional to their durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepKind {
    /// A case or an experiment. Its duration is not known in advance; the weight is 1 if it
    /// applies, otherwise 0.
    Case,
    /// A measurement. The weight is the planned duration in seconds.
    Measurement,
}

/// Steps that are done and left, and their durations.
#[derive(Debug, Default)]
pub(crate) struct TimeLeft {
    cases: Steps,
    measurements: Steps,
}

/// Steps of one kind.
#[derive(Debug, Default)]
struct Steps {
    done: Work,
    left: Work,
    began: Option<Instant>,
    /// End of the latest step.
    latest: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Work {
    steps: usize,
    weight: f64,
}

/// Maximum number of cases that an estimate needs: most of the cases that run in parallel.
const MAX_BASIS: usize = 16;

/// Minimum share of all cases that an estimate needs, and the shortest time of these cases.
const MIN_SHARE: f64 = 0.02;
const MIN_TIME: Duration = Duration::from_secs(1);

impl TimeLeft {
    /// Adds steps, with the sum of their weights.
    pub(crate) fn plan(&mut self, kind: StepKind, steps: usize, weight: f64) {
        let left = &mut self.of(kind).left;
        left.steps += steps;
        left.weight += weight;
    }

    /// Records that the first step of a kind starts.
    pub(crate) fn begin(&mut self, kind: StepKind, now: Instant) {
        self.of(kind).began.get_or_insert(now);
    }

    /// Records the end of a step.
    pub(crate) fn step(&mut self, kind: StepKind, weight: f64, now: Instant) {
        self.skip(kind, 1, weight);
        let steps = self.of(kind);
        steps.done.steps += usize::from(weight > 0.0);
        steps.done.weight += weight;
        steps.latest = Some(now);
    }

    /// Removes steps that do not run.
    pub(crate) fn skip(&mut self, kind: StepKind, steps: usize, weight: f64) {
        let left = &mut self.of(kind).left;
        left.steps = left.steps.saturating_sub(steps);
        // The weights are sums of rounded numbers.
        left.weight = if left.steps == 0 { 0.0 } else { (left.weight - weight).max(0.0) };
    }

    /// Returns the estimated time until all steps are done, or `None` without a basis.
    pub(crate) fn estimate(&self, now: Instant) -> Option<Duration> {
        let cases = self.cases.seconds_left(self.cases.mean_of_cases(), now)?;
        let measurements =
            self.measurements.seconds_left(Some(self.measurements.ratio_to_plan()), now)?;
        Duration::try_from_secs_f64(cases + measurements).ok()
    }

    fn of(&mut self, kind: StepKind) -> &mut Steps {
        match kind {
            StepKind::Case => &mut self.cases,
            StepKind::Measurement => &mut self.measurements,
        }
    }
}

impl Steps {
    /// Returns the time left in seconds. `per_weight` is the time of a step of weight 1.
    fn seconds_left(&self, per_weight: Option<f64>, now: Instant) -> Option<f64> {
        if self.left.weight <= 0.0 {
            return Some(0.0);
        }
        let per_weight = per_weight?;
        let all = self.left.weight * per_weight;
        // Part of the next step has passed, but not more than the whole step.
        let running = self.latest.or(self.began).map_or(0.0, |since| seconds(since, now));
        Some(all - running.min(all / self.left.steps.max(1) as f64))
    }

    /// Returns the mean time of a case, which several cases in parallel make short.
    fn mean_of_cases(&self) -> Option<f64> {
        let (began, latest) = (self.began?, self.latest?);
        let all = Work {
            steps: self.done.steps + self.left.steps,
            weight: self.done.weight + self.left.weight,
        };
        let is_basis = self.done.steps >= (all.steps / 4).clamp(2, MAX_BASIS)
            && self.done.weight >= MIN_SHARE * all.weight
            && latest.saturating_duration_since(began) >= MIN_TIME;
        is_basis.then(|| seconds(began, latest) / self.done.weight)
    }

    /// Returns the duration of the measurements so far, relative to the plan. The launches of the
    /// servers make it larger than 1.
    fn ratio_to_plan(&self) -> f64 {
        match (self.began, self.latest) {
            (Some(began), Some(latest)) if self.done.weight > 0.0 => {
                seconds(began, latest) / self.done.weight
            }
            _ => 1.0,
        }
    }
}

fn seconds(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64()
}

/// Formats an estimate, rounded to its precision: `about 40 s left`. Returns `None` for less than
/// a second.
pub(crate) fn format_time_left(time: Duration) -> Option<String> {
    let seconds = time.as_secs_f64().round() as u64;
    let text = match seconds {
        0 => return None,
        1..10 => format!("{seconds} s"),
        10..90 => format!("{} s", seconds.div_ceil(5) * 5),
        90..3_570 => format!("{} min", (seconds + 30) / 60),
        _ => match (seconds + 30) / 60 {
            minutes if minutes.is_multiple_of(60) => format!("{} h", minutes / 60),
            minutes => format!("{} h {} min", minutes / 60, minutes % 60),
        },
    };
    Some(format!("about {text} left"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn measurements_have_an_estimate_from_the_start() {
        let (mut time_left, start) = (TimeLeft::default(), Instant::now());
        time_left.plan(StepKind::Measurement, 3, 30.0);
        assert_eq!(time_left.estimate(start), Some(30 * SECOND));
        time_left.begin(StepKind::Measurement, start);
        assert_eq!(time_left.estimate(start + 4 * SECOND), Some(26 * SECOND));
        // The first measurement took 2 s longer than planned, so the others will, too.
        time_left.step(StepKind::Measurement, 10.0, start + 12 * SECOND);
        assert_eq!(time_left.estimate(start + 12 * SECOND), Some(24 * SECOND));
        // A step that takes much longer than planned does not consume the time of later steps.
        assert_eq!(time_left.estimate(start + 60 * SECOND), Some(12 * SECOND));
        time_left.skip(StepKind::Measurement, 2, 20.0);
        assert_eq!(time_left.estimate(start + 60 * SECOND), Some(Duration::ZERO));
    }

    #[test]
    fn cases_have_an_estimate_once_some_of_them_are_done() {
        let (mut time_left, start) = (TimeLeft::default(), Instant::now());
        time_left.plan(StepKind::Case, 100, 80.0);
        time_left.plan(StepKind::Measurement, 1, 10.0);
        assert_eq!(time_left.estimate(start), None);
        time_left.begin(StepKind::Case, start);
        for _ in 0..20 {
            time_left.step(StepKind::Case, 0.0, start + SECOND / 10);
        }
        assert_eq!(
            time_left.estimate(start + SECOND),
            None,
            "cases that do not apply are no basis"
        );
        for number in 1..=20 {
            time_left.step(StepKind::Case, 1.0, start + SECOND * number / 5);
        }
        // 20 cases took 4 s, so the other 60 take 12 s.
        assert_eq!(time_left.estimate(start + 4 * SECOND), Some(22 * SECOND));
    }

    #[test]
    fn the_first_moments_are_no_basis() {
        let (mut time_left, start) = (TimeLeft::default(), Instant::now());
        time_left.plan(StepKind::Case, 100, 100.0);
        time_left.begin(StepKind::Case, start);
        for _ in 0..50 {
            time_left.step(StepKind::Case, 1.0, start + SECOND / 2);
        }
        assert_eq!(time_left.estimate(start + SECOND / 2), None);
    }

    #[test]
    fn estimates_are_rounded_and_zero_is_not_shown() {
        let text = |seconds| format_time_left(Duration::from_secs(seconds)).unwrap_or_default();
        assert_eq!(text(0), "");
        assert_eq!(
            [1, 9, 11, 40, 95, 3_000, 3_600, 4_500].map(text),
            [
                "about 1 s left",
                "about 9 s left",
                "about 15 s left",
                "about 40 s left",
                "about 2 min left",
                "about 50 min left",
                "about 1 h left",
                "about 1 h 15 min left",
            ]
        );
    }
}
