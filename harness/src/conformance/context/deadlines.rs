//! Deadlines of a case: the timeout of one wait, and the time left for the whole case.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::client::ClientError;
use crate::conformance::settings::TIMEOUTS_PER_CASE;
use crate::server::proc::{self, Pid};

/// Timeout for actions that a server takes without delay, such as the rejection of a connection
/// over the limit.
pub(in crate::conformance) const SHORT_TIMEOUT: Duration = Duration::from_secs(1);

/// Longest wait for a server that uses the CPU, as a multiple of the timeout.
pub(in crate::conformance) const BUSY_FACTOR: u32 = 3;

/// Polling interval for a condition.
pub(in crate::conformance) const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Time that a server gets to exit after a failed case, so that the harness notices a crash.
pub(in crate::conformance) const EXIT_GRACE: Duration = Duration::from_millis(200);

/// Silence after which a reply counts as missing, as a multiple of the slowest reply time.
const SILENCE_FACTOR: u32 = 6;

/// Minimum wait before a quiescent server, which only an external event can wake, is considered not
/// to reply.
const MIN_SILENCE: Duration = Duration::from_millis(10);

/// The timeouts of one case. They adapt to the reply times of the server and to a busy machine.
pub(in crate::conformance) struct Deadlines {
    /// Timeout of one wait, for a reply or an event.
    timeout: Duration,
    /// Timeout that replaces `timeout` while a counterexample is shrunk.
    timeout_override: Cell<Option<Duration>>,
    /// Deadline of the case.
    case_deadline: Cell<Instant>,
    /// Deadline of all cases of the server, if limited.
    server_deadline: Option<Instant>,
    /// Longest time from a plain request to its reply.
    slowest_reply: Cell<Duration>,
    /// Total time that this thread and the server's threads have waited for a CPU, as last read.
    cpu_wait: Cell<Duration>,
    /// Time at which `cpu_wait` was last read.
    cpu_wait_read_at: Cell<Instant>,
    /// Whether a wait has ended because the deadline of the case passed.
    ended_a_wait: Cell<bool>,
    /// Total extension of the deadline for time spent waiting for a CPU.
    extension: Cell<Duration>,
}

impl Deadlines {
    pub(super) fn new(timeout: Duration, server_deadline: Option<Instant>) -> Deadlines {
        let deadlines = Deadlines {
            timeout,
            timeout_override: Cell::default(),
            case_deadline: Cell::new(Instant::now()),
            server_deadline,
            slowest_reply: Cell::default(),
            cpu_wait: Cell::new(proc::thread_sched_stats().waited),
            cpu_wait_read_at: Cell::new(Instant::now()),
            ended_a_wait: Cell::default(),
            extension: Cell::default(),
        };
        deadlines.restart();
        deadlines
    }

    /// Restarts the deadline of the case.
    fn restart(&self) {
        self.set_case_deadline(Instant::now() + self.timeout * TIMEOUTS_PER_CASE);
    }

    fn set_case_deadline(&self, deadline: Instant) {
        self.case_deadline.set(self.server_deadline.map_or(deadline, |end| deadline.min(end)));
    }

    /// Replaces the timeout of one wait, or restores it if `timeout` is `None`. Restarts the
    /// deadline of the case.
    pub(in crate::conformance) fn override_timeout(&self, timeout: Option<Duration>) {
        self.timeout_override.set(timeout);
        self.restart();
    }

    /// Returns the timeout of one wait.
    pub(in crate::conformance) fn timeout(&self) -> Duration {
        self.timeout_override.get().unwrap_or(self.timeout)
    }

    /// Returns the time that a server gets to exit before the harness replaces it.
    pub(super) fn exit_grace(&self) -> Duration {
        self.timeout_override.get().map_or(EXIT_GRACE, |_| POLL_INTERVAL)
    }

    /// Returns the error of a wait that the deadline of the case has ended.
    pub(in crate::conformance) fn out_of_time(&self) -> ClientError {
        self.ended_a_wait.set(true);
        ClientError::OutOfTime
    }

    /// Returns whether a wait has ended because the deadline of the case passed.
    pub(super) fn have_ended_a_wait(&self) -> bool {
        self.ended_a_wait.get()
    }

    /// Returns the share of the time of the case that has passed, from 0 to 1.
    pub(super) fn elapsed_share(&self) -> f64 {
        let left = self.case_deadline.get().saturating_duration_since(Instant::now());
        let all = self.timeout * TIMEOUTS_PER_CASE;
        (1.0 - left.as_secs_f64() / all.as_secs_f64().max(1e-6)).max(0.0)
    }

    /// Returns whether the deadline of the case has passed.
    pub(super) fn has_passed(&self) -> bool {
        self.case_deadline.get() <= Instant::now()
    }

    /// Returns the timeout of the next wait, limited by the deadline of the case.
    ///
    /// # Errors
    /// The deadline of the case has passed.
    pub(super) fn time_left(&self) -> Result<Duration, ClientError> {
        match self.case_deadline.get().saturating_duration_since(Instant::now()).min(self.timeout())
        {
            Duration::ZERO => Err(self.out_of_time()),
            left => Ok(left),
        }
    }

    /// Extends the deadline of the case by the time for which this thread and the server waited for
    /// a CPU since the last call.
    ///
    /// Without the extension, cases time out on a busy machine. In total, the extension is at most
    /// the time limit of a case.
    pub(super) fn extend_by_cpu_wait(&self, server: &[Pid]) {
        let waited = proc::thread_sched_stats().waited + proc::sched_stats(server).waited;
        // The sum includes waits in parallel, so it may exceed the elapsed time. It omits threads
        // that have exited, so it may decrease.
        let elapsed = self.cpu_wait_read_at.replace(Instant::now()).elapsed();
        let lost = waited.saturating_sub(self.cpu_wait.replace(waited)).min(elapsed);
        let max = (self.timeout * TIMEOUTS_PER_CASE).saturating_sub(self.extension.get());
        let extension = lost.min(max);
        self.extension.set(self.extension.get() + extension);
        self.set_case_deadline(self.case_deadline.get() + extension);
    }

    /// Records the reply time of a plain request.
    pub(in crate::conformance) fn record_reply_time(&self, time: Duration) {
        self.slowest_reply.set(self.slowest_reply.get().max(time));
    }

    /// Returns the wait after which a server whose threads all sleep is considered not to reply:
    /// `min`, or [`SILENCE_FACTOR`] times the slowest reply time if that is longer, up to the
    /// timeout.
    ///
    /// A shorter sleep proves nothing: a server that waits for a timer is also asleep.
    pub(in crate::conformance) fn silence(&self, min: Duration) -> Duration {
        let slow = self.slowest_reply.get() * SILENCE_FACTOR;
        min.max(slow).min(min.max(self.timeout))
    }

    /// Returns the wait after which a quiescent server is considered not to reply.
    pub(super) fn quiescent_silence(&self) -> Duration {
        MIN_SILENCE.max(self.slowest_reply.get() * SILENCE_FACTOR)
    }

    /// Returns the number of requests that a case has time for, from 1 to `max`, given the time per
    /// request.
    pub(in crate::conformance) fn requests_in_time(
        &self,
        time_per_request: Duration,
        max: usize,
    ) -> usize {
        let requests = (self.timeout / 4).as_micros() / time_per_request.as_micros().max(1);
        max.min(usize::try_from(requests).unwrap_or(max)).max(1)
    }
}
