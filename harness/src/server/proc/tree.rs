//! Processes, their descendants and their threads.

use std::fs;

use crate::text::visible;

/// A process id.
pub type Pid = i32;

/// Maximum number of processes that a walk over a tree visits. A tree may grow faster than the
/// walk.
pub const MAX_PROCESSES: usize = 10_000;

/// Returns the process and its descendants, in breadth-first order. Descendants of a process that
/// exits during the walk may be missing.
pub fn tree(root: Pid) -> Vec<Pid> {
    let mut tree = vec![root];
    let mut next = 0;
    while next < tree.len().min(MAX_PROCESSES) {
        tree.extend(children(tree[next]));
        next += 1;
    }
    tree
}

/// Returns the child processes of all threads of a process.
pub fn children(parent: Pid) -> Vec<Pid> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{parent}/task")) else { return Vec::new() };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().flat_map(str::parse).collect::<Vec<Pid>>())
        .collect()
}

/// Returns the ids of the threads of the processes.
pub fn threads(tree: &[Pid]) -> Vec<Pid> {
    tree.iter()
        .filter_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok())
        .flat_map(|tasks| tasks.flatten())
        .filter_map(|task| task.file_name().to_str()?.parse().ok())
        .collect()
}

/// Returns the number of runnable threads on the machine.
pub fn all_runnable() -> Option<usize> {
    let loads = fs::read_to_string("/proc/loadavg").ok()?;
    loads.split(' ').nth(3)?.split_once('/')?.0.parse().ok()
}

/// Returns the number of threads of all processes on the machine.
pub fn all_tasks() -> Option<usize> {
    let loads = fs::read_to_string("/proc/loadavg").ok()?;
    loads.split(' ').nth(3)?.split_once('/')?.1.parse().ok()
}

/// Returns the kernel's name of a process. A process may give itself any name.
pub fn name(pid: Pid) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(visible(name.trim_end()).into_owned())
}

/// Returns the first word of a row of a status file (proc_pid_status(5)).
pub(crate) fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()
}

/// Returns the number in a row of a status file.
pub(crate) fn number(status: &str, name: &str) -> Option<u64> {
    field(status, name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonexistent_process_has_no_descendants() {
        // Process ids on Linux are below 2^22.
        assert_eq!(tree(1 << 30), [1 << 30]);
    }
}
