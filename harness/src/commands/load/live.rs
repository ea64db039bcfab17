//! Figures of a load test while it runs.

use std::time::Duration;

use crate::commands::progress::{Progress, StepKind};
use crate::figures::{count, rate, time_or_dash};
use crate::load::{Interval, LiveEvent};
use crate::results::Outcome;

/// Maximum time between two updates on a terminal.
pub(super) const UPDATE_EVERY: Duration = Duration::from_millis(500);

/// Time between two lines without a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Displays the figures of a load test: on a terminal those of the latest part, otherwise a line
/// with the figures so far.
pub(super) struct LiveFigures<'p> {
    progress: &'p Progress,
    warm_up: Duration,
    /// Duration of the measurement, unless it may be extended.
    duration: Option<Duration>,
    /// Sum of all parts so far.
    total: Interval,
    next_line: Duration,
}

impl<'p> LiveFigures<'p> {
    pub(super) fn new(
        progress: &'p Progress,
        warm_up: Duration,
        duration: Option<Duration>,
    ) -> LiveFigures<'p> {
        progress.show_activity("connecting");
        let total = Interval::new(0);
        LiveFigures { progress, warm_up, duration, total, next_line: LINE_EVERY }
    }

    pub(super) fn handle(&mut self, event: LiveEvent<'_>) {
        match event {
            LiveEvent::Start => {
                self.progress.begin(StepKind::Measurement);
                self.progress.show_activity("warm-up");
            }
            LiveEvent::Part(part) => self.add(part),
        }
    }

    fn add(&mut self, part: &Interval) {
        self.total.add(part);
        self.total.duration_ns += part.duration_ns;
        let measured = Duration::from_nanos(self.total.duration_ns);
        if self.progress.is_drawn() {
            let (latest, errors) = (figures(part, &[0.5, 0.99]), errors(&self.total));
            self.progress.set_time(self.warm_up + measured);
            self.progress.show_activity(format!("{latest}, {errors}"));
        } else if let Some(line) = self.line_if_due(measured) {
            self.progress.detail(line);
        }
    }

    /// Returns a line with the figures so far, if the latest line is older than [`LINE_EVERY`]. The
    /// results follow the end, so no line is due then.
    fn line_if_due(&mut self, measured: Duration) -> Option<String> {
        let is_near_end = self.duration.is_some_and(|it| measured + UPDATE_EVERY >= it);
        if measured < self.next_line || is_near_end {
            return None;
        }
        while self.next_line <= measured {
            self.next_line += LINE_EVERY;
        }
        let (so_far, errors) = (figures(&self.total, &[0.99]), errors(&self.total));
        let seconds = measured.as_secs_f64().round();
        let planned = self.duration.map(|it| format!(" of {}", rate(it.as_secs_f64())));
        Some(format!("{seconds}{} s: {so_far}, {errors} so far", planned.unwrap_or_default()))
    }
}

/// Formats the throughput of correct replies, and quantiles of their latency.
fn figures(interval: &Interval, quantiles: &[f64]) -> String {
    let seconds = interval.duration_ns.max(1) as f64 / 1e9;
    let latency = if interval.scheduled.is_empty() { &interval.sent } else { &interval.scheduled };
    let quantile = |quantile: &f64| {
        let time = (!latency.is_empty()).then(|| latency.value_at_quantile(*quantile));
        format!(", p{:.0} {}", quantile * 100.0, time_or_dash(time))
    };
    let quantiles: String = quantiles.iter().map(quantile).collect();
    format!("{}/s{quantiles}", rate(interval.replies as f64 / seconds))
}

/// Formats the number of requests without a correct reply.
fn errors(total: &Interval) -> String {
    let errors = total.outcomes.sum() - total.outcomes.get(Outcome::Answered);
    let noun = if errors == 1 { "error" } else { "errors" };
    format!("{} {noun}", count(errors as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::TerminalArgs;
    use crate::commands::progress::OutputStream;

    fn part(seconds: u64) -> Interval {
        let mut part = Interval::new(0);
        part.duration_ns = seconds * 1_000_000_000;
        part.replies = 2_000 * seconds;
        part.outcomes.add_many(Outcome::Answered, 2_000 * seconds);
        part.outcomes.add(Outcome::WrongReply);
        part.sent.record_n(1_000_000, 2_000 * seconds).expect("a recordable time");
        part
    }

    #[test]
    fn a_line_is_due_every_10_s_but_not_at_the_end() {
        let planned = Duration::from_secs(40);
        let progress = Progress::of_time(TerminalArgs::default(), OutputStream::Stderr, planned);
        let mut live = LiveFigures::new(&progress, Duration::ZERO, Some(planned));
        let mut line_at = |seconds: u64| {
            live.total = part(seconds);
            live.line_if_due(Duration::from_secs(seconds))
        };
        assert_eq!([9, 10].map(|it| line_at(it).is_some()), [false, true]);
        assert_eq!([12, 19].map(&mut line_at), [None, None]);
        let line = line_at(25).expect("a line");
        assert_eq!(line, "25 of 40 s: 2,000/s, p99 1.00 ms, 1 error so far");
        assert_eq!([29, 31, 40].map(|it| line_at(it).is_some()), [false, true, false]);
    }

    #[test]
    fn a_part_without_replies_has_no_latency() {
        let mut silent = Interval::new(0);
        silent.duration_ns = 500_000_000;
        assert_eq!(figures(&silent, &[0.5, 0.99]), "0/s, p50 -, p99 -");
        assert_eq!(errors(&silent), "0 errors");
    }
}
