//! Starvation: the time in which this process was ready to run and got no CPU. It counts neither
//! for nor against a server.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Time for which the watching thread sleeps between two measurements.
const INTERVAL: Duration = Duration::from_millis(20);

/// Lateness of a wake-up that even an idle machine has.
const TOLERANCE: Duration = Duration::from_millis(5);

/// Minimum share of lost time on an overloaded machine. The watching thread mostly sleeps: threads
/// that always need a CPU lose a much larger share.
const OVERLOADED_SHARE: f64 = 0.15;

/// Weight of the last measurement in the recent share.
const RECENT_WEIGHT: f64 = 0.1;

/// Measures the lateness of its own wake-ups.
#[derive(Debug)]
struct Watch {
    began: Instant,
    times: Mutex<Times>,
    /// Share of lost time in the last intervals, in millionths.
    recent: AtomicU64,
}

/// Both change together at a wake-up: otherwise its lateness would count twice in between.
#[derive(Debug)]
struct Times {
    /// Total lateness of the past wake-ups.
    lost: Duration,
    /// Time of the next wake-up, since the watch began.
    due: Duration,
}

/// Returns the watch of this process, and starts its thread at the first call. Without a thread, no
/// lost time is measured.
fn watch() -> &'static Watch {
    static WATCH: OnceLock<&'static Watch> = OnceLock::new();
    WATCH.get_or_init(|| {
        let watch: &'static Watch = Box::leak(Box::new(Watch::new(Duration::MAX)));
        let _ = thread::Builder::new().name("starvation".to_owned()).spawn(|| watch.run());
        watch
    })
}

impl Watch {
    fn new(due: Duration) -> Watch {
        let times = Mutex::new(Times { lost: Duration::ZERO, due });
        Watch { began: Instant::now(), times, recent: AtomicU64::new(0) }
    }

    fn run(&self) {
        let mut last = self.began.elapsed();
        self.times().due = last + INTERVAL;
        loop {
            thread::sleep(INTERVAL);
            let now = self.began.elapsed();
            self.wake_up(now, now - last);
            last = now;
        }
    }

    /// Records the lateness of a wake-up, `elapsed` after the last one.
    fn wake_up(&self, now: Duration, elapsed: Duration) {
        let late = lateness(elapsed);
        {
            let mut times = self.times();
            times.lost += late;
            times.due = now + INTERVAL;
        }
        let share = late.as_secs_f64() / elapsed.as_secs_f64();
        let recent = self.recent.load(Relaxed) as f64 / 1e6;
        // A long interval counts for as many short ones.
        let intervals = elapsed.as_secs_f64() / INTERVAL.as_secs_f64();
        let weight = 1.0 - (1.0 - RECENT_WEIGHT).powf(intervals);
        let recent = recent + (share - recent) * weight;
        self.recent.store((recent * 1e6) as u64, Relaxed);
    }

    /// Returns the total lateness, including that of the current wake-up.
    fn lost(&self) -> Duration {
        let times = self.times();
        let late = self.began.elapsed().saturating_sub(times.due);
        times.lost + late.saturating_sub(TOLERANCE)
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the lateness of a wake-up after this time.
fn lateness(elapsed: Duration) -> Duration {
    let late = elapsed.saturating_sub(INTERVAL);
    if late > TOLERANCE { late } else { Duration::ZERO }
}

/// Returns whether the machine is overloaded now.
pub fn is_overloaded_now() -> bool {
    watch().recent.load(Relaxed) as f64 / 1e6 >= OVERLOADED_SHARE
}

/// Measures a period, and the time that this process has lost in it.
#[derive(Clone, Copy, Debug)]
pub struct Period {
    began: Instant,
    lost_before: Duration,
}

impl Period {
    /// Begins a period.
    pub fn begin() -> Period {
        Period { began: Instant::now(), lost_before: watch().lost() }
    }

    /// Returns the elapsed time, without the time in which this process could not run.
    pub fn usable(&self) -> Duration {
        self.began.elapsed().saturating_sub(self.lost())
    }

    /// Returns the elapsed time.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn lost(&self) -> Duration {
        watch().lost().saturating_sub(self.lost_before)
    }

    /// Returns the share of lost time, if the machine was overloaded in this period.
    pub fn overload(&self) -> Option<f64> {
        let elapsed = self.elapsed().as_secs_f64().max(1e-6);
        let share = (self.lost().as_secs_f64() / elapsed).min(1.0);
        (share >= OVERLOADED_SHARE).then_some(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lateness_within_the_tolerance_is_not_lost() {
        assert_eq!(lateness(INTERVAL), Duration::ZERO);
        assert_eq!(lateness(INTERVAL + TOLERANCE), Duration::ZERO);
        assert_eq!(lateness(INTERVAL + TOLERANCE * 2), TOLERANCE * 2);
        assert_eq!(lateness(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn the_lateness_of_a_wake_up_counts_while_it_is_due_and_once_after_it() {
        let watch = Watch::new(Duration::ZERO);
        thread::sleep(TOLERANCE * 2);
        assert!(watch.lost() > Duration::ZERO);
        let late = INTERVAL * 50;
        // The next wake-up is not due during the test.
        watch.wake_up(Duration::from_secs(3600), INTERVAL + late);
        assert_eq!(watch.lost(), late);
    }
}
