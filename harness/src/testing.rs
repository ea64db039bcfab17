//! Judging a server from the tests of any project: `harness` is a development dependency, and a test
//! calls [`judge`].
//!
//! A server runs below a supervisor, which is the test program itself, started once more. So that this
//! works in any test program, this crate takes the role of the supervisor before the main function,
//! if the environment variable `HARNESS_ROLE` says so, and does nothing otherwise.

use std::io;

use nix::sys::signal::{SigHandler, Signal, signal};

use crate::commands::role;
use crate::conformance::{Runner, cases, judge_all};
use crate::contract::Declared;
use crate::report::ServerResult;
use crate::server::{LaunchSpec, LaunchSpecError, Launcher, ROLE, raise_descriptor_limit};

/// Why a server cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// The command cannot start a server.
    #[error(transparent)]
    Command(#[from] LaunchSpecError),
    /// The kernel does not tell which program this is.
    #[error("cannot find the program that runs: {0}")]
    Program(#[from] io::Error),
}

/// Judges the server that a command starts, in all cases that apply to what is declared about it.
/// `{host}` and `{port}` in the command stand for where the server has to listen. Takes seconds: a
/// server is launched for each case.
///
/// A server that does not start, or that is another than it is declared to be, fails: the result
/// says why.
///
/// # Errors
/// The command cannot start a server, or the program that runs is not known.
///
/// ```
/// use harness::contract::Declared;
/// use harness::testing::judge;
///
/// let declared = Declared {
///     capacity: Some(1),
///     max_line: Some(4096),
///     error_prefix: Some("error: ".to_owned()),
///     ..Declared::default()
/// };
/// # let this = std::env::current_exe()?;
/// # let server = format!("env HARNESS_ROLE=serve '{}' serve iterative-calc", this.display());
/// # /*
/// let server = "python3 server.py";
/// # */
/// let result = judge(&format!("{server} {{host}} {{port}}"), &declared)?;
/// assert!(result.is_fine(), "{result:#?}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn judge(command: &str, declared: &Declared) -> Result<ServerResult, JudgeError> {
    // The linker keeps what is used.
    std::hint::black_box(&BEFORE_MAIN);
    raise_descriptor_limit();
    let spec = LaunchSpec::foreign(command, declared.contract())?;
    let runner =
        Runner::new(Launcher::this_program()?.by_environment(), rand::random_range(1..1_000_000));
    let cases: Vec<_> = cases().collect();
    let judged = match runner.preflight(&spec) {
        Ok(()) => judge_all(&runner, &spec, &cases, |_| {}),
        Err(obstacle) => runner.judge_unchecked(&spec, &cases, &obstacle, |_| {}),
    };
    Ok(ServerResult::new(&spec, judged))
}

/// Takes a role before the main function.
#[allow(unsafe_code, reason = "no other section of a program runs before its main function")]
// SAFETY: the section holds pointers to functions that the C library calls once, one after the other,
// before the main function (System V ABI, “Initialization and Termination Functions”). The one of the
// standard library, which keeps the arguments, has an earlier place. This one starts no thread and
// does not return if it takes a role.
#[unsafe(link_section = ".init_array")]
#[used]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    // As the standard library does before the main function: writing to a closed pipe is an error.
    ignore_broken_pipes();
    role::take();
}

#[allow(unsafe_code, reason = "changing what a signal does is unsafe")]
fn ignore_broken_pipes() {
    // SAFETY: no handler of this program is installed.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) };
}
