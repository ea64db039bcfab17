//! Library interface for the tests of other projects.
//!
//! Add `harness` as a development dependency, and call [`test_server`] in a test.
//!
//! A server runs below a supervisor process, which is another instance of the test program. To
//! support any test program, an initializer of this crate runs before the main function. If the
//! environment variable `HARNESS_ROLE` is set, the initializer runs the role that it names
//! (supervisor, built-in server or known-answer server), and exits. Otherwise the initializer
//! returns, and the test program starts.

use std::io;

use nix::sys::signal::{SigHandler, Signal, signal};

use crate::commands::role;
use crate::conformance::{Runner, cases};
use crate::contract::Declared;
use crate::results::ServerResult;
use crate::server::{LaunchSpec, LaunchSpecError, Launcher, ROLE, raise_descriptor_limit};

/// Error of [`test_server`].
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// The command is invalid.
    #[error(transparent)]
    Command(#[from] LaunchSpecError),
    /// The path of the running program is unknown.
    #[error("cannot find the path of the running program: {0}")]
    Program(#[from] io::Error),
}

/// Launches a server by a command and runs all test cases that apply to its declared properties.
///
/// The placeholders `{host}` and `{port}` in `command` are replaced by the address to listen on.
/// The call takes seconds, because each case launches a new server process.
///
/// If the server does not start, or violates its declaration, the result has failed cases. Such
/// failures are not errors of this function.
///
/// # Errors
/// The command is invalid (for example, it has no `{port}`), or the path of the running program is
/// unknown.
///
/// ```
/// use harness::contract::Declared;
/// use harness::testing::test_server;
///
/// let declared = Declared {
///     capacity: Some(1),
///     max_line: Some(4096),
///     error_prefix: Some("error: ".to_owned()),
///     ..Declared::default()
/// };
/// # let program = std::env::current_exe()?;
/// # let server = format!("env HARNESS_ROLE=serve '{}' serve iterative-calc", program.display());
/// # /*
/// let server = "python3 server.py";
/// # */
/// let result = test_server(&format!("{server} {{host}} {{port}}"), &declared)?;
/// assert!(result.is_fine(), "{result:#?}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn test_server(command: &str, declared: &Declared) -> Result<ServerResult, TestError> {
    // The reference prevents the linker from discarding the initializer.
    std::hint::black_box(&BEFORE_MAIN);
    raise_descriptor_limit();
    let spec = LaunchSpec::external(command, declared.contract())?;
    let launcher = Launcher::this_program()?.role_from_environment();
    let runner = Runner::new(launcher, rand::random_range(1..1_000_000));
    let cases: Vec<_> = cases().collect();
    let preflight_failure = runner.preflight(&spec).err();
    let results = runner.run_cases(&spec, &cases, preflight_failure.as_deref(), |_| {});
    Ok(ServerResult::new(&spec, results))
}

/// Initializer: runs `before_main` before the main function.
#[allow(unsafe_code, reason = "only .init_array runs code before the main function")]
// SAFETY: the section holds pointers to functions that the C library calls once, in sequence,
// before the main function (System V ABI, “Initialization and Termination Functions”). The
// initializer of the standard library, which stores the arguments, runs earlier. `before_main`
// starts threads only if it takes a role. In that case it exits the process and never returns.
#[unsafe(link_section = ".init_array")]
#[used]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    // The standard library ignores SIGPIPE only later, right before the main function. Ignore
    // SIGPIPE here, so that a write to a closed pipe returns an error.
    ignore_sigpipe();
    role::take();
}

#[allow(unsafe_code, reason = "changing the action of a signal is unsafe")]
fn ignore_sigpipe() {
    // SAFETY: SIG_IGN installs no signal handler.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) };
}
