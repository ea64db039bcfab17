//! Scheduling statistics (schedstat).

use std::collections::BTreeMap;
use std::fs;
use std::ops::{AddAssign, Sub};
use std::time::Duration;

use super::tree::{Pid, threads};

/// A process and one of its threads.
pub type Thread = (Pid, Pid);

/// Scheduling statistics of threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedStats {
    /// Time on a CPU.
    pub ran: Duration,
    /// Time in the run queue: runnable and waiting for a CPU.
    pub waited: Duration,
}

/// Returns the sum of the scheduling statistics of all current threads of the processes
/// (/proc/PID/task/TID/schedstat). Exited threads are not included.
pub fn sched_stats(tree: &[Pid]) -> SchedStats {
    let mut sum = SchedStats::default();
    for stats in sched_stats_by_thread(tree).into_values() {
        sum += stats;
    }
    sum
}

/// Returns the scheduling statistics of each current thread of the processes.
pub fn sched_stats_by_thread(tree: &[Pid]) -> BTreeMap<Thread, SchedStats> {
    let of_process = |&pid: &Pid| {
        threads(&[pid]).into_iter().map(move |thread| {
            let path = format!("/proc/{pid}/task/{thread}/schedstat");
            ((pid, thread), SchedStats::read(&path))
        })
    };
    tree.iter().flat_map(of_process).collect()
}

/// Returns the scheduling statistics of the calling thread.
pub fn thread_sched_stats() -> SchedStats {
    SchedStats::read("/proc/thread-self/schedstat")
}

impl SchedStats {
    fn read(path: &str) -> SchedStats {
        let line = fs::read_to_string(path).unwrap_or_default();
        let mut times = line.split(' ').flat_map(str::parse).map(Duration::from_nanos);
        let mut next = || times.next().unwrap_or_default();
        SchedStats { ran: next(), waited: next() }
    }
}

impl AddAssign for SchedStats {
    fn add_assign(&mut self, other: SchedStats) {
        self.ran += other.ran;
        self.waited += other.waited;
    }
}

impl Sub for SchedStats {
    type Output = SchedStats;

    /// Returns the difference to an earlier reading, at least 0. The later reading does not include
    /// threads that have exited since then.
    fn sub(self, before: SchedStats) -> SchedStats {
        SchedStats {
            ran: self.ran.saturating_sub(before.ran),
            waited: self.waited.saturating_sub(before.waited),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_time_of_threads_is_read() {
        assert!(sched_stats(&[std::process::id() as Pid]).ran > Duration::ZERO);
    }

    #[test]
    fn a_nonexistent_process_has_no_cpu_time() {
        // Process ids on Linux are below 2^22.
        assert_eq!(sched_stats(&[1 << 30]), SchedStats::default());
    }
}
