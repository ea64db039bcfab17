//! Starvation: the time in which this process was ready to run and got no CPU. It counts neither for
//! nor against a server.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Time for which the watching thread sleeps between two measurements.
const INTERVAL: Duration = Duration::from_millis(20);

/// Lateness of a wake-up that even an idle machine has.
const TOLERANCE: Duration = Duration::from_millis(5);

/// Share of lost time from which the machine counts as overloaded. Threads that wait for a CPU at each
/// wake-up, and do not sleep, lose far more.
const OVERLOADED_SHARE: f64 = 0.15;

/// Weight of the last measurement in the recent share.
const RECENT_WEIGHT: f64 = 0.1;

/// Measures the lateness of its own wake-ups.
#[derive(Debug)]
struct Watch {
    began: Instant,
    /// Total lateness so far, in ns.
    lost_ns: AtomicU64,
    /// Time of the next wake-up, in ns since `began`.
    due_ns: AtomicU64,
    /// Share of lost time in the last intervals, in millionths.
    recent: AtomicU64,
}

/// Returns the watch of this process, and starts its thread at the first call. Without a thread, no
/// lost time is measured.
fn watch() -> &'static Watch {
    static WATCH: OnceLock<&'static Watch> = OnceLock::new();
    WATCH.get_or_init(|| {
        let watch: &'static Watch = Box::leak(Box::new(Watch {
            began: Instant::now(),
            lost_ns: AtomicU64::new(0),
            due_ns: AtomicU64::new(u64::MAX),
            recent: AtomicU64::new(0),
        }));
        let _ = thread::Builder::new().name("starvation".to_owned()).spawn(|| watch.run());
        watch
    })
}

impl Watch {
    fn run(&self) {
        loop {
            let began = Instant::now();
            self.due_ns.store(ns(self.began.elapsed() + INTERVAL), Relaxed);
            thread::sleep(INTERVAL);
            let elapsed = began.elapsed();
            let late = lateness(elapsed);
            self.lost_ns.fetch_add(ns(late), Relaxed);
            let share = late.as_secs_f64() / elapsed.as_secs_f64();
            let recent = self.recent.load(Relaxed) as f64 / 1e6;
            // A long interval counts for as many short ones.
            let intervals = elapsed.as_secs_f64() / INTERVAL.as_secs_f64();
            let weight = 1.0 - (1.0 - RECENT_WEIGHT).powf(intervals);
            let recent = recent + (share - recent) * weight;
            self.recent.store((recent * 1e6) as u64, Relaxed);
        }
    }

    /// Returns the total lateness, including that of the current wake-up.
    fn lost(&self) -> Duration {
        let now = ns(self.began.elapsed());
        let late = Duration::from_nanos(now.saturating_sub(self.due_ns.load(Relaxed)));
        Duration::from_nanos(self.lost_ns.load(Relaxed)) + late.saturating_sub(TOLERANCE)
    }
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
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
    fn only_the_lateness_beyond_the_tolerance_is_lost() {
        assert_eq!(lateness(INTERVAL), Duration::ZERO);
        assert_eq!(lateness(INTERVAL + TOLERANCE), Duration::ZERO);
        assert_eq!(lateness(INTERVAL + TOLERANCE * 2), TOLERANCE * 2);
        assert_eq!(lateness(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn the_usable_time_of_a_period_is_at_most_its_elapsed_time() {
        let period = Period::begin();
        thread::sleep(INTERVAL * 2);
        assert!(period.usable() <= period.elapsed());
    }

    #[test]
    fn the_lateness_of_a_wake_up_that_is_still_due_counts() {
        let watch = Watch {
            began: Instant::now(),
            lost_ns: AtomicU64::new(7),
            due_ns: AtomicU64::new(0),
            recent: AtomicU64::new(0),
        };
        thread::sleep(TOLERANCE * 2);
        assert!(watch.lost() > Duration::from_nanos(7));
    }
}
