//! Recorder of a run's requests, interval by interval.

use std::sync::mpsc::Sender;
use std::time::Duration;

use super::clock::thread_cpu_ns;
use super::interval::Interval;
use crate::results::Outcome;

/// Records the requests of one group of connections, from a start time on.
#[derive(Debug)]
pub struct Recorder {
    current: Interval,
    /// Start of the recording.
    since_ns: u64,
    /// Length of an interval.
    every_ns: u64,
    /// End of the current interval.
    until_ns: u64,
    /// Number of requests in flight that were scheduled before the start, so are not recorded.
    unrecorded: u64,
    /// Time up to which the requests in flight are integrated.
    integrated_until_ns: u64,
    /// CPU time of the thread at the start of the current interval; `None` before the first one.
    cpu_before: Option<u64>,
    interval_tx: Option<Sender<Interval>>,
    /// Number of correct replies, including those before the start.
    answered: u64,
    /// Time since which a connection is open. Requests scheduled before waited for a connection,
    /// not for the generator.
    connected_since_ns: u64,
}

impl Recorder {
    /// Returns a recorder with a single interval.
    pub fn new() -> Recorder {
        Recorder {
            current: Interval::new(0),
            since_ns: 0,
            every_ns: u64::MAX,
            until_ns: u64::MAX,
            unrecorded: 0,
            integrated_until_ns: 0,
            cpu_before: None,
            interval_tx: None,
            answered: 0,
            connected_since_ns: 0,
        }
    }

    /// Returns a recorder that sends each interval to a channel when the interval ends. It records
    /// requests scheduled from `since_ns` on.
    pub(super) fn reporting_to(
        interval_tx: Sender<Interval>,
        every: Duration,
        since_ns: u64,
    ) -> Recorder {
        let every_ns = (every.as_nanos() as u64).max(1);
        let (current, until_ns) = (Interval::new(since_ns), since_ns);
        Recorder {
            current,
            since_ns,
            every_ns,
            until_ns,
            interval_tx: Some(interval_tx),
            ..Recorder::new()
        }
    }

    /// Returns a recorder with a single interval, for requests scheduled from `since_ns` on.
    pub(super) fn recording_since(since_ns: u64) -> Recorder {
        Recorder { since_ns, ..Recorder::new() }
    }

    /// Returns the records of the current interval.
    pub fn current(&self) -> &Interval {
        &self.current
    }

    /// Returns the time from which requests are recorded.
    pub(super) fn since(&self) -> u64 {
        self.since_ns
    }

    /// Returns the number of correct replies so far, including those before the start.
    pub(super) fn answered(&self) -> u64 {
        self.answered
    }

    /// Ends the current interval if its time is over, and starts the next one.
    pub(super) fn roll_over(&mut self, now: u64) {
        if now < self.until_ns {
            return;
        }
        if self.until_ns == self.since_ns {
            self.cpu_before = Some(thread_cpu_ns());
        } else {
            self.finish(now);
        }
        // Keeps intervals aligned with the clock, even after a pause.
        self.until_ns += ((now - self.until_ns) / self.every_ns + 1) * self.every_ns;
    }

    /// Ends the current interval and sends it.
    pub(super) fn finish(&mut self, now: u64) {
        if self.interval_tx.is_none() {
            return;
        }
        let over = self.take_interval(now);
        if let Some(interval_tx) = &self.interval_tx {
            // Fails if the receiver was dropped; then the interval is not needed.
            let _ = interval_tx.send(over);
        }
    }

    /// Ends the current interval early, returns it, and starts the next one.
    pub(super) fn take_interval(&mut self, now: u64) -> Interval {
        let mut over = std::mem::replace(&mut self.current, Interval::new(now));
        over.duration_ns = now.saturating_sub(over.start_ns);
        let cpu = thread_cpu_ns();
        let before = self.cpu_before.replace(cpu);
        over.generator_cpu_ns = before.map_or(0, |before| cpu - before);
        over
    }

    /// Integrates the number of requests in flight up to now. `in_flight` is the connections' own
    /// count, so errors in the records of single requests do not affect it.
    pub(super) fn integrate(&mut self, in_flight: u64, now: u64) {
        let from = self.integrated_until_ns.max(self.since_ns);
        let recorded = in_flight.saturating_sub(self.unrecorded);
        self.current.in_flight_ns += recorded * now.saturating_sub(from);
        self.integrated_until_ns = self.integrated_until_ns.max(now);
    }

    /// Records that requests were sent, and their delay after the scheduled time.
    pub(super) fn record_sent(&mut self, flight: Flight) {
        let count = u64::from(flight.count);
        if flight.start() < self.since_ns {
            self.unrecorded += count;
            return;
        }
        self.current.requests += count;
        if let Some(scheduled) = flight.scheduled {
            let due = scheduled.max(self.connected_since_ns).min(flight.sent);
            self.current.lateness.saturating_record_n(flight.sent - due, count);
            self.current.held += if due > scheduled { count } else { 0 };
        }
    }

    /// Records a scheduled request that is not sent.
    pub(super) fn record_unsent(&mut self, outcome: Outcome, scheduled: u64, now: u64) {
        if scheduled >= self.since_ns {
            self.current.requests += 1;
            self.current.outcomes.add(outcome);
            let late = now.saturating_sub(scheduled);
            self.current.failures_of(outcome).saturating_record(late);
            // The request was not sent until the end, so it is at least this late.
            if outcome == Outcome::InFlight {
                self.current.lateness.saturating_record(late);
            }
        }
    }

    /// Records a scheduled request that was not sent until the end, because no connection was open.
    pub(super) fn record_held(&mut self, scheduled: u64, now: u64) {
        if scheduled >= self.since_ns {
            self.current.requests += 1;
            self.current.held += 1;
            self.current.outcomes.add(Outcome::InFlight);
            let age = now.saturating_sub(scheduled);
            self.current.failures_of(Outcome::InFlight).saturating_record(age);
        }
    }

    /// Sets the time since which a connection is open, after an outage of all connections.
    pub(super) fn set_connected_since(&mut self, now: u64) {
        self.connected_since_ns = now;
    }

    /// Records the end of an outage that began at `began`.
    pub(super) fn record_outage(&mut self, began: u64, now: u64) {
        if now >= self.since_ns {
            self.current.outages.saturating_record(now - began);
        }
    }

    /// Records an outage that has not ended.
    pub(super) fn record_down(&mut self, began: u64, now: u64) {
        self.current.outages.saturating_record(now.saturating_sub(began));
        self.current.down += 1;
    }

    /// Records a failed attempt to connect again.
    pub(super) fn record_failed_attempt(&mut self, now: u64) {
        self.current.failed_attempts += u64::from(now >= self.since_ns);
    }

    /// Records that requests are complete, with this outcome.
    pub(super) fn complete(&mut self, outcome: Outcome, flight: Flight, now: u64) {
        if outcome == Outcome::Answered {
            self.answered += u64::from(flight.count);
            self.current.replies += if now < self.since_ns { 0 } else { flight.count.into() };
        }
        let count = flight.count.into();
        if flight.start() < self.since_ns {
            self.unrecorded = self.unrecorded.saturating_sub(count);
            return;
        }
        self.current.outcomes.add_many(outcome, count);
        if outcome == Outcome::Answered {
            self.current.sent.saturating_record_n(now - flight.sent, count);
            if let Some(scheduled) = flight.scheduled {
                self.current.scheduled.saturating_record_n(now - scheduled, count);
            }
        } else {
            self.current.failures_of(outcome).saturating_record_n(now - flight.start(), count);
        }
    }

    /// Records the duration of a successful connect that began at `began`.
    pub(super) fn record_connect(&mut self, began: u64, now: u64) {
        if began >= self.since_ns {
            self.current.connects.saturating_record(now - began);
        }
    }
}

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder::new()
    }
}

/// Requests sent together on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flight {
    /// Scheduled time; `None` in a closed loop.
    pub(super) scheduled: Option<u64>,
    pub(super) sent: u64,
    pub(super) count: u32,
}

impl Flight {
    /// Returns the scheduled time; in a closed loop, the time of sending.
    fn start(self) -> u64 {
        self.scheduled.unwrap_or(self.sent)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn flight(scheduled: Option<u64>, sent: u64, count: u32) -> Flight {
        Flight { scheduled, sent, count }
    }

    #[test]
    fn only_correct_replies_count_as_latencies() {
        let mut recorder = Recorder::new();
        recorder.record_sent(flight(Some(5), 10, 2));
        recorder.complete(Outcome::Answered, flight(Some(5), 10, 1), 110);
        recorder.complete(Outcome::WrongReply, flight(Some(5), 10, 1), 210);
        let recorded = recorder.current();
        assert_eq!((recorded.sent.len(), recorded.sent.max()), (1, 100));
        assert_eq!((recorded.scheduled.len(), recorded.scheduled.max()), (1, 105));
        assert_eq!((recorded.lateness.len(), recorded.lateness.max()), (2, 5));
        assert_eq!(recorded.failures.len(), 1);
        assert_eq!(recorded.failures[0].0, Outcome::WrongReply);
        assert_eq!((recorded.failures[0].1.len(), recorded.failures[0].1.max()), (1, 205));
    }

    #[test]
    fn intervals_are_reported_when_they_end_and_stay_aligned() {
        let (interval_tx, intervals) = mpsc::channel();
        let mut recorder = Recorder::reporting_to(interval_tx, Duration::from_nanos(100), 1000);
        let (early, recorded) = (flight(None, 990, 1), flight(None, 1010, 1));
        recorder.record_sent(early);
        recorder.integrate(1, 1005);
        recorder.roll_over(1005);
        recorder.integrate(1, 1010);
        recorder.record_sent(recorded);
        recorder.integrate(2, 1020);
        recorder.complete(Outcome::Answered, early, 1020);
        recorder.roll_over(1099);
        assert!(intervals.try_recv().is_err());
        recorder.integrate(1, 1130);
        recorder.roll_over(1130);
        recorder.integrate(1, 1150);
        recorder.complete(Outcome::Answered, recorded, 1150);
        recorder.finish(1200);
        let [first, second] =
            [intervals.recv(), intervals.recv()].map(|it| it.expect("an interval"));
        assert_eq!((first.start_ns, first.duration_ns), (1000, 130));
        assert_eq!((first.requests, first.in_flight_ns), (1, 120));
        assert_eq!((second.start_ns, second.duration_ns, second.in_flight_ns), (1130, 70, 20));
        assert_eq!(second.outcomes.get(Outcome::Answered), 1);
    }

    #[test]
    fn an_interval_length_of_zero_still_reports_intervals() {
        let (interval_tx, intervals) = mpsc::channel();
        std::thread::spawn(move || {
            let mut recorder = Recorder::reporting_to(interval_tx, Duration::ZERO, 10);
            recorder.roll_over(11);
            recorder.roll_over(12);
        });
        intervals.recv_timeout(Duration::from_secs(20)).expect("an interval");
    }

    #[test]
    fn connections_started_before_the_recording_are_not_recorded() {
        let mut recorder = Recorder::recording_since(1000);
        recorder.record_connect(990, 1010);
        recorder.record_connect(1000, 1030);
        let recorded = &recorder.current().connects;
        assert_eq!((recorded.len(), recorded.max()), (1, 30));
    }

    #[test]
    fn an_unsent_request_is_recorded_with_the_time_since_its_scheduled_time() {
        let mut recorder = Recorder::recording_since(1000);
        recorder.record_unsent(Outcome::Stalled, 990, 1500);
        recorder.record_unsent(Outcome::Stalled, 1200, 1500);
        let recorded = recorder.current();
        assert_eq!((recorded.requests, recorded.outcomes.get(Outcome::Stalled)), (1, 1));
        assert_eq!((recorded.failures[0].1.len(), recorded.failures[0].1.max() / 10), (1, 30));
    }
}
