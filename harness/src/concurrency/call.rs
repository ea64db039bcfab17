//! The system call that a thread sleeps in. The source is /proc/PID/task/TID/syscall, or, if the
//! kernel denies that, the kernel function that the thread waits in (wchan).

use std::fs;

use serde::Serialize;

use crate::server::proc::Pid;

/// System call of a waiting thread. Calls that are typical of the same concurrency model share a
/// variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    /// accept, accept4.
    Accept,
    /// recv, read and similar.
    Receive,
    /// send, write and similar.
    Send,
    /// select, pselect6.
    Select,
    /// poll, ppoll.
    Poll,
    /// epoll_wait, epoll_pwait, epoll_pwait2.
    Epoll,
    /// io_uring_enter.
    IoUring,
    /// futex: a mutex, a condition variable, the exit of a thread.
    Futex,
    /// wait4, waitid: the exit of a child.
    WaitChild,
    /// nanosleep, clock_nanosleep.
    Pause,
    /// flock, fcntl: a file lock.
    Lock,
    /// sigtimedwait, sigsuspend, pause.
    Signal,
    /// The thread does not sleep.
    Running,
    /// Another call, with its number or its kernel function.
    Other(String),
}

/// A system call with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) call: Call,
    /// The first 4 arguments; `None` if only the kernel function is known.
    pub(super) arguments: Option<[u64; 4]>,
}

impl Call {
    /// Returns the name of the call in messages.
    pub fn name(&self) -> &str {
        match self {
            Call::Accept => "accept",
            Call::Receive => "recv",
            Call::Send => "send",
            Call::Select => "select",
            Call::Poll => "poll",
            Call::Epoll => "epoll_wait",
            Call::IoUring => "io_uring_enter",
            Call::Futex => "futex",
            Call::WaitChild => "wait",
            Call::Pause => "nanosleep",
            Call::Lock => "a file lock",
            Call::Signal => "sigwait",
            Call::Running => "no system call",
            Call::Other(name) => name,
        }
    }

    /// Returns whether the call can wait for several descriptors.
    pub(super) fn is_multiplexing(&self) -> bool {
        matches!(self, Call::Select | Call::Poll | Call::Epoll)
    }
}

/// Returns the call that a thread waits in now, or `None` if it has exited.
pub(super) fn of(pid: Pid, tid: Pid) -> Option<Waiting> {
    let read = |name| fs::read_to_string(format!("/proc/{pid}/task/{tid}/{name}"));
    match read("syscall").ok().as_deref().and_then(parse) {
        Some(waiting) => Some(waiting),
        // The kernel denies access, the call was restarted after a signal, or the thread is not in
        // a call.
        None => Some(Waiting { call: of_function(read("wchan").ok()?.trim()), arguments: None }),
    }
}

/// Returns whether a thread sleeps in a call without a timeout, which only an external event ends.
/// Returns `false` if the kernel does not report the call. The timeout of a socket (SO_RCVTIMEO) is
/// not visible.
pub(super) fn has_no_timeout(pid: Pid, tid: Pid) -> bool {
    let line = fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall"));
    line.ok().as_deref().and_then(parse_has_no_timeout).unwrap_or(false)
}

/// Parses a line like [`parse`]. Returns `None` if the thread is running.
fn parse_has_no_timeout(line: &str) -> Option<bool> {
    let mut words = line.split_whitespace();
    let number: i64 = words.next()?.parse().ok()?;
    let argument = |word: &str| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok();
    let arguments: Vec<u64> = words.take(6).map(argument).collect::<Option<_>>()?;
    // A null pointer to the timeout.
    let is_null = |index: usize| arguments.get(index) == Some(&0);
    let is_negative = |index: usize| arguments.get(index).is_some_and(|value| (*value as i32) < 0);
    Some(match number {
        libc::SYS_accept | libc::SYS_accept4 => true,
        libc::SYS_read | libc::SYS_readv | libc::SYS_recvfrom | libc::SYS_recvmsg => true,
        libc::SYS_wait4 | libc::SYS_waitid | libc::SYS_flock | libc::SYS_rt_sigsuspend => true,
        libc::SYS_fcntl => arguments.get(1).is_some_and(|command| waits_for_lock(*command)),
        libc::SYS_pselect6 | FUTEX_WAIT => is_null(4),
        libc::SYS_ppoll | libc::SYS_rt_sigtimedwait => is_null(2),
        libc::SYS_epoll_pwait => is_negative(3),
        libc::SYS_epoll_pwait2 | libc::SYS_futex | libc::SYS_futex_waitv => is_null(3),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_select => is_null(4),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll => is_negative(2),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait => is_negative(3),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_pause => true,
        // nanosleep, io_uring_enter, restart_syscall, and any other call that may time out.
        _ => false,
    })
}

/// Parses `NUMBER ARGUMENT… SP PC` (proc_pid_syscall(5)), or `running`.
fn parse(line: &str) -> Option<Waiting> {
    let mut words = line.split_whitespace();
    let number = match words.next()? {
        "running" => return Some(Waiting { call: Call::Running, arguments: None }),
        number => number.parse().ok()?,
    };
    let mut argument = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    let arguments = [argument()?, argument()?, argument()?, argument()?];
    let call = of_number(number, arguments[1])?;
    Some(Waiting { call, arguments: Some(arguments) })
}

/// Returns the call with this number and second argument. Returns `None` for a thread that waits
/// outside of a call (-1), and for restart_syscall, which may stand for several calls.
fn of_number(number: i64, second_argument: u64) -> Option<Call> {
    if number < 0 || number == libc::SYS_restart_syscall {
        return None;
    }
    Some(match number {
        libc::SYS_accept | libc::SYS_accept4 => Call::Accept,
        libc::SYS_read | libc::SYS_readv | libc::SYS_recvfrom | libc::SYS_recvmsg => Call::Receive,
        libc::SYS_recvmmsg => Call::Receive,
        libc::SYS_write | libc::SYS_writev | libc::SYS_sendto | libc::SYS_sendmsg => Call::Send,
        libc::SYS_pselect6 => Call::Select,
        libc::SYS_ppoll => Call::Poll,
        libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => Call::Epoll,
        libc::SYS_io_uring_enter => Call::IoUring,
        libc::SYS_futex | libc::SYS_futex_waitv | FUTEX_WAIT => Call::Futex,
        libc::SYS_wait4 | libc::SYS_waitid => Call::WaitChild,
        libc::SYS_nanosleep | libc::SYS_clock_nanosleep => Call::Pause,
        libc::SYS_flock => Call::Lock,
        libc::SYS_fcntl if waits_for_lock(second_argument) => Call::Lock,
        libc::SYS_rt_sigtimedwait | libc::SYS_rt_sigsuspend => Call::Signal,
        _ => of_old_number(number),
    })
}

/// From linux/unistd.h since Linux 6.7, the same on every architecture.
const FUTEX_WAIT: i64 = 455;

fn waits_for_lock(command: u64) -> bool {
    [libc::F_SETLKW, libc::F_OFD_SETLKW].map(|command| command as u64).contains(&command)
}

/// Returns a call that newer architectures no longer have.
#[cfg(target_arch = "x86_64")]
fn of_old_number(number: i64) -> Call {
    match number {
        libc::SYS_select => Call::Select,
        libc::SYS_poll => Call::Poll,
        libc::SYS_epoll_wait => Call::Epoll,
        libc::SYS_pause => Call::Signal,
        _ => Call::Other(format!("system call {number}")),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn of_old_number(number: i64) -> Call {
    Call::Other(format!("system call {number}"))
}

/// Returns the call in which threads wait in this kernel function.
fn of_function(name: &str) -> Call {
    const FUNCTIONS: &[(&str, Call)] = &[
        ("csk_accept", Call::Accept),
        ("sk_wait_data", Call::Receive),
        ("tcp_recvmsg", Call::Receive),
        ("wait_for_more_packets", Call::Receive),
        ("stream_read_generic", Call::Receive),
        ("stream_data_wait", Call::Receive),
        ("pipe_read", Call::Receive),
        ("sk_stream_wait_memory", Call::Send),
        ("do_select", Call::Select),
        ("do_sys_poll", Call::Poll),
        ("do_poll", Call::Poll),
        ("poll_schedule_timeout", Call::Poll),
        ("ep_poll", Call::Epoll),
        ("do_epoll_wait", Call::Epoll),
        ("io_cqring_wait", Call::IoUring),
        ("futex", Call::Futex),
        ("do_wait", Call::WaitChild),
        ("nanosleep", Call::Pause),
        ("flock", Call::Lock),
        ("locks_lock", Call::Lock),
        ("fcntl_setlk", Call::Lock),
        ("sigtimedwait", Call::Signal),
        ("sigsuspend", Call::Signal),
    ];
    if matches!(name, "0" | "") {
        return Call::Running;
    }
    let found = FUNCTIONS.iter().find(|(part, _)| name.contains(part));
    found.map_or_else(|| Call::Other(name.to_owned()), |(_, call)| call.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syscall_is_recognized_by_number_with_its_arguments() {
        let line = format!("{} 0x3 0x0 0x0 0x80000 0x0 0x0 0x7ffd 0x7f2e\n", libc::SYS_accept4);
        let arguments = Some([3, 0, 0, 0x80000]);
        assert_eq!(parse(&line), Some(Waiting { call: Call::Accept, arguments }));
        let running = Some(Waiting { call: Call::Running, arguments: None });
        assert_eq!(parse("running\n"), running);
    }

    #[test]
    fn a_thread_outside_of_a_syscall_has_none() {
        assert_eq!(parse("-1 0x7ffd 0x7f2e"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn calls_without_a_timeout_are_recognized() {
        let line = |number: i64, arguments: &str| format!("{number} {arguments} 0x7ffd 0x7f2e");
        for (number, arguments, has_no_timeout) in [
            (libc::SYS_accept4, "0x3 0x0 0x0 0x80000 0x0 0x0", true),
            (libc::SYS_epoll_pwait, "0x4 0x7f 0x40 0xffffffff 0x0 0x8", true),
            (libc::SYS_epoll_pwait, "0x4 0x7f 0x40 0xffffffffffffffff 0x0 0x8", true),
            (libc::SYS_epoll_pwait, "0x4 0x7f 0x40 0x1f4 0x0 0x8", false),
            (libc::SYS_ppoll, "0x7f 0x1 0x0 0x0 0x8 0x0", true),
            (libc::SYS_ppoll, "0x7f 0x1 0x7ffd 0x0 0x8 0x0", false),
            (libc::SYS_pselect6, "0x5 0x7f 0x0 0x0 0x0 0x0", true),
            (libc::SYS_pselect6, "0x5 0x7f 0x0 0x0 0x7ffd 0x0", false),
            (libc::SYS_futex, "0x7f 0x189 0x0 0x0 0x0 0xffffffff", true),
            (libc::SYS_futex, "0x7f 0x189 0x0 0x7ffd 0x0 0xffffffff", false),
            (libc::SYS_clock_nanosleep, "0x1 0x0 0x7ffd 0x7ffd 0x0 0x0", false),
            (libc::SYS_io_uring_enter, "0x4 0x0 0x1 0x1 0x0 0x8", false),
            (libc::SYS_restart_syscall, "0x0 0x0 0x0 0x0 0x0 0x0", false),
        ] {
            let found = parse_has_no_timeout(&line(number, arguments));
            assert_eq!(found, Some(has_no_timeout), "{number} {arguments}");
        }
        assert_eq!(parse_has_no_timeout("running"), None);
        assert_eq!(parse_has_no_timeout("-1 0x7ffd 0x7f2e"), Some(false));
    }

    #[test]
    fn fcntl_counts_as_a_lock_only_for_blocking_lock_commands() {
        assert_eq!(of_number(libc::SYS_fcntl, libc::F_SETLKW as u64), Some(Call::Lock));
        assert_ne!(of_number(libc::SYS_fcntl, libc::F_GETFL as u64), Some(Call::Lock));
    }

    #[test]
    fn functions_of_several_kernel_versions_are_recognized() {
        for (function, call) in [
            ("inet_csk_accept", Call::Accept),
            ("do_select", Call::Select),
            ("do_sys_poll", Call::Poll),
            ("ep_poll", Call::Epoll),
            ("sk_wait_data", Call::Receive),
            ("io_cqring_wait", Call::IoUring),
            ("__futex_wait", Call::Futex),
            ("hrtimer_nanosleep", Call::Pause),
            ("0", Call::Running),
            ("new_wait", Call::Other("new_wait".to_owned())),
        ] {
            assert_eq!(of_function(function), call, "{function}");
        }
    }
}
