//! Time that the generator lost during a run, by cause. It must not be charged to the server.
//!
//! There are four independent sources:
//!
//! - gaps in the generator's own loop (a stopped process, a suspended virtual machine)
//! - time on the run queue (`/proc/thread-self/schedstat`)
//! - throttling by a cgroup's CPU quota (`cpu.stat`)
//! - other processes on the generator's CPU (`/proc/stat`)

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use serde::Serialize;

use super::recorder::thread_cpu_ns;

/// Minimum gap, in nanoseconds: waking up and a full batch of events may take as long.
const SHORTEST_GAP: u64 = 5_000_000;

/// Sampling interval of the loop's CPU time, in nanoseconds: time in which the loop worked is no
/// gap.
const SAMPLE_EVERY: u64 = 1_000_000;

/// A tick of `/proc/stat` in nanoseconds (USER_HZ is 100 per second, whatever the kernel's own
/// clock).
const TICK: u64 = 10_000_000;

/// Detector of gaps in the loop of one generator: time in which it neither ran nor waited for an
/// event.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    /// Start of the last iteration; 0 before the first.
    looked: u64,
    cpu_at: u64,
    cpu: u64,
    /// Sum of all gaps, and the longest.
    total: u64,
    longest: u64,
    /// End of the last gap, and its length.
    last: (u64, u64),
}

impl Gaps {
    /// Starts an iteration at `now`, after a wait of at most `waited` in the kernel. Returns the
    /// length of the gap since the last iteration, 0 for none. Time before `since` is not counted.
    pub(super) fn look(&mut self, now: u64, waited: u64, since: u64) -> u64 {
        self.look_with(now, waited, since, thread_cpu_ns)
    }

    fn look_with(&mut self, now: u64, waited: u64, since: u64, cpu: impl Fn() -> u64) -> u64 {
        let from = self.looked;
        self.looked = now;
        let mut lost = 0;
        if from > 0 && now.saturating_sub(from) > waited + SHORTEST_GAP {
            // Work since the last sample is no gap.
            let worked = cpu().saturating_sub(self.cpu);
            lost = (now - from).saturating_sub(waited).saturating_sub(worked);
        }
        if now.saturating_sub(self.cpu_at) > SAMPLE_EVERY || from == 0 {
            (self.cpu_at, self.cpu) = (now, cpu());
        }
        if lost < SHORTEST_GAP {
            return 0;
        }
        let counted = lost.min(now.saturating_sub(since));
        if counted > 0 {
            self.total += counted;
            self.longest = self.longest.max(counted);
            self.last = (now, counted);
        }
        lost
    }
}

/// Time that generators lost, in nanoseconds. `None` if the kernel does not report it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LostTime {
    /// Time that the generators were watched, summed over them.
    pub watched_ns: u64,
    /// Time in gaps of their loops, summed.
    pub gaps_ns: u64,
    /// Longest gap.
    pub longest_gap_ns: u64,
    /// End of the last gap by the run's clock, and its length.
    pub last_gap: (u64, u64),
    /// Time on the run queue, summed: a thread was runnable, and another one had the CPU.
    pub run_queue_ns: Option<u64>,
    /// Longest time for which one of the process's cgroups was throttled.
    pub throttled_ns: Option<u64>,
    /// CPU time of other processes on the generators' CPUs, summed, if each generator is pinned to
    /// one.
    pub others_ns: Option<u64>,
}

impl LostTime {
    /// Adds the lost time of another generator of the same run.
    pub(super) fn add(&mut self, other: &LostTime) {
        let sum = |one: Option<u64>, two: Option<u64>| Some(one? + two?);
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

    /// Returns the lost time as shares of the time recorded by this number of generators.
    pub(super) fn shares(&self, elapsed: Duration, threads: usize) -> LostShares {
        let elapsed = (elapsed.as_nanos() as f64).max(1.0);
        let watched = (self.watched_ns as f64).max(1.0);
        let part = |ns: u64| (ns as f64 / watched).min(1.0);
        // The cgroups are those of the whole process: their time is not summed over the generators.
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

/// Time that the generator lost, as shares of the run: 0 for none, 1 for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct LostShares {
    /// Gaps in the generator's loop: it neither ran nor waited for an event.
    pub gaps_share: f64,
    /// Longest gap, in nanoseconds.
    pub longest_gap_ns: u64,
    /// Time on the run queue: the generator was runnable, and another thread had the CPU.
    pub run_queue_share: Option<f64>,
    /// Time in which a cgroup's CPU quota was used up.
    pub throttled_share: Option<f64>,
    /// CPU time of other processes on the generator's CPU.
    pub other_load_share: Option<f64>,
}

/// Meter of the time that the calling thread loses from the creation of the meter on.
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
    /// Starts the meter at this time of the run's clock.
    pub(super) fn begin(now: u64) -> LostTimeMeter {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let cpu_stats = cpu_stat_files(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
        let processor = own_processor();
        let before = Reading::take(&cpu_stats, processor);
        LostTimeMeter { began_ns: now, cpu_stats, processor, before }
    }

    /// Returns the time lost until now.
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

/// Returns the CPU that the calling thread is pinned to, if it is only one.
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

/// Returns the throttled time of `cpu.stat` in nanoseconds: `throttled_usec` in cgroup v2,
/// `throttled_time` (ns) in v1. Both are missing if the CPU controller is not enabled.
fn throttled_ns(cpu_stat: &str) -> Option<u64> {
    let value = |name: &str| -> Option<u64> {
        let mut fields = cpu_stat.lines().filter_map(|line| line.split_once(' '));
        fields.find(|(key, _)| *key == name)?.1.trim().parse().ok()
    };
    value("throttled_usec").map(|us| us.saturating_mul(1000)).or_else(|| value("throttled_time"))
}

/// Returns the `cpu.stat` files of a process's cgroup and its ancestors, as far as they are
/// mounted: the quota of each limits the process.
///
/// The arguments are the contents of `/proc/PID/cgroup` and `/proc/PID/mountinfo` (cgroups(7),
/// proc(5)).
fn cpu_stat_files(cgroup: &str, mountinfo: &str) -> Vec<PathBuf> {
    let membership = |is_unified: bool| {
        cgroup.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let is_meant = match is_unified {
                true => number == "0" && controllers.is_empty(),
                false => controllers.split(',').any(|it| it == "cpu"),
            };
            is_meant.then_some(path)
        })
    };
    let mut files = Vec::new();
    for line in mountinfo.lines() {
        let Some((mount, filesystem)) = line.split_once(" - ") else { continue };
        let (mount, filesystem): (Vec<&str>, Vec<&str>) =
            (mount.split(' ').collect(), filesystem.split(' ').collect());
        let ([_, _, _, root, point, ..], [kind, _, options, ..]) = (&mount[..], &filesystem[..])
        else {
            continue;
        };
        let path = match *kind {
            "cgroup2" => membership(true),
            "cgroup" if options.split(',').any(|it| it == "cpu") => membership(false),
            _ => None,
        };
        let Some(path) = path else { continue };
        // In a container the mount may start at the process's own cgroup, or below the path.
        let is_outside = path.split('/').any(|name| name == "..");
        let inside = path.strip_prefix(root.trim_end_matches('/')).filter(|_| !is_outside);
        let mut directory = PathBuf::from(point);
        files.push(directory.join("cpu.stat"));
        for name in inside.unwrap_or("").split('/').filter(|name| !name.is_empty()) {
            directory.push(name);
            files.push(directory.join("cpu.stat"));
        }
    }
    files
}

/// Returns the CPU time used on one CPU, in user and kernel mode. Interrupts are left out: they are
/// mostly the run's own network traffic (`/proc/stat`, proc(5)).
fn busy_ns(stat: &str, processor: usize) -> Option<u64> {
    let name = format!("cpu{processor}");
    let line = stat.lines().find(|line| line.split(' ').next() == Some(&name))?;
    let ticks: Vec<u64> = line.split_whitespace().skip(1).take(3).flat_map(str::parse).collect();
    (ticks.len() == 3).then(|| ticks.iter().sum::<u64>() * TICK)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_gap_is_time_in_which_the_loop_neither_ran_nor_was_to_wait() {
        let mut gaps = Gaps::default();
        // Time, wait and CPU time so far, and the expected gap, all in milliseconds.
        for (now, waited, cpu, gap) in [
            (10, 0, 1, 0),
            (12, 0, 2, 0),
            // It waited no longer than allowed.
            (34, 20, 3, 0),
            // It worked.
            (64, 0, 33, 0),
            // It was stopped, the second time during a wait.
            (2_064, 0, 33, 2_000),
            (3_084, 20, 33, 1_000),
            (3_088, 0, 33, 0),
        ] {
            let found = gaps.look_with(now * MS, waited * MS, 0, || cpu * MS);
            assert_eq!(found / MS, gap, "at {now} ms");
        }
        assert_eq!((gaps.total / MS, gaps.longest / MS), (3_000, 2_000));
        assert_eq!(gaps.last, (3_084 * MS, 1_000 * MS));
    }

    #[test]
    fn a_gap_before_the_recording_is_none_and_one_across_its_start_counts_from_there() {
        let mut gaps = Gaps::default();
        gaps.look_with(1, 0, 5_000 * MS, || 0);
        assert_eq!(gaps.look_with(4_000 * MS, 0, 5_000 * MS, || 0) / MS, 3_999);
        assert_eq!(gaps.total, 0);
        gaps.look_with(6_000 * MS, 0, 5_000 * MS, || 0);
        assert_eq!(gaps.total, 1_000 * MS);
    }

    #[test]
    fn throttled_time_is_read_from_both_versions_of_cgroups() {
        let v2 = "usage_usec 9\nuser_usec 5\nsystem_usec 4\nnr_periods 7\nnr_throttled 2\n\
                  throttled_usec 1500\nnr_bursts 0\nburst_usec 0\n";
        assert_eq!(throttled_ns(v2), Some(1_500_000));
        assert_eq!(
            throttled_ns("nr_periods 7\nnr_throttled 2\nthrottled_time 1500\n"),
            Some(1_500)
        );
        // The root cgroup has no quota and does not report one.
        assert_eq!(throttled_ns("usage_usec 9\nuser_usec 5\nsystem_usec 4\n"), None);
        assert_eq!(throttled_ns(""), None);
    }

    #[test]
    fn the_cgroups_of_a_process_are_found_in_both_versions_and_in_containers() {
        let v2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let files = |cgroup: &str, mountinfo: &str| -> Vec<String> {
            let files = cpu_stat_files(cgroup, mountinfo);
            files.iter().map(|file| file.display().to_string()).collect()
        };
        assert_eq!(
            files("0::/user.slice/one.scope\n", v2),
            [
                "/sys/fs/cgroup/cpu.stat",
                "/sys/fs/cgroup/user.slice/cpu.stat",
                "/sys/fs/cgroup/user.slice/one.scope/cpu.stat"
            ]
        );
        assert_eq!(files("0::/\n", v2), ["/sys/fs/cgroup/cpu.stat"]);
        assert_eq!(files("0::/../other\n", v2), ["/sys/fs/cgroup/cpu.stat"]);
        let v1 = "33 25 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n\
                  34 25 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n";
        let of_v1 = "12:cpuset:/docker/abc\n4:cpu,cpuacct:/docker/abc/job\n0::/\n";
        assert_eq!(
            files(of_v1, v1),
            ["/sys/fs/cgroup/cpu,cpuacct/cpu.stat", "/sys/fs/cgroup/cpu,cpuacct/job/cpu.stat"]
        );
        assert_eq!(files("", v1), [""; 0]);
        assert_eq!(files(of_v1, "nonsense\n1 2 - x\n"), [""; 0]);
    }

    #[test]
    fn time_on_the_run_queue_is_the_second_field_of_schedstat() {
        assert_eq!(run_queue_ns("123456 789 42\n"), Some(789));
        assert_eq!(run_queue_ns(""), None);
    }

    #[test]
    fn what_runs_on_a_processor_is_its_time_in_user_and_kernel_mode() {
        let stat = "cpu  100 0 100 700 0 0 50 50 7 7\ncpu0 1 2 3 4\ncpu1 10 20 30 4 5 6 7 8\n\
                    cpu10 9 9 9\nintr 5\n";
        assert_eq!(busy_ns(stat, 1), Some(60 * TICK));
        assert_eq!(busy_ns(stat, 10), Some(27 * TICK));
        assert_eq!(busy_ns(stat, 2), None);
        assert_eq!(busy_ns("cpu3 a b c\n", 3), None);
    }

    #[test]
    fn what_generators_lost_is_summed_and_is_unknown_where_one_does_not_know() {
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
    fn a_meter_reads_what_this_machine_has() {
        let meter = LostTimeMeter::begin(0);
        let lost = meter.end(1_000, &Gaps::default());
        assert_eq!((lost.watched_ns, lost.gaps_ns), (1_000, 0));
        let is_told = Path::new("/proc/thread-self/schedstat").exists();
        assert_eq!(lost.run_queue_ns.is_some(), is_told);
    }
}
