//! Descriptor limits of running processes.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use rustix::process::{Resource, Rlimit, prlimit};

use super::sockets::{has_socket, listening_inodes};
use super::tree::Pid;

/// Which descriptors a process with a lowered limit cannot open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// Those above its highest descriptor. A descriptor that the process closes can be opened
    /// again. It can also open the numbers between its descriptors that are not in use
    /// ([`unused_descriptors`]).
    AboveHighest,
    /// Those from its lowest unused number on. If there are descriptors above, closing one frees
    /// none, and poll(2) may fail, which counts against the limit.
    AboveLowestUnused,
}

/// Lowers the descriptor limits of the processes. Returns the previous limits for
/// [`restore_descriptors`].
///
/// A process that does not listen gets no connection that could use an unused number. So its
/// shortage is always [`Shortage::AboveLowestUnused`].
///
/// # Errors
/// The kernel denies the change, because the processes belong to another user.
pub fn exhaust_descriptors(tree: &[Pid], shortage: Shortage) -> io::Result<Vec<(Pid, Rlimit)>> {
    let (listeners, mut previous) = (listening_inodes(), Vec::new());
    for &pid in tree {
        // Skip processes that have exited.
        let (Some(open), Some(maximum)) = (open(pid), hard_limit(pid)) else { continue };
        // RLIMIT_NOFILE is one more than the highest permitted descriptor.
        let is_above_highest = shortage == Shortage::AboveHighest && has_socket(pid, &listeners);
        let limit = match is_above_highest {
            true => open.last().map_or(0, |highest| highest + 1),
            false => lowest_unused(&open),
        };
        let limits = Rlimit { current: Some(limit), maximum: Some(maximum) };
        let process = rustix::process::Pid::from_raw(pid);
        match prlimit(process, Resource::Nofile, limits) {
            Ok(limits) => previous.push((pid, limits)),
            Err(error) => {
                restore_descriptors(&previous);
                return Err(error.into());
            }
        }
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

/// Returns how many numbers between the descriptors of the processes that listen are not in use, in
/// total. A descriptor that a blocked accept(2) has reserved counts as unused.
pub fn unused_descriptors(tree: &[Pid]) -> usize {
    let listeners = listening_inodes();
    let unused = |open: BTreeSet<u64>| {
        open.last().map_or(0, |highest| (highest + 1) as usize).saturating_sub(open.len())
    };
    let listening = tree.iter().filter(|&&pid| has_socket(pid, &listeners));
    listening.filter_map(|&pid| open(pid)).map(unused).sum()
}

fn hard_limit(pid: Pid) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let row = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    row.split_whitespace().nth(1)?.parse().ok()
}

/// Returns the open descriptors of a process.
fn open(pid: Pid) -> Option<BTreeSet<u64>> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    Some(entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

fn lowest_unused(open: &BTreeSet<u64>) -> u64 {
    (0..)
        .zip(open)
        .find(|(number, open)| number != *open)
        .map_or(open.len() as u64, |(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_unused_number_is_in_the_first_gap_or_after_the_last_descriptor() {
        for (open, lowest) in [(&[][..], 0), (&[0, 1, 2], 3), (&[0, 2], 1), (&[1], 0)] {
            assert_eq!(lowest_unused(&open.iter().copied().collect()), lowest, "{open:?}");
        }
    }
}
