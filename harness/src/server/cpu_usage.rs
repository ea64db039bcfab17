//! CPU time and context switches of a running process tree. Take two readings and subtract them.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use nix::time::ClockId;

use super::proc::{Pid, cpu_ticks, number, threads};

/// Maximum number of threads for reading context switches, since each thread has a file.
const MOST_THREADS: usize = 2_000;

/// A tick of /proc/PID/stat, in milliseconds.
const TICK_MS: u64 = 10;

/// Minimum number of ticks for the split into user and system time. The kernel samples the mode at
/// each timer interrupt. With n samples the uncertainty of the split is 1 / (2 √n), here a tenth.
const LEAST_TICKS: u64 = 25;

/// CPU time of a process tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuUsed {
    /// Time in user and kernel mode. For running processes it is exact to 1 ns and includes exited
    /// threads. For children that have exited and were waited for it is in ticks of 10 ms. The time
    /// of a child that no process of the tree waits for is lost when it exits.
    pub total: Duration,
    user_ticks: u64,
    system_ticks: u64,
    /// Time of children that have exited and were waited for.
    ended_ticks: u64,
    /// Processes of the tree.
    processes: Vec<Pid>,
}

/// Returns the CPU time of the processes and of the children that they have waited for. The total
/// comes from their CPU clocks (clock_getcpuclockid(3)). The kernel takes those from the scheduler,
/// like schedstat, but for the whole process at once.
pub fn cpu_used(tree: &[Pid]) -> CpuUsed {
    let mut sum = CpuUsed::default();
    for &pid in tree {
        let Some([user, system, user_of_ended, system_of_ended]) = cpu_ticks(pid) else { continue };
        let of_ended = user_of_ended + system_of_ended;
        sum.total += clock(pid).unwrap_or_else(|| ticks(user + system)) + ticks(of_ended);
        sum.ended_ticks += of_ended;
        sum.processes.push(pid);
        sum.user_ticks += user + user_of_ended;
        sum.system_ticks += system + system_of_ended;
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
    /// Returns the CPU time since `before`. `None` if processes have disappeared and their time was
    /// not added to a parent that waited for them.
    pub fn since(&self, before: &CpuUsed) -> Option<CpuUsed> {
        let is_gone = |pid: &Pid| !self.processes.contains(pid);
        if before.processes.iter().any(is_gone) && self.ended_ticks <= before.ended_ticks {
            return None;
        }
        Some(CpuUsed {
            ended_ticks: self.ended_ticks.checked_sub(before.ended_ticks)?,
            processes: self.processes.clone(),
            total: self.total.checked_sub(before.total)?,
            user_ticks: self.user_ticks.checked_sub(before.user_ticks)?,
            system_ticks: self.system_ticks.checked_sub(before.system_ticks)?,
        })
    }

    /// Returns the share of user mode, between 0 and 1, as sampled by the kernel at timer
    /// interrupts. `None` for less than 0.25 s of CPU time.
    pub fn user_part(&self) -> Option<f64> {
        let ticks = self.user_ticks + self.system_ticks;
        (ticks >= LEAST_TICKS).then(|| self.user_ticks as f64 / ticks as f64)
    }
}

/// Context switches of one thread or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switched {
    /// Voluntary: the thread waits for something.
    pub voluntary: u64,
    /// Involuntary: the scheduler runs another thread.
    pub involuntary: u64,
}

/// Context switches of each thread.
#[derive(Clone, Debug, Default)]
pub struct Switches(HashMap<Pid, Switched>);

impl Switches {
    /// Reads the context switches of the current threads of the processes
    /// (/proc/PID/task/TID/status). `None` for more than 2,000 threads.
    pub fn of(tree: &[Pid]) -> Option<Switches> {
        let of_each: Vec<(Pid, Vec<Pid>)> =
            tree.iter().map(|&pid| (pid, threads(&[pid]))).collect();
        if of_each.iter().map(|(_, threads)| threads.len()).sum::<usize>() > MOST_THREADS {
            return None;
        }
        let switched = |pid: Pid, thread: Pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/task/{thread}/status")).ok()?;
            let voluntary = number(&status, "voluntary_ctxt_switches:")?;
            let involuntary = number(&status, "nonvoluntary_ctxt_switches:")?;
            Some((thread, Switched { voluntary, involuntary }))
        };
        let all = of_each.iter().flat_map(|(pid, threads)| {
            threads.iter().filter_map(move |&thread| switched(*pid, thread))
        });
        Some(Switches(all.collect()))
    }

    /// Returns the sum of the context switches since `before` over the current threads. Those of
    /// threads that have exited are lost.
    pub fn since(&self, before: &Switches) -> Switched {
        self.0.iter().fold(Switched::default(), |sum, (thread, now)| {
            let before = before.0.get(thread).copied().unwrap_or_default();
            Switched {
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
    fn a_thread_that_only_sleeps_is_switched_of_its_own_will() {
        let (told, tell) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let sleeper = thread::spawn(move || {
            told.send(nix::unistd::gettid().as_raw()).expect("somebody asks");
            while ended.recv_timeout(Duration::from_millis(1)).is_err() {}
        });
        let id = tell.recv().expect("it runs");
        let of_it = || {
            let all = Switches::of(&[std::process::id() as Pid]).expect("few threads");
            Switches(HashMap::from([(id, all.0[&id])]))
        };
        let before = of_it();
        wait_until("it has slept 50 times", || of_it().since(&before).voluntary >= 50);
        end.send(()).expect("it waits for that");
        sleeper.join().expect("it ends");
    }

    #[test]
    fn time_of_threads_and_children_that_have_ended_is_kept() {
        let this = [std::process::id() as Pid];
        let before = cpu_used(&this);
        let of_thread = thread::spawn(|| {
            let own = || ClockId::CLOCK_THREAD_CPUTIME_ID.now().map(Duration::from);
            while own().expect("a clock") < Duration::from_millis(50) {
                black_box(());
            }
            own().expect("a clock")
        });
        let least = of_thread.join().expect("it ends");
        let used = cpu_used(&this).since(&before).expect("nothing is gone");
        assert!(used.total >= least, "{used:?}, and a thread alone {least:?}");

        let before = cpu_used(&this);
        let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("sh");
        let tree = [this[0], child.id() as Pid];
        let with_child = || cpu_used(&tree).since(&before).expect("nothing is gone").total;
        let child_alone = || cpu_used(&tree[1..]).total;
        wait_until("it has worked", || child_alone() >= Duration::from_millis(100));
        let least = child_alone() - Duration::from_millis(2 * TICK_MS);
        assert!(with_child() >= least);
        child.kill().and_then(|()| child.wait()).expect("it ends");
        assert!(with_child() >= least, "as long as it was waited for");
    }

    #[test]
    fn what_is_gone_is_not_taken_for_nothing() {
        assert_eq!(cpu_used(&[1 << 30]), CpuUsed::default());
        let before = cpu_used(&[std::process::id() as Pid]);
        assert_eq!(CpuUsed::default().since(&before), None);
        assert_eq!(CpuUsed::default().user_part(), None);
    }

    #[test]
    fn where_a_process_is_gone_with_what_it_had_used_nothing_is_said() {
        let mut busy = ["while :; do :; done"; 2]
            .map(|words| Command::new("sh").args(["-c", words]).spawn().expect("sh"));
        let tree = [busy[0].id() as Pid, busy[1].id() as Pid];
        let used = |of: &[Pid]| cpu_used(of).total;
        wait_until("it has worked", || used(&tree[1..]) > Duration::from_millis(20));
        let before = cpu_used(&tree);
        busy[1].kill().and_then(|()| busy[1].wait()).expect("it ends");
        wait_until("the other has worked more", || used(&tree[..1]) > 2 * before.total);
        let after = cpu_used(&tree[..1]);
        busy[0].kill().and_then(|()| busy[0].wait()).expect("it ends");
        assert!(after.since(&before).is_none());
    }
}
