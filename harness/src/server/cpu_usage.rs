//! CPU time and context switches of a running process tree. Take two readings and subtract them.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use nix::time::ClockId;

use super::proc::{Pid, cpu_ticks, number, threads};

/// Maximum number of server threads whose context switches are read. Each takes the read of a file
/// in /proc.
const MAX_THREADS: usize = 2_000;

/// A tick of /proc/PID/stat, in milliseconds.
const TICK_MS: u64 = 10;

/// Minimum number of ticks for the share of user mode. The kernel samples the mode at each timer
/// interrupt. With n samples the standard error of the share is at most 1 / (2 √n), here 0.1.
const MIN_TICKS: u64 = 25;

/// CPU time of a process tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuUsed {
    /// Time in user and kernel mode.
    ///
    /// The time of running processes has a resolution of 1 ns and includes exited threads. The time
    /// of children that have exited and were waited for has a resolution of 10 ms. If no process of
    /// the tree waits for a child, the time of the child is lost when it exits.
    pub total: Duration,
    user_ticks: u64,
    system_ticks: u64,
    /// Time of children that have exited and were waited for.
    waited_for_ticks: u64,
    /// Processes of the tree.
    processes: Vec<Pid>,
}

/// Returns the CPU time of the processes, and of the children that they have waited for. The time
/// of the processes comes from their CPU clocks (clock_getcpuclockid(3)), which have the resolution
/// of schedstat and cover all threads of a process.
pub fn cpu_used(tree: &[Pid]) -> CpuUsed {
    let mut sum = CpuUsed::default();
    for &pid in tree {
        let Some([user, system, children_user, children_system]) = cpu_ticks(pid) else { continue };
        let children = children_user + children_system;
        sum.total += clock(pid).unwrap_or_else(|| ticks(user + system)) + ticks(children);
        sum.waited_for_ticks += children;
        sum.processes.push(pid);
        sum.user_ticks += user + children_user;
        sum.system_ticks += system + children_system;
    }
    sum
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count * TICK_MS)
}

fn clock(pid: Pid) -> Option<Duration> {
    let clock = ClockId::pid_cpu_clock_id(nix::unistd::Pid::from_raw(pid)).ok()?;
    clock.now().ok().map(Duration::from)
}

impl CpuUsed {
    /// Returns the CPU time since `before`. Returns `None` if processes have exited and no parent
    /// in the tree has waited for them, because their time is lost.
    pub fn since(&self, before: &CpuUsed) -> Option<CpuUsed> {
        let has_exited = |pid: &Pid| !self.processes.contains(pid);
        if before.processes.iter().any(has_exited)
            && self.waited_for_ticks <= before.waited_for_ticks
        {
            return None;
        }
        Some(CpuUsed {
            waited_for_ticks: self.waited_for_ticks.checked_sub(before.waited_for_ticks)?,
            processes: self.processes.clone(),
            total: self.total.checked_sub(before.total)?,
            user_ticks: self.user_ticks.checked_sub(before.user_ticks)?,
            system_ticks: self.system_ticks.checked_sub(before.system_ticks)?,
        })
    }

    /// Returns the share of user mode, between 0 and 1. Returns `None` for less than 0.25 s of CPU
    /// time.
    pub fn user_share(&self) -> Option<f64> {
        let ticks = self.user_ticks + self.system_ticks;
        (ticks >= MIN_TICKS).then(|| self.user_ticks as f64 / ticks as f64)
    }
}

/// Number of context switches of one or more threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwitchCounts {
    /// Voluntary: the thread waits for an event.
    pub voluntary: u64,
    /// Involuntary: the scheduler preempts the thread.
    pub involuntary: u64,
}

/// Context switches of each thread.
#[derive(Clone, Debug, Default)]
pub struct ContextSwitches(HashMap<Pid, SwitchCounts>);

impl ContextSwitches {
    /// Reads the context switches of the current threads of the processes
    /// (/proc/PID/task/TID/status). Returns `None` for more than 2,000 threads.
    pub fn of(tree: &[Pid]) -> Option<ContextSwitches> {
        let processes: Vec<(Pid, Vec<Pid>)> =
            tree.iter().map(|&pid| (pid, threads(&[pid]))).collect();
        if processes.iter().map(|(_, threads)| threads.len()).sum::<usize>() > MAX_THREADS {
            return None;
        }
        let read = |pid: Pid, thread: Pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/task/{thread}/status")).ok()?;
            let voluntary = number(&status, "voluntary_ctxt_switches:")?;
            let involuntary = number(&status, "nonvoluntary_ctxt_switches:")?;
            Some((thread, SwitchCounts { voluntary, involuntary }))
        };
        let all = processes.iter().flat_map(|(pid, threads)| {
            threads.iter().filter_map(move |&thread| read(*pid, thread))
        });
        Some(ContextSwitches(all.collect()))
    }

    /// Returns the context switches since `before`, summed over the current threads. The context
    /// switches of threads that have exited are lost.
    pub fn since(&self, before: &ContextSwitches) -> SwitchCounts {
        self.0.iter().fold(SwitchCounts::default(), |sum, (thread, now)| {
            let before = before.0.get(thread).copied().unwrap_or_default();
            SwitchCounts {
                voluntary: sum.voluntary + now.voluntary.saturating_sub(before.voluntary),
                involuntary: sum.involuntary + now.involuntary.saturating_sub(before.involuntary),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::process::Command;
    use std::sync::mpsc;
    use std::thread;

    use super::super::proc::testing::wait_until;
    use super::*;

    #[test]
    fn a_sleeping_thread_has_voluntary_context_switches() {
        let (tid_tx, tid_rx) = mpsc::channel();
        let (stop_tx, stop_rx) = mpsc::channel::<()>();
        let sleeper = thread::spawn(move || {
            tid_tx.send(nix::unistd::gettid().as_raw()).expect("the test receives");
            while stop_rx.recv_timeout(Duration::from_millis(1)).is_err() {}
        });
        let id = tid_rx.recv().expect("the thread id");
        let of_sleeper = || {
            let all =
                ContextSwitches::of(&[std::process::id() as Pid]).expect("at most 2,000 threads");
            ContextSwitches(HashMap::from([(id, all.0[&id])]))
        };
        let before = of_sleeper();
        wait_until("the thread has slept 50 times", || of_sleeper().since(&before).voluntary >= 50);
        stop_tx.send(()).expect("the thread receives");
        sleeper.join().expect("no panic");
    }

    #[test]
    fn cpu_time_includes_exited_threads_and_children() {
        let this = [std::process::id() as Pid];
        let before = cpu_used(&this);
        let busy_thread = thread::spawn(|| {
            let cpu_time = || ClockId::CLOCK_THREAD_CPUTIME_ID.now().map(Duration::from);
            while cpu_time().expect("the thread's clock") < Duration::from_millis(50) {
                black_box(());
            }
            cpu_time().expect("the thread's clock")
        });
        let by_thread = busy_thread.join().expect("no panic");
        let used = cpu_used(&this).since(&before).expect("the process still runs");
        assert!(used.total >= by_thread, "{used:?}, and the thread alone {by_thread:?}");

        let before = cpu_used(&this);
        let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("sh");
        let tree = [this[0], child.id() as Pid];
        let with_child = || cpu_used(&tree).since(&before).expect("a CPU time").total;
        let child_alone = || cpu_used(&tree[1..]).total;
        wait_until("the child has used 100 ms", || child_alone() >= Duration::from_millis(100));
        let by_child = child_alone() - Duration::from_millis(2 * TICK_MS);
        assert!(with_child() >= by_child);
        child.kill().and_then(|()| child.wait()).expect("the child is killed");
        assert!(with_child() >= by_child, "the parent has waited for the child");
    }

    #[test]
    fn cpu_time_of_an_exited_process_is_unknown() {
        assert_eq!(cpu_used(&[1 << 30]), CpuUsed::default());
        let before = cpu_used(&[std::process::id() as Pid]);
        assert_eq!(CpuUsed::default().since(&before), None);
        assert_eq!(CpuUsed::default().user_share(), None);
    }

    #[test]
    fn cpu_time_is_unknown_if_the_time_of_an_exited_process_is_lost() {
        let mut busy = ["while :; do :; done"; 2]
            .map(|words| Command::new("sh").args(["-c", words]).spawn().expect("sh"));
        let tree = [busy[0].id() as Pid, busy[1].id() as Pid];
        let used = |of: &[Pid]| cpu_used(of).total;
        wait_until("the second process has used 20 ms", || {
            used(&tree[1..]) > Duration::from_millis(20)
        });
        let before = cpu_used(&tree);
        busy[1].kill().and_then(|()| busy[1].wait()).expect("the process is killed");
        wait_until("the first process has used more than both", || {
            used(&tree[..1]) > 2 * before.total
        });
        let after = cpu_used(&tree[..1]);
        busy[0].kill().and_then(|()| busy[0].wait()).expect("the process is killed");
        assert!(after.since(&before).is_none());
    }
}
