//! A server that tries to inject input into the terminal of the user (TIOCSTI).

use super::*;

/// State of a terminal after a check.
struct TerminalState {
    /// Output of the harness.
    output: String,
    /// Number of bytes in the input queue: the injected input.
    injected: libc::c_int,
}

/// Checks the server that injects input, in a new terminal.
#[allow(unsafe_code, reason = "a session with a terminal, between fork and exec; ioctl(2)")]
fn check_in_terminal(flags: &[&str]) -> Result<TerminalState, Failed> {
    let OpenptyResult { master, slave } = openpty(None, None)?;
    // Raw mode without echo, so that FIONREAD counts each byte of input.
    let mut settings = tcgetattr(&slave)?;
    cfmakeraw(&mut settings);
    tcsetattr(&slave, SetArg::TCSANOW, &settings)?;
    let folder = tempfile::tempdir()?;
    let words = server::words(&["injects-input", "{port}"]);
    let command = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let mut check = harness();
    check.args(["check", "--cmd", &command, "--service", "echo", "--case", "framing/"]).args(flags);
    check.arg("--output").arg(folder.path());
    check.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave.try_clone()?);
    // SAFETY: between fork and exec only setsid(2) and ioctl(2) are called, which do not allocate.
    unsafe {
        check.pre_exec(|| {
            nix::unistd::setsid()?;
            let done = libc::ioctl(0, libc::TIOCSCTTY, 0);
            if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        });
    }
    let mut child = check.spawn()?;
    // The command holds copies of the terminal's descriptors.
    drop(check);
    let output = thread::spawn(move || {
        let mut output = Vec::new();
        // The read fails with EIO when the slave side is closed.
        let _ = fs::File::from(master).read_to_end(&mut output);
        output
    });
    ensure(child.wait()?.code() == Some(1), "expected exit code 1, because the replies are wrong")?;
    let mut injected = 0;
    // SAFETY: FIONREAD writes one int to the pointer, which points to a local variable.
    unsafe { libc::ioctl(slave.as_raw_fd(), libc::FIONREAD, &raw mut injected) };
    drop(slave);
    let output =
        String::from_utf8_lossy(&output.join().expect("no panic in the thread")).into_owned();
    for file in ["summary.md", "junit.xml", "grading.md", "index.html"] {
        let written = fs::read_to_string(folder.path().join(file))?;
        ensure(!written.contains('\x1b'), file)?;
    }
    Ok(TerminalState { output, injected })
}

pub(super) fn injects_no_terminal_input() -> Result<(), Failed> {
    let terminal = check_in_terminal(&[])?;
    ensure(terminal.injected == 0, terminal.injected)?;
    // The output contains the text, with the control character escaped.
    ensure(terminal.output.contains("]0;printed"), &terminal.output)?;
    ensure(!terminal.output.contains(server::TITLE), &terminal.output)
}

pub(super) fn injects_no_terminal_input_confined() -> Result<(), Failed> {
    let terminal = check_in_terminal(&["--confine"])?;
    ensure(terminal.injected == 0, terminal.injected)?;
    ensure(terminal.output.contains("]0;printed"), &terminal.output)?;
    ensure(!terminal.output.contains(server::TITLE), &terminal.output)
}

pub(super) fn cannot_open_a_terminal() -> Result<(), Failed> {
    let OpenptyResult { master: _master, slave } = openpty(None, None)?;
    let terminal = nix::unistd::ttyname(&slave)?;
    let through_test_process = format!("/proc/{}/fd/{}", std::process::id(), slave.as_raw_fd());
    let paths =
        [&terminal.display().to_string(), &through_test_process, "/dev/tty", "/dev/console"];
    let report = run(&limited(&[&["writes"][..], &paths].concat(), read_only()))?;
    ensure(!report.log.contains(": written"), &report)?;
    ensure(report.log.lines().count() == paths.len(), &report)
}
