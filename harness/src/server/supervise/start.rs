//! Starts the server's first process.

use std::io::{self, PipeWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::ptr;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl;
use nix::sys::resource::setrlimit;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{self, Pid};
use rustix::process::setpriority_process;

use super::super::confinement;
use super::super::launch_request::LaunchRequest;
use super::super::proc;
use super::super::start_state::{self, UMASK};
use super::event::{SupervisorEvent, report};

/// Starts the command. Returns the process id, and the text for standard input, which the caller
/// writes.
pub(super) fn start(
    request: &LaunchRequest,
    priority: i32,
) -> io::Result<(Pid, Option<PendingInput>)> {
    let (program, arguments) = request.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let folder = match &request.folder {
        Some(folder) => folder.canonicalize()?,
        // The directory may have been removed. The server must handle that.
        None => std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
    };
    let isolation = confinement::isolate(&request.confinement, &folder, &request.command);
    isolation
        .missing
        .into_iter()
        .try_for_each(|message| report(&SupervisorEvent::MissingIsolation(message)))?;
    let mut domain = isolation.domain;
    let log = io::stderr().as_fd().try_clone_to_owned()?;
    let mut server = Command::new(program);
    server.args(arguments).stdin(Stdio::null()).stdout(log);
    server.env_clear().envs(start_state::environment());
    if request.folder.is_some() {
        server.current_dir(&folder);
    }
    if request.confinement.read_only {
        server.env("TMPDIR", "/tmp");
    }
    server.envs(request.environment.iter().map(|(name, value)| (name, value)));
    let mut pending_input = None;
    if let Some(input) = &request.input {
        let (reader, writer) = io::pipe()?;
        // The supervisor must not block on a server that does not read.
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        server.stdin(reader);
        pending_input = Some(PendingInput { writer, rest: input.clone().into_bytes() });
    }
    // Limits of the confinement are lower than those of the start state.
    let mut limits = start_state::soft_limits();
    limits.extend(request.confinement.rlimits());
    let processors = request.processors.as_deref().map(cpu_set).transpose()?;
    before_exec(&mut server, move || {
        setpriority_process(None, priority)?;
        if let Some(processors) = &processors {
            // Before exec, because a server with one worker per CPU counts the CPUs when it starts.
            sched_setaffinity(Pid::from_raw(0), processors)?;
        }
        if let Some(domain) = domain.take() {
            domain.enter()?;
        }
        limits.iter().try_for_each(|&(resource, soft, hard)| Ok(setrlimit(resource, soft, hard)?))
    });
    Ok((Pid::from_raw(server.spawn()?.id() as proc::Pid), pending_input))
}

/// Highest signal number of Linux.
const MAX_SIGNAL: libc::c_int = 64;

/// The kernel's `struct sigaction` of the default action: SIG_DFL, no flags and an empty mask are
/// 0.
const DEFAULT_ACTION: [u64; 4] = [0; 4];

/// Returns the CPUs as a kernel CPU set.
fn cpu_set(processors: &[usize]) -> io::Result<CpuSet> {
    let mut set = CpuSet::new();
    processors.iter().try_for_each(|&number| set.set(number))?;
    Ok(set)
}

/// Returns the error message for a command that cannot be run.
pub(super) fn start_error(request: &LaunchRequest, error: &io::Error) -> String {
    let command = request.command.join(" ");
    let program = request.command.first().map_or("", String::as_str);
    match &request.folder {
        Some(folder) if !folder.is_dir() => {
            let folder = folder.display();
            return format!(
                "cannot run `{command}` in {folder}: the directory does not exist or cannot be \
                 entered; create it, or choose another directory"
            );
        }
        _ => {}
    }
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied if program.contains('/') => {
            format!("; make `{program}` executable (chmod +x), or name its interpreter first")
        }
        // EACCES without a slash: the user may not search a directory of PATH.
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => format!(
            "; check that `{program}` is installed, and the paths of the program and of its \
             interpreter (`#!`)"
        ),
        _ => String::new(),
    };
    let folder = request.folder.as_ref().map(|folder| format!(" in {}", folder.display()));
    format!("cannot run `{command}`{}: {error}{advice}", folder.unwrap_or_default())
}

/// Registers the setup of the server's process between fork and exec. The setup ends with `limit`,
/// which must not allocate or take a lock.
#[allow(unsafe_code, reason = "only CommandExt::pre_exec runs code between fork and exec")]
fn before_exec(
    server: &mut Command,
    mut limit: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) {
    let supervisor = unistd::getpid();
    // SAFETY: the code between fork and exec makes only these system calls: prctl(2),
    // sigprocmask(2), sigaction(2), umask(2), getppid(2), setsid(2), close_range(2), and in `limit`
    // setpriority(2), sched_setaffinity(2), landlock_restrict_self(2), close(2) and setrlimit(2).
    // None of them allocates or takes a lock.
    unsafe {
        server.pre_exec(move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            // The server would inherit the blocked signals.
            SigSet::empty().thread_set_mask()?;
            // exec inherits ignored signals: a shell ignores SIGINT for background commands, nohup
            // ignores SIGHUP, and CI runners ignore SIGPIPE. The call fails for SIGKILL and
            // SIGSTOP. signal(3) would refuse the signals of the C library.
            for signal in 1..=MAX_SIGNAL {
                let (new, old) = (DEFAULT_ACTION.as_ptr(), ptr::null_mut::<u64>());
                libc::syscall(libc::SYS_rt_sigaction, signal, new, old, size_of::<u64>());
            }
            // The argument is a valid mask, so the call always succeeds.
            libc::umask(UMASK);
            // The supervisor may have died before the parent-death signal was set.
            if unistd::getppid() != supervisor {
                return Err(Errno::ESRCH.into());
            }
            // Start a new session and process group. In the harness's session the server could
            // insert commands into the input of the user's terminal (TIOCSTI of ioctl_tty(2)).
            unistd::setsid()?;
            // exec(3) closes these descriptors: the server starts with 0, 1 and 2, whatever the
            // harness inherited. Kernels before 5.11 refuse, and the server inherits the rest.
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
            limit()
        });
    }
}

/// Text that is not yet written to the server's standard input. Dropping the value ends the input.
pub(super) struct PendingInput {
    pub(super) writer: PipeWriter,
    rest: Vec<u8>,
}

impl PendingInput {
    /// Writes as much as the pipe accepts. Returns whether text is left to write.
    pub(super) fn write_more(&mut self) -> bool {
        match self.writer.write(&self.rest) {
            Ok(count) => {
                self.rest.drain(..count);
                !self.rest.is_empty()
            }
            // On any other error the server has closed its end.
            Err(error) => {
                matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
            }
        }
    }
}
