//! Time in which the generator could not run, by cause. The server must not be blamed for it.
//!
//! There are four independent sources:
//!
//! - gaps in the generator's own loop (a stopped process, a suspended virtual machine)
//! - time on the run queue (`/proc/thread-self/schedstat`)
//! - throttling by a cgroup's CPU quota (`cpu.stat`)
//! - other processes on the generator's CPU (`/proc/stat`)

mod cgroup;
pub(super) mod gaps;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use cgroup::{cpu_stat_files, throttled_ns};
use gaps::Gaps;

use super::clock::thread_cpu_ns;
use crate::results::LostShares;

/// A tick of `/proc/stat` in nanoseconds. USER_HZ is 100, independent of the kernel's HZ.
const TICK: u64 = 10_000_000;

/// Time in which generators could not run, in nanoseconds. `None` if the kernel does not report it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LostTime {
    /// Time in which the generators were observed, summed over the generators.
    pub watched_ns: u64,
    /// Time in gaps of the generators' loops, summed over the generators.
    pub gaps_ns: u64,
    /// Longest gap.
    pub longest_gap_ns: u64,
    /// End of the last gap on the run's clock, and length of that gap.
    pub last_gap: (u64, u64),
    /// Time on the run queue, summed over the generators: the thread was runnable, but another
    /// thread had the CPU.
    pub run_queue_ns: Option<u64>,
    /// Throttled time of the process's most throttled cgroup.
    pub throttled_ns: Option<u64>,
    /// CPU time of other processes on the generators' CPUs, summed over these CPUs. `None` if a
    /// generator is not pinned to one CPU.
    pub others_ns: Option<u64>,
}

impl LostTime {
    /// Adds the lost time of another generator of the same run.
    pub(super) fn add(&mut self, other: &LostTime) {
        let sum = |first: Option<u64>, second: Option<u64>| Some(first? + second?);
        let is_first = self.watched_ns == 0;
        *self = LostTime {
            watched_ns: self.watched_ns + other.watched_ns,
            gaps_ns: self.gaps_ns + other.gaps_ns,
            longest_gap_ns: self.longest_gap_ns.max(other.longest_gap_ns),
            last_gap: self.last_gap.max(other.last_gap),
            run_queue_ns: if is_first {
                other.run_queue_ns
            } else {
                sum(self.run_queue_ns, other.run_queue_ns)
            },
            throttled_ns: self.throttled_ns.max(other.throttled_ns),
            others_ns: if is_first {
                other.others_ns
            } else {
                sum(self.others_ns, other.others_ns)
            },
        };
    }

    /// Returns the lost time as shares of the time that `threads` generators recorded.
    pub(super) fn shares(&self, elapsed: Duration, threads: usize) -> LostShares {
        let elapsed = (elapsed.as_nanos() as f64).max(1.0);
        let watched = (self.watched_ns as f64).max(1.0);
        let part = |ns: u64| (ns as f64 / watched).min(1.0);
        // All generators are in the same cgroups, so the throttled time is not a sum.
        let each = (watched / threads.max(1) as f64).max(1.0);
        LostShares {
            gaps_share: (self.gaps_ns as f64 / elapsed / threads.max(1) as f64).min(1.0),
            longest_gap_ns: self.longest_gap_ns,
            run_queue_share: self.run_queue_ns.map(part),
            throttled_share: self.throttled_ns.map(|ns| (ns as f64 / each).min(1.0)),
            other_load_share: self.others_ns.map(part),
        }
    }
}

/// Measures the time that the calling thread loses, from the creation of the meter.
#[derive(Debug)]
pub(super) struct LostTimeMeter {
    began_ns: u64,
    cpu_stats: Vec<PathBuf>,
    processor: Option<usize>,
    before: Reading,
}

#[derive(Debug)]
struct Reading {
    cpu_ns: u64,
    run_queue_ns: Option<u64>,
    throttled_ns: Vec<Option<u64>>,
    busy_ns: Option<u64>,
}

impl LostTimeMeter {
    /// Starts the meter; `now` is the time on the run's clock.
    pub(super) fn begin(now: u64) -> LostTimeMeter {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let cpu_stats = cpu_stat_files(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
        let processor = own_processor();
        let before = Reading::take(&cpu_stats, processor);
        LostTimeMeter { began_ns: now, cpu_stats, processor, before }
    }

    /// Returns the time lost since the start of the meter.
    pub(super) fn end(&self, now: u64, gaps: &Gaps) -> LostTime {
        let (before, after) = (&self.before, Reading::take(&self.cpu_stats, self.processor));
        let since = |before: Option<u64>, after: Option<u64>| Some(after?.saturating_sub(before?));
        let throttled = before.throttled_ns.iter().zip(&after.throttled_ns);
        let own = after.cpu_ns.saturating_sub(before.cpu_ns);
        LostTime {
            watched_ns: now.saturating_sub(self.began_ns),
            gaps_ns: gaps.total,
            longest_gap_ns: gaps.longest,
            last_gap: gaps.last,
            run_queue_ns: since(before.run_queue_ns, after.run_queue_ns),
            throttled_ns: throttled.filter_map(|(before, after)| since(*before, *after)).max(),
            others_ns: since(before.busy_ns, after.busy_ns).map(|busy| busy.saturating_sub(own)),
        }
    }
}

impl Reading {
    fn take(cpu_stats: &[PathBuf], processor: Option<usize>) -> Reading {
        let read = |file: &Path| fs::read_to_string(file).unwrap_or_default();
        let throttled = |file: &PathBuf| throttled_ns(&read(file));
        let stat = processor.map(|_| read(Path::new("/proc/stat"))).unwrap_or_default();
        Reading {
            cpu_ns: thread_cpu_ns(),
            run_queue_ns: run_queue_ns(&read(Path::new("/proc/thread-self/schedstat"))),
            throttled_ns: cpu_stats.iter().map(throttled).collect(),
            busy_ns: processor.and_then(|number| busy_ns(&stat, number)),
        }
    }
}

/// Returns the CPU of the calling thread, if the thread is pinned to exactly one CPU.
fn own_processor() -> Option<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).ok()?;
    let mut usable = (0..CpuSet::count()).filter(|&number| set.is_set(number) == Ok(true));
    let first = usable.next()?;
    usable.next().is_none().then_some(first)
}

/// Returns the time on the run queue in nanoseconds: the second field of `schedstat` (proc(5)).
fn run_queue_ns(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().nth(1)?.parse().ok()
}

/// Returns the CPU time used on one CPU in user and kernel mode (`/proc/stat`, proc(5)). Excludes
/// interrupts, which are mostly due to the network traffic of the run.
fn busy_ns(stat: &str, processor: usize) -> Option<u64> {
    let name = format!("cpu{processor}");
    let line = stat.lines().find(|line| line.split(' ').next() == Some(&name))?;
    let ticks: Vec<u64> = line.split_whitespace().skip(1).take(3).flat_map(str::parse).collect();
    (ticks.len() == 3).then(|| ticks.iter().sum::<u64>() * TICK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_queue_time_is_the_second_field_of_schedstat() {
        assert_eq!(run_queue_ns("123456 789 42\n"), Some(789));
        assert_eq!(run_queue_ns(""), None);
    }

    #[test]
    fn the_busy_time_of_a_cpu_is_its_user_and_kernel_time() {
        let stat = "cpu  100 0 100 700 0 0 50 50 7 7\ncpu0 1 2 3 4\ncpu1 10 20 30 4 5 6 7 8\n\
                    cpu10 9 9 9\nintr 5\n";
        assert_eq!(busy_ns(stat, 1), Some(60 * TICK));
        assert_eq!(busy_ns(stat, 10), Some(27 * TICK));
        assert_eq!(busy_ns(stat, 2), None);
        assert_eq!(busy_ns("cpu3 a b c\n", 3), None);
    }

    #[test]
    fn a_sum_of_lost_time_is_unknown_if_it_is_unknown_for_one_generator() {
        let one = LostTime {
            watched_ns: 100,
            gaps_ns: 10,
            longest_gap_ns: 10,
            last_gap: (50, 10),
            run_queue_ns: Some(20),
            throttled_ns: Some(50),
            others_ns: Some(30),
        };
        let other = LostTime { others_ns: None, longest_gap_ns: 7, ..one };
        let mut both = LostTime::default();
        both.add(&one);
        assert_eq!(both, one);
        both.add(&other);
        let shares = both.shares(Duration::from_nanos(100), 2);
        let expected = LostShares {
            gaps_share: 0.1,
            longest_gap_ns: 10,
            run_queue_share: Some(0.2),
            throttled_share: Some(0.5),
            other_load_share: None,
        };
        assert_eq!(shares, expected);
    }

    #[test]
    fn the_meter_reads_run_queue_time_if_the_kernel_reports_it() {
        let meter = LostTimeMeter::begin(0);
        let lost = meter.end(1_000, &Gaps::default());
        assert_eq!((lost.watched_ns, lost.gaps_ns), (1_000, 0));
        let is_reported = Path::new("/proc/thread-self/schedstat").exists();
        assert_eq!(lost.run_queue_ns.is_some(), is_reported);
    }
}
