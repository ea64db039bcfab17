//! Decisions of a known-answer server: when and how it answers the next line.

use std::thread;
use std::time::{Duration, Instant};

use nix::time::ClockId;

use super::answer::Answer;

/// Age of the server at its first freeze.
const FIRST_FREEZE: Duration = Duration::from_secs(1);

/// CPU time that the server for comparisons spends on each line.
const WORK: Duration = Duration::from_micros(10);

/// State that determines the next answer.
pub(super) struct Lines {
    pub(super) answer: Answer,
    began: Instant,
    /// Number of lines so far.
    count: usize,
    /// Earliest time of the next answer, at a limited rate.
    turn: Instant,
    padding: Padding,
}

/// Answer to a line.
pub(super) struct Reply {
    /// Due time.
    pub(super) at: Instant,
    /// Whether every byte is replaced by an x.
    pub(super) is_wrong: bool,
}

impl Lines {
    pub(super) fn new(answer: Answer) -> Lines {
        let began = Instant::now();
        Lines { answer, began, count: 0, turn: began, padding: Padding::new() }
    }

    /// Returns the answer to a line that was just read, the client's line `number` (from 1). `None`
    /// if it stays unanswered.
    pub(super) fn next(&mut self, number: usize, read: Instant) -> Option<Reply> {
        self.count += 1;
        let one_in = |every| self.count.is_multiple_of(every);
        let at = match self.answer {
            Answer::Delay(delay) => read + delay,
            Answer::TwoHumps { usual, rare, every } => {
                read + if number.is_multiple_of(every) { rare } else { usual }
            }
            Answer::Rate(gap) => {
                let turn = self.turn.max(read);
                self.turn = turn + gap;
                turn
            }
            Answer::Slower(_) => {
                spend(WORK);
                read
            }
            Answer::Lost(every) if one_in(every) => return None,
            _ => read,
        };
        let is_wrong = matches!(self.answer, Answer::Wrong(every) if one_in(every));
        Some(Reply { at, is_wrong })
    }

    /// Uses additional CPU time in proportion to the work since the last call, including kernel
    /// time, if the server is a slowed one.
    pub(super) fn pad(&mut self) {
        if let Answer::Slower(part) = self.answer {
            self.padding.pad(part);
        }
    }

    /// Sleeps until the end of the current freeze, if there is one.
    pub(super) fn stay_frozen(&self) {
        if let Answer::Freeze { frozen, period } = self.answer
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

/// Additional CPU time of this thread, as a share of its work. CPU time is unaffected by other
/// processes, unlike time by the clock.
struct Padding {
    /// CPU time at the last call.
    before: Duration,
    needed: Duration,
    padded: Duration,
}

impl Padding {
    fn new() -> Padding {
        let before = processor_time();
        Padding { before, needed: Duration::ZERO, padded: Duration::ZERO }
    }

    /// Uses this share of the CPU time since the last call in addition. An earlier excess is
    /// deducted.
    fn pad(&mut self, part: f64) {
        let now = processor_time();
        self.needed += now - self.before;
        self.before = spend(self.needed.mul_f64(part).saturating_sub(self.padded));
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
    fn it_freezes_at_one_second_and_then_once_in_each_period() {
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
    fn turns_are_evenly_spaced_and_none_is_saved_up() {
        let gap = Duration::from_millis(1);
        let mut lines = Lines::new(Answer::Rate(gap));
        let mut turn = |read| lines.next(1, read).expect("it is answered").at;
        let now = Instant::now();
        assert_eq!([turn(now), turn(now), turn(now)], [now, now + gap, now + 2 * gap]);
        let later = now + 10 * gap;
        assert_eq!([turn(later), turn(later)], [later, later + gap]);
    }

    #[test]
    fn a_padded_thread_has_the_part_more_and_an_excess_is_made_up_for() {
        let mut padding = Padding::new();
        for _ in 0..100 {
            spend(WORK);
            padding.pad(0.5);
        }
        assert!(padding.needed >= 100 * WORK);
        assert!(padding.padded >= padding.needed / 2);
        padding.padded += Duration::from_secs(3600);
        let before = padding.padded;
        padding.pad(0.5);
        assert!(padding.padded - before < padding.needed, "nothing more until it is made up for");
    }
}
