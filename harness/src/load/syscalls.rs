//! Counter of a running server's system calls, at the kernel's tracepoint `raw_syscalls:sys_enter`.
//! Counting slows each call, so it needs a run of its own, whose times are not used.

use std::fs;
use std::io;

use perf_event::events::Tracepoint;
use perf_event::{Builder, Counter};

use crate::server::proc::{Pid, threads};

/// Maximum number of threads: each costs a descriptor.
const MOST_THREADS: usize = 2_000;

/// Directories of the kernel's tracepoints: the current one, and that of older kernels.
const TRACEPOINTS: [&str; 2] = ["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"];

/// Counter of system calls; dropping it stops the counting.
#[derive(Debug)]
pub struct SyscallCounter(Vec<Counter>);

impl SyscallCounter {
    /// Counts the system calls of all threads of these processes from now on.
    ///
    /// The count includes threads and processes that they start, even if those have ended
    /// (perf_event_open(2), `inherit`). It excludes io_uring operations without a system call. The
    /// server must be idle: a new thread is missed if its parent has not been attached yet.
    ///
    /// # Errors
    /// The kernel does not permit or support the counting; the message gives the reason.
    pub fn attach(tree: &[Pid]) -> Result<SyscallCounter, String> {
        let tracepoint = Tracepoint::with_id(id()?);
        let threads = threads(tree);
        match threads.len() {
            0 => return Err("there is no thread to count for".to_owned()),
            1..=MOST_THREADS => {}
            more => return Err(format!("{more} threads are too many, at most {MOST_THREADS}")),
        }
        let counters = threads.into_iter().filter_map(|thread| {
            let counter = Builder::new(tracepoint)
                .observe_pid(thread)
                .inherit(true)
                // The tracepoint is in the kernel.
                .include_kernel()
                .enabled(true)
                .build();
            match counter {
                // The thread has ended.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => None,
                other => Some(other),
            }
        });
        let counters = counters.collect::<io::Result<_>>();
        counters.map(SyscallCounter).map_err(|error| {
            format!("the kernel does not let this user count them (perf_event_open: {error})")
        })
    }

    /// Returns the number of system calls since the counter was attached.
    ///
    /// # Errors
    /// The kernel does not return a counter.
    pub fn count(&mut self) -> io::Result<u64> {
        self.0.iter_mut().map(Counter::read).sum()
    }
}

/// Returns this kernel's number of the tracepoint.
fn id() -> Result<u64, String> {
    let read = |folder| fs::read_to_string(format!("{folder}/raw_syscalls/sys_enter/id"));
    let text = match read(TRACEPOINTS[0]) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => read(TRACEPOINTS[1]),
        other => other,
    };
    let text = text.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => "only root may see the kernel's tracepoints".to_owned(),
        _ => format!("the kernel shows no tracepoint for them ({}: {error})", TRACEPOINTS[0]),
    })?;
    text.trim_end().parse().map_err(|_| format!("the tracepoint's number is {text:?}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_child_that_reads_and_writes_a_byte_a_thousand_times_makes_two_thousand_calls() {
        // The shell waits for a line, then starts a child that makes the calls.
        let mut shell = Command::new("sh")
            .args(["-c", "read line; dd bs=1 count=1000 if=/dev/zero of=/dev/null; :"])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh");
        let mut counter = SyscallCounter::attach(&[shell.id() as Pid]);
        shell.stdin.take().expect("it is piped").write_all(b"\n").expect("it reads");
        shell.wait().expect("it ends");
        match &mut counter {
            Ok(counter) => {
                let count = counter.count().expect("a number");
                // Starting a program takes some hundred more.
                assert!((2_000..3_000).contains(&count), "{count}");
            }
            Err(reason) => println!("not counted: {reason}"),
        }
    }

    #[test]
    fn nothing_is_counted_for_what_is_gone() {
        // Process ids are below 2^22 on Linux.
        assert!(SyscallCounter::attach(&[1 << 30]).is_err());
    }
}
