//! Resource usage of processes: memory, descriptors, CPU time.

use std::collections::HashSet;
use std::fs::{self, DirEntry};
use std::time::Duration;

use serde::Serialize;

use super::tree::{Pid, field, number, stat_fields};

/// Resource usage of a process tree at one moment, summed over its processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ResourceUsage {
    /// Processes, including zombies.
    pub processes: usize,
    /// Zombies: processes that have exited and that their parents have not waited for.
    pub zombies: usize,
    /// Threads.
    pub threads: usize,
    /// Open descriptors.
    pub descriptors: usize,
    /// Resident anonymous memory in bytes (`RssAnon`). Pages of the program's file are not
    /// included, because all built-in servers share them.
    pub anonymous_bytes: u64,
}

/// Returns the sum of the processes' resource usage.
pub fn resource_usage(tree: &[Pid]) -> ResourceUsage {
    let mut sum = ResourceUsage::default();
    for &pid in tree {
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        sum.processes += 1;
        sum.zombies += usize::from(field(&status, "State:") == Some("Z"));
        sum.threads += number(&status, "Threads:").unwrap_or(0) as usize;
        sum.anonymous_bytes += number(&status, "RssAnon:").unwrap_or(0) * 1024;
        sum.descriptors += open_descriptors(pid);
    }
    sum
}

fn open_descriptors(pid: Pid) -> usize {
    let folder = format!("/proc/{pid}/fd");
    // The size of the directory is the number of descriptors since Linux 6.2, and 0 in earlier
    // versions.
    match fs::metadata(&folder).map_or(0, |folder| folder.len()) {
        0 => fs::read_dir(folder).map_or(0, Iterator::count),
        count => count as usize,
    }
}

/// Resets the peak memory of the processes. [`peak_bytes`] then covers the time since the reset.
pub fn reset_peak(tree: &[Pid]) {
    for pid in tree {
        // On failure the peak covers the whole lifetime, and is at least as high.
        let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
    }
}

/// Returns the sum of the processes' peak resident memory (`VmHWM`), in bytes.
pub fn peak_bytes(tree: &[Pid]) -> u64 {
    let peak = |pid: &Pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        number(&status, "VmHWM:")
    };
    tree.iter().filter_map(peak).sum::<u64>() * 1024
}

/// Returns whether every thread of the processes sleeps or has exited. This distinguishes a server
/// that hangs from a server that is starved of CPU time, whose threads are runnable.
pub fn is_asleep(tree: &[Pid]) -> bool {
    tree.iter().all(|pid| {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
        tasks.flatten().all(|task| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat_fields(&stat).is_none_or(|fields| fields.starts_with(['S', 'Z']))
        })
    })
}

/// Returns the ids of the runnable threads of the processes.
pub fn runnable(tree: &[Pid]) -> HashSet<Pid> {
    let is_runnable = |task: &DirEntry| {
        let stat = fs::read_to_string(task.path().join("stat"));
        stat.is_ok_and(|stat| stat_fields(&stat).is_some_and(|fields| fields.starts_with('R')))
    };
    tree.iter()
        .flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task")))
        .flat_map(|tasks| tasks.flatten())
        .filter(is_runnable)
        .filter_map(|task| task.file_name().to_str()?.parse().ok())
        .collect()
}

/// Returns the CPU time of the processes, and of the children that they have waited for, in user
/// and kernel mode. The resolution is a kernel tick of 10 ms.
pub fn cpu_time(tree: &[Pid]) -> Duration {
    let ticks: u64 = tree.iter().filter_map(|&pid| cpu_ticks(pid)).flatten().sum();
    Duration::from_millis(ticks * 10)
}

/// Returns the CPU time of a process in user and kernel mode, and the same of the children that it
/// has waited for, in ticks of 10 ms. USER_HZ is 100 on every architecture that Rust's std
/// supports.
pub(in crate::server) fn cpu_ticks(pid: Pid) -> Option<[u64; 4]> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Fields 14 to 17 (proc_pid_stat(5)).
    let ticks: Vec<u64> =
        stat_fields(&stat)?.split(' ').skip(11).take(4).flat_map(str::parse).collect();
    ticks.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resource_usage_of_this_process_is_read() {
        let usage = resource_usage(&[std::process::id() as Pid]);
        assert_eq!((usage.processes, usage.zombies), (1, 0));
        assert!(usage.threads >= 1 && usage.descriptors >= 3, "{usage:?}");
        assert!(usage.anonymous_bytes > 0, "{usage:?}");
    }

    #[test]
    fn a_nonexistent_process_uses_no_resources() {
        // Process ids on Linux are below 2^22.
        assert_eq!(resource_usage(&[1 << 30]), ResourceUsage::default());
    }
}
