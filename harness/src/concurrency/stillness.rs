//! Detects whether a server can still act without input. If it cannot, its silence is final.

use std::fs;

use super::call;
use super::snapshot::moment;
use crate::server::proc::{self, Pid};

/// Returns whether a process tree does nothing until an event from outside. Every thread sleeps in
/// a call without a timeout, and no timer is armed. False for an empty tree, and where the kernel
/// does not report the calls.
///
/// Two timers are not visible: the alarm of a process (setitimer(2)), and the timeout of a blocking
/// socket (SO_RCVTIMEO). A caller therefore first waits several times the duration of a reply.
pub fn is_still(tree: &[Pid]) -> bool {
    let before = moment(tree);
    !before.is_empty()
        && before.iter().all(|thread| thread.sleeps)
        && tree.iter().all(|&pid| waits_for_others(pid))
        && before == moment(tree)
}

/// Returns whether a process waits only for events from outside.
fn waits_for_others(pid: Pid) -> bool {
    let threads = proc::threads(&[pid]);
    // A process that has exited does nothing any more.
    let has_ended = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, fields)| fields.starts_with(['Z', 'X']))
    };
    threads.iter().all(|&tid| call::is_unlimited(pid, tid)) && !has_timer(pid) || has_ended()
}

/// Returns whether a process has an armed timer, or a ring of io_uring, which may have one.
fn has_timer(pid: Pid) -> bool {
    // POSIX timers (timer_create(2)), if the kernel lists them.
    if fs::read_to_string(format!("/proc/{pid}/timers")).is_ok_and(|timers| !timers.is_empty()) {
        return true;
    }
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return true };
    descriptors.flatten().any(|descriptor| {
        let target = fs::read_link(descriptor.path()).unwrap_or_default();
        match target.to_str() {
            Some("anon_inode:[io_uring]") => true,
            Some("anon_inode:[timerfd]") => {
                let number = descriptor.file_name();
                let path = format!("/proc/{pid}/fdinfo/{}", number.to_string_lossy());
                let info = fs::read_to_string(path).unwrap_or_default();
                !info.contains("it_value: (0, 0)")
            }
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use super::*;

    /// Returns whether this child becomes still within the time.
    fn becomes_still(child: &mut Child, within: Duration) -> bool {
        let tree = [child.id() as Pid];
        let deadline = Instant::now() + within;
        let mut is_so = is_still(&tree);
        while !is_so && Instant::now() < deadline {
            sleep(Duration::from_millis(5));
            is_so = is_still(&tree);
        }
        let _ = child.kill();
        let _ = child.wait();
        is_so
    }

    #[test]
    fn one_that_waits_for_input_is_still_and_one_that_waits_for_a_time_is_not() {
        let start = |program: &str, words: &[&str]| {
            let mut command = Command::new(program);
            command.args(words).stdin(Stdio::piped()).stdout(Stdio::null());
            command.spawn().expect("a program of every system")
        };
        assert!(becomes_still(&mut start("cat", &[]), Duration::from_secs(20)));
        assert!(!becomes_still(&mut start("sleep", &["60"]), Duration::from_millis(300)));
        assert!(!is_still(&[]), "of no process nothing is known");
    }
}
