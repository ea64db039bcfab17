//! Processes, their descendants and their threads.

use std::fs;
use std::sync::OnceLock;

use crate::text::visible;

/// A process id.
pub type Pid = i32;

/// Maximum number of processes that a walk over a tree visits. A tree may grow faster than the
/// walk.
pub const MAX_PROCESSES: usize = 10_000;

/// Returns the process and its descendants, in breadth-first order. Descendants of a process that
/// exits during the walk may be missing.
pub fn tree(root: Pid) -> Vec<Pid> {
    let parents = if has_lists_of_children() { None } else { Some(parents()) };
    let mut tree = vec![root];
    let mut next = 0;
    while next < tree.len().min(MAX_PROCESSES) {
        match &parents {
            None => tree.extend(children(tree[next])),
            Some(parents) => tree.extend(children_among(parents, tree[next])),
        }
        next += 1;
    }
    tree
}

/// Returns the child processes of all threads of a process.
pub fn children(parent: Pid) -> Vec<Pid> {
    if !has_lists_of_children() {
        return children_among(&parents(), parent).collect();
    }
    let Ok(tasks) = fs::read_dir(format!("/proc/{parent}/task")) else { return Vec::new() };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().flat_map(str::parse).collect::<Vec<Pid>>())
        .collect()
}

/// Returns whether the kernel lists the children of a thread (CONFIG_PROC_CHILDREN).
fn has_lists_of_children() -> bool {
    static HAS_LISTS: OnceLock<bool> = OnceLock::new();
    *HAS_LISTS.get_or_init(|| fs::read("/proc/thread-self/children").is_ok())
}

/// Returns all processes with their parents.
fn parents() -> Vec<(Pid, Pid)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let parent = |entry: fs::DirEntry| {
        let pid: Pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        Some((pid, stat_fields(&stat)?.split(' ').nth(1)?.parse().ok()?))
    };
    entries.flatten().filter_map(parent).collect()
}

fn children_among(parents: &[(Pid, Pid)], parent: Pid) -> impl Iterator<Item = Pid> {
    parents.iter().filter(move |(_, of)| *of == parent).map(|&(pid, _)| pid)
}

/// Returns the ids of the threads of the processes.
pub fn threads(tree: &[Pid]) -> Vec<Pid> {
    tree.iter()
        .filter_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok())
        .flat_map(|tasks| tasks.flatten())
        .filter_map(|task| task.file_name().to_str()?.parse().ok())
        .collect()
}

/// Returns the number of threads of all processes on the machine, from /proc/loadavg
/// (proc_loadavg(5)).
pub fn all_tasks() -> Option<usize> {
    let loads = fs::read_to_string("/proc/loadavg").ok()?;
    let (_, all) = loads.split(' ').nth(3)?.split_once('/')?;
    all.parse().ok()
}

/// Returns the kernel's name of a process. A process may give itself any name.
pub fn name(pid: Pid) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(visible(name.trim_end()).into_owned())
}

/// Returns the fields of a stat file from the third, the state (proc_pid_stat(5)). The second, the
/// name, may contain any character and ends with the last parenthesis.
pub(crate) fn stat_fields(stat: &str) -> Option<&str> {
    stat.rsplit_once(") ").map(|(_, fields)| fields)
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
    fn both_ways_to_find_children_agree() {
        let mut child =
            std::process::Command::new("sleep").arg("60").spawn().expect("`sleep` starts");
        let this = std::process::id() as Pid;
        let pid = child.id() as Pid;
        assert!(children_among(&parents(), this).any(|it| it == pid));
        assert!(children(this).contains(&pid));
        child.kill().and_then(|()| child.wait()).expect("the child exits on SIGKILL");
    }

    #[test]
    fn a_nonexistent_process_has_no_descendants() {
        // Process ids on Linux are below 2^22.
        assert_eq!(tree(1 << 30), [1 << 30]);
    }
}
