//! Recorder of a run's requests, interval by interval.

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::time::ClockId;

use super::outcome::{Outcome, Outcomes};

/// Longest recorded time; longer ones count as this.
const LONGEST: Duration = Duration::from_secs(120);

/// Significant digits of a recorded latency, and of other times.
const DIGITS: u8 = 3;
const FEW_DIGITS: u8 = 2;

/// Nanoseconds since a run began. Copies share the same start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Clock {
        Clock(Instant::now())
    }

    pub(super) fn now(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// Records of one interval. Times are in nanoseconds.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Start, relative to that of the run.
    pub start_ns: u64,
    /// Duration.
    pub duration_ns: u64,
    /// Latency of correct replies, from the due time of each request. Empty in a closed loop, where
    /// a request is due when it is sent.
    pub intended: Histogram<u64>,
    /// Latency of correct replies, from the sending of each request.
    pub sent: Histogram<u64>,
    /// Delay between due time and sending of each request. Empty in a closed loop.
    pub lateness: Histogram<u64>,
    /// Times of successful connects.
    pub connects: Histogram<u64>,
    /// Outcomes of requests.
    pub outcomes: Outcomes,
    /// Times until the outcome of requests without a correct reply, by outcome.
    pub failures: Vec<(Outcome, Histogram<u64>)>,
    /// Requests in flight, integrated over time: their number times nanoseconds. The connections
    /// count them, independently of the records of single requests.
    pub level_ns: u64,
    /// Number of requests due.
    pub asked: u64,
    /// Correct replies that arrived in the interval, including those to requests due before the
    /// recording. They make up for replies too late for the last interval.
    pub replies: u64,
    /// CPU time of the generator's thread.
    pub generator_cpu_ns: u64,
}

fn times(digits: u8) -> Histogram<u64> {
    let longest = LONGEST.as_nanos() as u64;
    Histogram::new_with_bounds(1, longest, digits).expect("the bounds are in order")
}

impl Interval {
    /// Returns an empty interval that starts at `start_ns`.
    pub fn new(start_ns: u64) -> Interval {
        Interval {
            start_ns,
            duration_ns: 0,
            intended: times(DIGITS),
            sent: times(DIGITS),
            lateness: times(DIGITS),
            connects: times(FEW_DIGITS),
            outcomes: Outcomes::default(),
            failures: Vec::new(),
            level_ns: 0,
            asked: 0,
            replies: 0,
            generator_cpu_ns: 0,
        }
    }

    /// Adds the records of another interval, of the same or a later time.
    pub fn add(&mut self, other: &Interval) {
        let pairs = [
            (&mut self.intended, &other.intended),
            (&mut self.sent, &other.sent),
            (&mut self.lateness, &other.lateness),
            (&mut self.connects, &other.connects),
        ];
        for (mine, others) in pairs {
            mine.add(others).expect("the bounds are the same");
        }
        self.outcomes.add_all(&other.outcomes);
        for (outcome, others) in &other.failures {
            self.failures_of(*outcome).add(others).expect("the bounds are the same");
        }
        self.level_ns += other.level_ns;
        self.asked += other.asked;
        self.replies += other.replies;
        self.generator_cpu_ns += other.generator_cpu_ns;
    }

    fn failures_of(&mut self, outcome: Outcome) -> &mut Histogram<u64> {
        let at = self.failures.iter().position(|(one, _)| *one == outcome).unwrap_or_else(|| {
            self.failures.push((outcome, times(FEW_DIGITS)));
            self.failures.len() - 1
        });
        &mut self.failures[at].1
    }
}

/// Recorder of one group of connections, for requests that are due after a start time.
#[derive(Debug)]
pub struct Recorder {
    current: Interval,
    since_ns: u64,
    /// Length of an interval, and end of the current one.
    every_ns: u64,
    until_ns: u64,
    /// Requests in flight that are not recorded, because they were due before the start.
    early: u64,
    /// Time until which the requests in flight were integrated.
    passed_ns: u64,
    cpu_before: u64,
    told: Option<Sender<Interval>>,
    /// Correct replies, including those before the start.
    answered: u64,
}

impl Recorder {
    /// Returns a recorder with a single interval.
    pub fn new() -> Recorder {
        Recorder {
            current: Interval::new(0),
            since_ns: 0,
            every_ns: u64::MAX,
            until_ns: u64::MAX,
            early: 0,
            passed_ns: 0,
            cpu_before: 0,
            told: None,
            answered: 0,
        }
    }

    /// Returns a recorder that sends each interval when it is over. Requests due before `since_ns`
    /// are not recorded.
    pub(super) fn telling(told: Sender<Interval>, every: Duration, since_ns: u64) -> Recorder {
        let every_ns = (every.as_nanos() as u64).max(1);
        let (current, until_ns) = (Interval::new(since_ns), since_ns);
        Recorder { current, since_ns, every_ns, until_ns, told: Some(told), ..Recorder::new() }
    }

    /// Returns a recorder with a single interval, for requests due from `since_ns` on.
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

    /// Starts another interval if the current one is over.
    pub(super) fn look(&mut self, now: u64) {
        if now < self.until_ns {
            return;
        }
        if self.until_ns == self.since_ns {
            self.cpu_before = thread_cpu_ns();
        } else {
            self.finish(now);
        }
        // Keeps intervals aligned with the clock, even after a pause.
        self.until_ns += ((now - self.until_ns) / self.every_ns + 1) * self.every_ns;
    }

    /// Ends the current interval and sends it.
    pub(super) fn finish(&mut self, now: u64) {
        if self.told.is_none() {
            return;
        }
        let over = self.rest(now);
        if let Some(told) = &self.told {
            // The receiver may be gone; then the interval is not needed.
            let _ = told.send(over);
        }
    }

    /// Ends the current interval early and returns it. Starts another one.
    pub(super) fn rest(&mut self, now: u64) -> Interval {
        let mut over = std::mem::replace(&mut self.current, Interval::new(now));
        over.duration_ns = now.saturating_sub(over.start_ns);
        let cpu = thread_cpu_ns();
        over.generator_cpu_ns = cpu - std::mem::replace(&mut self.cpu_before, cpu);
        over
    }

    /// Integrates the group's requests in flight until now, as counted by its connections. The
    /// result is independent of errors in the records of single requests.
    pub(super) fn passed(&mut self, under_way: u64, now: u64) {
        let from = self.passed_ns.max(self.since_ns);
        let recorded = under_way.saturating_sub(self.early);
        self.current.level_ns += recorded * now.saturating_sub(from);
        self.passed_ns = self.passed_ns.max(now);
    }

    /// Records that requests were sent, and their delay after the due time.
    pub(super) fn sent(&mut self, flight: Flight) {
        let count = u64::from(flight.count);
        if flight.due() < self.since_ns {
            self.early += count;
            return;
        }
        self.current.asked += count;
        if let Some(intended) = flight.intended {
            self.current.lateness.saturating_record_n(flight.sent - intended, count);
        }
    }

    /// Records a request that was due and is not sent.
    pub(super) fn not_sent(&mut self, outcome: Outcome, due: u64, now: u64) {
        if due >= self.since_ns {
            self.current.asked += 1;
            self.current.outcomes.add(outcome);
            let late = now.saturating_sub(due);
            self.current.failures_of(outcome).saturating_record(late);
            // A request that never got its turn is at least this late.
            if outcome == Outcome::InFlight {
                self.current.lateness.saturating_record(late);
            }
        }
    }

    /// Records that requests are complete, with this outcome.
    pub(super) fn over(&mut self, outcome: Outcome, flight: Flight, now: u64) {
        if outcome == Outcome::Answered {
            self.answered += u64::from(flight.count);
            self.current.replies += if now < self.since_ns { 0 } else { flight.count.into() };
        }
        let count = flight.count.into();
        if flight.due() < self.since_ns {
            self.early = self.early.saturating_sub(count);
            return;
        }
        self.current.outcomes.add_many(outcome, count);
        if outcome == Outcome::Answered {
            self.current.sent.saturating_record_n(now - flight.sent, count);
            if let Some(intended) = flight.intended {
                self.current.intended.saturating_record_n(now - intended, count);
            }
        } else {
            self.current.failures_of(outcome).saturating_record_n(now - flight.due(), count);
        }
    }

    /// Records a connect that began at this time.
    pub(super) fn connected(&mut self, began: u64, now: u64) {
        if began >= self.since_ns {
            self.current.connects.saturating_record(now - began);
        }
    }
}

/// Returns the CPU time of the calling thread.
pub(super) fn thread_cpu_ns() -> u64 {
    let time = ClockId::CLOCK_THREAD_CPUTIME_ID.now().map_or(Duration::ZERO, Duration::from);
    time.as_nanos() as u64
}

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder::new()
    }
}

/// Requests sent together on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flight {
    /// Due time, if it differs from the time of sending.
    pub(super) intended: Option<u64>,
    pub(super) sent: u64,
    pub(super) count: u32,
}

impl Flight {
    fn due(self) -> u64 {
        self.intended.unwrap_or(self.sent)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn flight(intended: Option<u64>, sent: u64, count: u32) -> Flight {
        Flight { intended, sent, count }
    }

    #[test]
    fn only_right_replies_are_latencies() {
        let mut recorder = Recorder::new();
        recorder.sent(flight(Some(5), 10, 2));
        recorder.over(Outcome::Answered, flight(Some(5), 10, 1), 110);
        recorder.over(Outcome::WrongReply, flight(Some(5), 10, 1), 210);
        let recorded = recorder.current();
        assert_eq!((recorded.sent.len(), recorded.sent.max()), (1, 100));
        assert_eq!((recorded.intended.len(), recorded.intended.max()), (1, 105));
        assert_eq!((recorded.lateness.len(), recorded.lateness.max()), (2, 5));
        assert_eq!(recorded.failures.len(), 1);
        assert_eq!(recorded.failures[0].0, Outcome::WrongReply);
        assert_eq!((recorded.failures[0].1.len(), recorded.failures[0].1.max()), (1, 205));
    }

    #[test]
    fn intervals_are_told_when_they_are_over_and_are_in_step() {
        let (told, intervals) = mpsc::channel();
        let mut recorder = Recorder::telling(told, Duration::from_nanos(100), 1000);
        let (early, due) = (flight(None, 990, 1), flight(None, 1010, 1));
        recorder.sent(early);
        recorder.passed(1, 1005);
        recorder.look(1005);
        recorder.passed(1, 1010);
        recorder.sent(due);
        recorder.passed(2, 1020);
        recorder.over(Outcome::Answered, early, 1020);
        recorder.look(1099);
        assert!(intervals.try_recv().is_err());
        recorder.passed(1, 1130);
        recorder.look(1130);
        recorder.passed(1, 1150);
        recorder.over(Outcome::Answered, due, 1150);
        recorder.finish(1200);
        let [one, other] = [intervals.recv(), intervals.recv()].map(|it| it.expect("an interval"));
        assert_eq!((one.start_ns, one.duration_ns, one.asked, one.level_ns), (1000, 130, 1, 120));
        assert_eq!((other.start_ns, other.duration_ns, other.level_ns), (1130, 70, 20));
        assert_eq!(other.outcomes.get(Outcome::Answered), 1);
    }

    #[test]
    fn an_interval_may_be_as_short_as_can_be_said() {
        let (told, intervals) = mpsc::channel();
        std::thread::spawn(move || {
            let mut recorder = Recorder::telling(told, Duration::ZERO, 10);
            recorder.look(11);
            recorder.look(12);
        });
        intervals.recv_timeout(Duration::from_secs(20)).expect("an interval");
    }

    #[test]
    fn connecting_before_anything_is_recorded_is_not_recorded() {
        let mut recorder = Recorder::recording_since(1000);
        recorder.connected(990, 1010);
        recorder.connected(1000, 1030);
        let recorded = &recorder.current().connects;
        assert_eq!((recorded.len(), recorded.max()), (1, 30));
    }

    #[test]
    fn what_is_not_sent_has_the_time_since_it_was_due() {
        let mut recorder = Recorder::recording_since(1000);
        recorder.not_sent(Outcome::Stalled, 990, 1500);
        recorder.not_sent(Outcome::Stalled, 1200, 1500);
        let recorded = recorder.current();
        assert_eq!((recorded.asked, recorded.outcomes.get(Outcome::Stalled)), (1, 1));
        assert_eq!((recorded.failures[0].1.len(), recorded.failures[0].1.max() / 10), (1, 30));
    }
}
