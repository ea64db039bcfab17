//! Detects whether only external events can wake a server. If so, a missing reply will not arrive
//! later.

use std::fs;

use super::call;
use super::snapshot::thread_states;
use crate::server::proc::{self, Pid};

/// Returns whether a process tree does nothing until a client acts: every thread sleeps in a call
/// without a timeout, no timer is armed, and no other server can send it a reply. Returns `false`
/// for an empty tree, and if the kernel does not report the calls.
///
/// `list_tree` lists the processes. It is called again at the end, because the first list may lack
/// a process that was just forked.
///
/// Two timers are not visible: the interval timer of a process (setitimer(2)), and the timeout of a
/// blocking socket (SO_RCVTIMEO). A connection to another server by a Unix socket is not visible
/// either. So first wait several times the usual duration of a reply.
pub fn is_quiescent(list_tree: impl Fn() -> Vec<Pid>) -> bool {
    let tree = list_tree();
    let before = thread_states(&tree);
    !before.is_empty()
        && before.iter().all(|thread| thread.sleeps)
        && tree.iter().all(|&pid| waits_for_external_event(pid))
        && !proc::is_client_of_another(&tree)
        && before == thread_states(&tree)
        && tree == list_tree()
}

/// Returns whether a process waits only for external events, or has exited.
fn waits_for_external_event(pid: Pid) -> bool {
    let threads = proc::threads(&[pid]);
    let has_exited = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        proc::stat_fields(&stat).is_none_or(|fields| fields.starts_with(['Z', 'X']))
    };
    threads.iter().all(|&tid| call::has_no_timeout(pid, tid)) && !may_have_timer(pid)
        || has_exited()
}

/// Returns whether a process has an armed timer, or an io_uring, which may have a timer.
fn may_have_timer(pid: Pid) -> bool {
    // POSIX timers (timer_create(2)), if the kernel is built to list them.
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
    use std::cell::Cell;
    use std::net::TcpListener;
    use std::process::{Child, Command, Stdio};
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use super::*;

    /// Returns whether the child becomes quiescent before the timeout. Kills the child.
    fn becomes_quiescent(child: &mut Child, timeout: Duration) -> bool {
        let tree = || vec![child.id() as Pid];
        let deadline = Instant::now() + timeout;
        let mut is_reached = is_quiescent(tree);
        while !is_reached && Instant::now() < deadline {
            sleep(Duration::from_millis(5));
            is_reached = is_quiescent(tree);
        }
        let _ = child.kill();
        let _ = child.wait();
        is_reached
    }

    #[test]
    fn a_process_that_waits_for_input_is_quiescent_but_a_sleeping_one_is_not() {
        let start = |program: &str, words: &[&str]| {
            let mut command = Command::new(program);
            command.args(words).stdin(Stdio::piped()).stdout(Stdio::null());
            command.spawn().expect("cat and sleep are installed")
        };
        assert!(becomes_quiescent(&mut start("cat", &[]), Duration::from_secs(20)));
        assert!(!becomes_quiescent(&mut start("sleep", &["60"]), Duration::from_millis(300)));
        assert!(!is_quiescent(Vec::new), "an empty tree is unknown");
    }

    #[test]
    fn a_tree_that_grows_during_the_check_is_not_quiescent() {
        let start = || Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat is installed");
        let mut processes = [start(), start()];
        let pids = [0, 1].map(|index| processes[index].id() as Pid);
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_quiescent(|| pids.to_vec()) && Instant::now() < deadline {
            sleep(Duration::from_millis(5));
        }
        let calls = Cell::new(0);
        let growing_tree = || {
            calls.set(calls.get() + 1);
            pids[..calls.get()].to_vec()
        };
        let verdicts = [is_quiescent(|| pids.to_vec()), is_quiescent(growing_tree)];
        for process in &mut processes {
            let _ = process.kill();
            let _ = process.wait();
        }
        assert_eq!(verdicts, [true, false]);
    }

    #[test]
    fn a_process_that_waits_for_another_server_is_not_quiescent() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = server.local_addr().expect("the listening address");
        let port = address.port();
        let script = format!("exec 3<> /dev/tcp/127.0.0.1/{port}; exec cat <&3 3<&-");
        let mut client = Command::new("bash").args(["-c", &script]).spawn().expect("bash starts");
        let deadline = Instant::now() + Duration::from_secs(20);
        while proc::accept_queue(address) != Some(1) {
            assert!(Instant::now() < deadline, "the client did not connect within 20 s");
            sleep(Duration::from_millis(5));
        }
        assert!(!becomes_quiescent(&mut client, Duration::from_millis(300)));
    }
}
