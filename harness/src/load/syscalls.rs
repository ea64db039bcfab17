//! Counts a running server's system calls with the kernel's tracepoint `raw_syscalls:sys_enter`.
//! Counting slows each call, so the run that counts gives no latency.

use std::fs;
use std::io;

use perf_event::events::Tracepoint;
use perf_event::{Builder, Counter};

use crate::server::proc::{Pid, threads};

/// Maximum number of threads to count. Each thread needs a descriptor.
const MAX_THREADS: usize = 2_000;

/// Directories of the kernel's tracepoints: first of current kernels, then of older kernels.
const TRACEPOINTS: [&str; 2] = ["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"];

/// Counter of system calls. Drop stops the counting.
#[derive(Debug)]
pub struct SyscallCounter(Vec<Counter>);

impl SyscallCounter {
    /// Starts to count the system calls of all threads of these processes.
    ///
    /// The count includes the calls of threads and processes that these threads start, also of
    /// those that have exited since (perf_event_open(2), `inherit`). It excludes io_uring
    /// operations without a system call. The server must be idle: a thread is missed if it starts
    /// before its parent is attached.
    ///
    /// # Errors
    /// The kernel does not permit or support the counting; the message gives the reason.
    pub fn attach(tree: &[Pid]) -> Result<SyscallCounter, String> {
        let tracepoint = Tracepoint::with_id(id()?);
        let threads = threads(tree);
        match threads.len() {
            0 => return Err("the server has no thread".to_owned()),
            1..=MAX_THREADS => {}
            more => {
                return Err(format!(
                    "the server has {more} threads; at most {MAX_THREADS} can be counted"
                ));
            }
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
            format!(
                "perf_event_open failed: {error}; run as root or lower kernel.perf_event_paranoid"
            )
        })
    }

    /// Returns the number of system calls since the counter was attached.
    ///
    /// # Errors
    /// A counter cannot be read.
    pub fn count(&mut self) -> io::Result<u64> {
        self.0.iter_mut().map(Counter::read).sum()
    }
}

/// Returns the id of the tracepoint on this kernel.
fn id() -> Result<u64, String> {
    let read = |folder| fs::read_to_string(format!("{folder}/raw_syscalls/sys_enter/id"));
    let text = match read(TRACEPOINTS[0]) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => read(TRACEPOINTS[1]),
        other => other,
    };
    let text = text.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => "only root may read the kernel's tracepoints".to_owned(),
        _ => format!("the kernel has no tracepoint for system calls ({}: {error})", TRACEPOINTS[0]),
    })?;
    text.trim_end()
        .parse()
        .map_err(|_| format!("the id of the tracepoint is not a number: {text:?}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_thousand_reads_and_writes_of_a_child_count_as_two_thousand_syscalls() {
        // The shell waits for a line, then starts a child that makes the calls.
        let mut shell = Command::new("sh")
            .args(["-c", "read line; dd bs=1 count=1000 if=/dev/zero of=/dev/null; :"])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh");
        let mut counter = SyscallCounter::attach(&[shell.id() as Pid]);
        shell.stdin.take().expect("a pipe").write_all(b"\n").expect("the shell reads");
        shell.wait().expect("an exit status");
        match &mut counter {
            Ok(counter) => {
                let count = counter.count().expect("a number");
                // Starting a program takes a few hundred more calls.
                assert!((2_000..3_000).contains(&count), "{count}");
            }
            Err(reason) => println!("not counted: {reason}"),
        }
    }

    #[test]
    fn attaching_to_a_nonexistent_process_is_an_error() {
        // Process ids are below 2^22 on Linux.
        assert!(SyscallCounter::attach(&[1 << 30]).is_err());
    }
}
