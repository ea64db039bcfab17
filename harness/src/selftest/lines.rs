//! Decides when and how a known-answer server answers the next line.

use std::thread;
use std::time::{Duration, Instant};

use nix::time::ClockId;

use super::answer::Behaviour;

/// Age of the server at its first freeze.
const FIRST_FREEZE: Duration = Duration::from_secs(1);

/// CPU time that the behaviour `slower` spends on each line.
const WORK: Duration = Duration::from_micros(10);

/// State that determines the next answer.
pub(super) struct Lines {
    pub(super) behaviour: Behaviour,
    began: Instant,
    /// Number of lines so far.
    count: usize,
    /// Earliest time of the next answer, for the behaviour `rate`.
    next_slot: Instant,
    padding: Padding,
}

/// Scheduled reply to a line.
pub(super) struct ScheduledReply {
    /// Scheduled time.
    pub(super) at: Instant,
    /// Whether every byte is replaced by an x.
    pub(super) is_wrong: bool,
}

impl Lines {
    pub(super) fn new(behaviour: Behaviour) -> Lines {
        let began = Instant::now();
        Lines { behaviour, began, count: 0, next_slot: began, padding: Padding::new() }
    }

    /// Returns the reply to a line; `None` for no reply. `number` is the number of the line in its
    /// connection, from 1; `read` is the time at which it was read.
    pub(super) fn next(&mut self, number: usize, read: Instant) -> Option<ScheduledReply> {
        self.count += 1;
        let one_in = |every| self.count.is_multiple_of(every);
        let at = match self.behaviour {
            Behaviour::Delay(delay) => read + delay,
            Behaviour::Bimodal { usual, rare, every } => {
                read + if number.is_multiple_of(every) { rare } else { usual }
            }
            Behaviour::Rate(gap) => {
                let slot = self.next_slot.max(read);
                self.next_slot = slot + gap;
                slot
            }
            Behaviour::Slower(_) => {
                spend(WORK);
                read
            }
            Behaviour::Lost(every) if one_in(every) => return None,
            _ => read,
        };
        let is_wrong = matches!(self.behaviour, Behaviour::Wrong(every) if one_in(every));
        Some(ScheduledReply { at, is_wrong })
    }

    /// For the behaviour `slower`: uses additional CPU time, in proportion to the CPU time (user
    /// and kernel) used since the last call.
    pub(super) fn pad(&mut self) {
        if let Behaviour::Slower(share) = self.behaviour {
            self.padding.pad(share);
        }
    }

    /// Sleeps until the end of the current freeze, if any.
    pub(super) fn stay_frozen(&self) {
        if let Behaviour::Freeze { frozen, period } = self.behaviour
            && let Some(rest) = until_thawed(self.began.elapsed(), frozen, period)
        {
            thread::sleep(rest);
        }
    }
}

/// Returns the remaining time of a freeze at this age of the server.
fn until_thawed(age: Duration, frozen: Duration, period: Duration) -> Option<Duration> {
    let since_first = age.checked_sub(FIRST_FREEZE)?;
    let into_period = (since_first.as_nanos() % period.as_nanos()) as u64;
    frozen.checked_sub(Duration::from_nanos(into_period)).filter(|rest| !rest.is_zero())
}

/// Uses additional CPU time, as a share of the CPU time of this thread. Measures CPU time, which
/// does not depend on other processes, unlike wall-clock time.
struct Padding {
    /// CPU time of the thread at the end of the last call.
    before: Duration,
    /// CPU time without padding.
    used: Duration,
    /// CPU time of the padding.
    padded: Duration,
}

impl Padding {
    fn new() -> Padding {
        let before = processor_time();
        Padding { before, used: Duration::ZERO, padded: Duration::ZERO }
    }

    /// Uses `share` times the CPU time used since the last call, minus the excess of earlier calls.
    fn pad(&mut self, share: f64) {
        let now = processor_time();
        self.used += now - self.before;
        self.before = spend(self.used.mul_f64(share).saturating_sub(self.padded));
        self.padded += self.before - now;
    }
}

/// Uses CPU time, and returns the thread's CPU time afterwards.
fn spend(time: Duration) -> Duration {
    let end = processor_time() + time;
    loop {
        let now = processor_time();
        if now >= end {
            return now;
        }
    }
}

/// Returns the CPU time of this thread.
fn processor_time() -> Duration {
    ClockId::CLOCK_THREAD_CPUTIME_ID.now().expect("every thread has this clock").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_freezes_at_one_second_and_then_once_per_period() {
        let ms = Duration::from_millis;
        for (age, rest) in [
            (0, None),
            (999, None),
            (1000, Some(500)),
            (1499, Some(1)),
            (1500, None),
            (2999, None),
            (3000, Some(500)),
            (21_200, Some(300)),
        ] {
            assert_eq!(until_thawed(ms(age), ms(500), ms(2000)), rest.map(ms), "at {age} ms");
        }
    }

    #[test]
    fn reply_slots_are_evenly_spaced_and_unused_ones_expire() {
        let gap = Duration::from_millis(1);
        let mut lines = Lines::new(Behaviour::Rate(gap));
        let mut slot = |read| lines.next(1, read).expect("a reply").at;
        let now = Instant::now();
        assert_eq!([slot(now), slot(now), slot(now)], [now, now + gap, now + 2 * gap]);
        let later = now + 10 * gap;
        assert_eq!([slot(later), slot(later)], [later, later + gap]);
    }

    #[test]
    fn padding_adds_a_share_of_the_work_and_deducts_earlier_excess() {
        let mut padding = Padding::new();
        for _ in 0..100 {
            spend(WORK);
            padding.pad(0.5);
        }
        assert!(padding.used >= 100 * WORK);
        assert!(padding.padded >= padding.used / 2);
        padding.padded += Duration::from_secs(3600);
        let before = padding.padded;
        padding.pad(0.5);
        assert!(padding.padded - before < padding.used, "the excess is not deducted");
    }
}
