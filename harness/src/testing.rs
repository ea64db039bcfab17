//! Library interface for the tests of other projects.
//!
//! Add `harness` as a development dependency, and call [`judge`] in a test.
//!
//! A server runs below a supervisor process, which is another instance of the test program. To
//! support any test program, an initializer of this crate runs before the main function. If the
//! environment variable `HARNESS_ROLE` is set, it runs the supervisor and exits. Otherwise, it does
//! nothing.

use std::io;

use nix::sys::signal::{SigHandler, Signal, signal};

use crate::commands::role;
use crate::conformance::{Runner, cases, judge_all};
use crate::contract::Declared;
use crate::report::ServerResult;
use crate::server::{LaunchSpec, LaunchSpecError, Launcher, ROLE, raise_descriptor_limit};

/// Error of [`judge`].
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// The command cannot start a server.
    #[error(transparent)]
    Command(#[from] LaunchSpecError),
    /// The path of the running program is unknown.
    #[error("cannot find the program that runs: {0}")]
    Program(#[from] io::Error),
}

/// Launches a server by a command and runs all test cases that apply to its declared properties.
///
/// The placeholders `{host}` and `{port}` in `command` are replaced by the address to listen on.
/// The call takes seconds, because each case launches a server of its own.
///
/// A server that does not start, or that violates its declaration, fails cases of the result. Such
/// failures are not errors.
///
/// # Errors
/// The command cannot start a server, or the path of the running program is unknown.
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
    // Referencing the initializer keeps the linker from discarding it.
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

/// Initializer: runs `before_main` before the main function.
#[allow(unsafe_code, reason = "no other section of a program runs before its main function")]
// SAFETY: the section holds pointers to functions that the C library calls once, in sequence,
// before the main function (System V ABI, “Initialization and Termination Functions”). The
// initializer of the standard library, which stores the arguments, runs earlier. This one starts
// threads only in a role, and then it does not return.
#[unsafe(link_section = ".init_array")]
#[used]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    // The standard library ignores SIGPIPE only later, right before the main function. Ignore it
    // here, so that a write to a closed pipe returns an error.
    ignore_broken_pipes();
    role::take();
}

#[allow(unsafe_code, reason = "changing what a signal does is unsafe")]
fn ignore_broken_pipes() {
    // SAFETY: SIG_IGN installs no handler of this program.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) };
}
