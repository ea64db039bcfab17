//! Standard output and standard error of the whole program.
//!
//! `print!` panics when its stream fails, so nothing here uses it (clippy denies it). A reader that
//! closes the pipe, as `head` does, has read enough: the rest of the output is dropped, and the exit
//! code is that of the result. Any other failure, such as a full disk, loses output that somebody
//! needs: it is reported once on standard error, the work goes on, and the exit code is 3.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::text::visible;

/// Whether output was lost.
static HAS_FAILED: AtomicBool = AtomicBool::new(false);

/// The exit code when output was lost.
const FAILED: u8 = 3;

/// Writes bytes to standard output and flushes. Returns false if the reader has closed the pipe.
///
/// # Errors
/// Any other failure of standard output. The caller reports it.
pub(crate) fn write(bytes: &[u8]) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        other => other.map(|()| true),
    }
}

/// Prints text to standard output.
pub fn print(text: &str) {
    record(write(text.as_bytes()).map(drop));
}

/// Prints a line to standard output. It may quote a server: control characters are replaced.
pub fn line(words: &str) {
    print(&format!("{}\n", visible(words)));
}

/// Prints text to standard error, without control characters. What cannot be written is dropped:
/// there is no stream left to report it on.
pub fn error(text: &str) {
    let _ = io::stderr().lock().write_all(visible(text).as_bytes());
}

/// Prints a line to standard error, as [`error`] does.
pub fn error_line(words: impl Display) {
    error(&format!("{words}\n"));
}

/// Takes note of what became of a write to standard output, by whomever it was done, and reports
/// the first failure.
pub(crate) fn record(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
        && !HAS_FAILED.swap(true, Relaxed)
    {
        error_line(format_args!(
            "harness: cannot write to standard output: {error}; free space or redirect it elsewhere"
        ));
    }
}

/// The exit code of the program: that of its result, or 3 if output was lost.
pub fn exit_code(result: ExitCode) -> ExitCode {
    if HAS_FAILED.load(Relaxed) { ExitCode::from(FAILED) } else { result }
}

/// Ends the program: with the exit code of its result, or 3 if output was lost.
pub(crate) fn exit(result: u8) -> ! {
    std::process::exit(if HAS_FAILED.load(Relaxed) { FAILED } else { result }.into())
}
