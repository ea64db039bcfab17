//! Descriptor limits of running processes.

use std::collections::HashSet;
use std::fs;
use std::io;

use rustix::process::{Resource, Rlimit, prlimit};

use super::tree::Pid;

/// Lowers the descriptor limit of the processes so that opening a descriptor fails with EMFILE.
/// Returns the previous limits for [`restore_descriptors`].
///
/// # Errors
/// The kernel denies the change, because the processes belong to another user.
pub fn exhaust_descriptors(tree: &[Pid]) -> io::Result<Vec<(Pid, Rlimit)>> {
    let mut previous = Vec::new();
    for &pid in tree {
        // Skip processes that have exited.
        let (Some(lowest), Some(maximum)) = (lowest_free(pid), hard_limit(pid)) else { continue };
        // RLIMIT_NOFILE is one more than the highest permitted descriptor. All descriptors below
        // the lowest free one are in use, so this limit permits no new descriptor.
        let limits = Rlimit { current: Some(lowest), maximum: Some(maximum) };
        let process = rustix::process::Pid::from_raw(pid);
        previous.push((pid, prlimit(process, Resource::Nofile, limits)?));
    }
    Ok(previous)
}

/// Restores the descriptor limits of the processes.
pub fn restore_descriptors(previous: &[(Pid, Rlimit)]) {
    for (pid, limits) in previous {
        // Fails for a process that has exited, which needs no limit.
        let process = rustix::process::Pid::from_raw(*pid);
        let _ = prlimit(process, Resource::Nofile, *limits);
    }
}

fn hard_limit(pid: Pid) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let row = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    row.split_whitespace().nth(1)?.parse().ok()
}

fn lowest_free(pid: Pid) -> Option<u64> {
    let open: HashSet<u64> = fs::read_dir(format!("/proc/{pid}/fd"))
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    (0..).find(|number| !open.contains(number))
}
