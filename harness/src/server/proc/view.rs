//! Whether the processes of a tree can be inspected.

use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid as NixPid;
use rustix::process::geteuid;

use super::tree::{Pid, field};
use crate::results::HiddenBy;

/// Returns why a process of the tree cannot be inspected. `None` if all can be.
pub fn hidden_by(tree: &[Pid]) -> Option<HiddenBy> {
    tree.iter().find_map(|&pid| process_hidden_by(pid))
}

fn process_hidden_by(pid: Pid) -> Option<HiddenBy> {
    let error = fs::read_dir(format!("/proc/{pid}/fd")).err()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    if matches!(field(&status, "State:"), Some("Z" | "X")) {
        return None;
    }
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            // Real, effective, saved and file system user (proc_pid_status(5)).
            let row = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
            let mut users = row.split_whitespace().filter_map(|user| user.parse().ok());
            let other = users.find(|&user: &u32| user != geteuid().as_raw());
            Some(other.map_or(HiddenBy::NotDumpable, HiddenBy::OtherUser))
        }
        // The process has exited, unless a signal would still reach it or be denied.
        io::ErrorKind::NotFound
            if kill(NixPid::from_raw(pid), None) != Err(Errno::ESRCH)
                && !Path::new("/proc").join(pid.to_string()).exists() =>
        {
            Some(HiddenBy::Proc)
        }
        _ => None,
    }
}

/// Returns whether a process of the tree is in another network namespace than the calling thread.
/// Its sockets are not in the tables of this thread.
pub fn is_in_other_network(tree: &[Pid]) -> bool {
    let own = fs::read_link("/proc/thread-self/ns/net").ok();
    tree.iter().any(|pid| {
        let network = fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        network.is_some() && own.is_some() && network != own
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_inspected_and_an_exited_one_is_not_hidden() {
        // Process ids on Linux are below 2^22.
        assert_eq!(hidden_by(&[std::process::id() as Pid, 1 << 30]), None);
        assert!(!is_in_other_network(&[std::process::id() as Pid]));
    }
}
