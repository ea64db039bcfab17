//! Files in the root directories of running processes.

use std::fs;
use std::io;
use std::path::Path;

use super::tree::{Pid, field};

/// Returns whether a file exists at this path for the calling process or for one of the processes
/// of the tree. Those may have other root directories and mounts (/proc/PID/root,
/// proc_pid_root(5)).
///
/// # Errors
/// The kernel denies access to the root directory of a process.
pub fn have_file(tree: &[Pid], path: &Path) -> io::Result<bool> {
    if path.exists() {
        return Ok(true);
    }
    let relative = path.strip_prefix("/").unwrap_or(path);
    for pid in tree {
        let root = Path::new("/proc").join(pid.to_string()).join("root");
        match root.join(relative).try_exists() {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            // An exited process has no root directory, and the kernel denies access for a zombie.
            Err(_) if has_exited(*pid) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn has_exited(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    matches!(field(&status, "State:"), None | Some("Z" | "X"))
}
