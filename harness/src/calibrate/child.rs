//! Runs a program to its end: pinned and with a timeout. Returns its output and CPU time.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::panic;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::ClockId;
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};

/// Maximum output read, in bytes; the program blocks when a pipe is full, at 64 KiB by default.
const MAX_OUTPUT: u64 = 64 * 1024;

/// Result of a program.
#[derive(Debug)]
pub(super) struct ProgramResult {
    pub(super) status: ExitStatus,
    pub(super) output: String,
    pub(super) errors: String,
    /// CPU time of all threads, from start to end.
    pub(super) cpu: Duration,
}

/// Runs a program to its end. Returns `None` if the program exceeded the timeout and was killed.
/// With `processor`, all threads of the program run on that CPU.
///
/// # Errors
/// The program does not start, or a system call fails.
pub(super) fn run(
    command: Command,
    processor: Option<usize>,
    timeout: Duration,
) -> io::Result<Option<ProgramResult>> {
    let mut guard = KillOnDrop(spawn(command, processor)?);
    let child = &mut guard.0;
    if !has_ended(child, timeout)? {
        return Ok(None);
    }
    // The process is a zombie: its CPU clock has stopped and is still readable.
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(child.id() as i32))?;
    let cpu = clock.now()?.into();
    Ok(Some(ProgramResult {
        status: child.wait()?,
        output: read(child.stdout.take())?,
        errors: read(child.stderr.take())?,
        cpu,
    }))
}

/// Guard of a process. Drop kills the process if it still runs.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawn(mut command: Command, processor: Option<usize>) -> io::Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Some(processor) = processor else { return command.spawn() };
    let mut set = CpuSet::new();
    set.set(processor)?;
    // A process inherits the CPU affinity of the thread that starts it, so a short-lived, pinned
    // thread starts it.
    let pinned = || {
        sched_setaffinity(Pid::from_raw(0), &set)?;
        command.spawn()
    };
    thread::scope(|scope| scope.spawn(pinned).join()).unwrap_or_else(|it| panic::resume_unwind(it))
}

/// Waits until a process has ended or the timeout has passed. Returns whether the process has
/// ended. Does not reap the process.
fn has_ended(child: &Child, timeout: Duration) -> io::Result<bool> {
    // pidfd_open(2): readable when the process terminates and becomes a zombie.
    let process = pidfd_open(rustix::process::Pid::from_child(child), PidfdFlags::empty())?;
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let poll_timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], poll_timeout) {
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(0) if Instant::now() >= deadline => return Ok(false),
            Ok(0) => {}
            Ok(_) => return Ok(true),
        }
    }
}

fn read(pipe: Option<impl Read>) -> io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(MAX_OUTPUT).read_to_end(&mut bytes)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use nix::sched::sched_getaffinity;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_run_reports_output_exit_status_and_cpu_time() {
        let script =
            "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo out; echo err >&2; exit 3";
        let busy = run(shell(script), None, TIMEOUT)
            .expect("sh starts")
            .expect("the program ends before the timeout");
        assert_eq!((busy.output.as_str(), busy.errors.as_str()), ("out\n", "err\n"));
        assert_eq!(busy.status.code(), Some(3));
        let idle = run(shell(""), None, TIMEOUT)
            .expect("sh starts")
            .expect("the program ends before the timeout");
        assert!(busy.cpu > idle.cpu && idle.cpu > Duration::ZERO, "{busy:?} {idle:?}");
    }

    #[test]
    fn a_program_that_exceeds_the_timeout_is_killed() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pid");
        let script = format!("echo $$ >{}; exec sleep 600", file.display());
        let ended = run(shell(&script), None, Duration::from_secs(2)).expect("sh starts");
        assert!(ended.is_none(), "{ended:?}");
        let Ok(pid) = std::fs::read_to_string(file) else { return };
        assert!(!std::path::Path::new("/proc").join(pid.trim()).exists(), "{pid}");
    }

    #[test]
    fn a_program_is_pinned_to_its_cpu_without_pinning_its_parent() {
        let here = || sched_getaffinity(Pid::from_raw(0)).expect("a set");
        let before = here();
        let mut usable = (0..CpuSet::count()).filter(|&number| before.is_set(number) == Ok(true));
        let last = usable.next_back().expect("a usable CPU");
        let script = "grep Cpus_allowed_list /proc/self/status";
        let ended = run(shell(script), Some(last), TIMEOUT)
            .expect("sh starts")
            .expect("the program ends before the timeout");
        assert_eq!(ended.output, format!("Cpus_allowed_list:\t{last}\n"));
        assert_eq!(here(), before);
    }
}
