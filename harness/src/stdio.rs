//! Standard output and standard error of the whole program.
//!
//! `print!` panics when its stream fails, so nothing here uses it (clippy denies it). A reader that
//! closes the pipe, like `head`, has read enough. The rest of the output is dropped, and the exit
//! code is that of the result. Any other failure, such as a full disk, loses output. It is reported
//! once on standard error, the program continues, and the exit code is 3.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::text::visible;

/// Output was lost.
static HAS_FAILED: AtomicBool = AtomicBool::new(false);

/// Exit code after lost output.
const FAILED: u8 = 3;

/// Writes bytes to standard output and flushes. Returns false if the reader has closed the pipe.
///
/// # Errors
/// Any other failure of standard output, which the caller reports.
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

/// Prints a line to standard output. Control characters are replaced, since it may quote a server.
pub fn line(words: &str) {
    print(&format!("{}\n", visible(words)));
}

/// Prints text to standard error, without control characters. A failure is ignored: there is no
/// other stream to report it on.
pub fn error(text: &str) {
    let _ = io::stderr().lock().write_all(visible(text).as_bytes());
}

/// Prints a line to standard error, as [`error`] does.
pub fn error_line(words: impl Display) {
    error(&format!("{words}\n"));
}

/// Records the result of a write to standard output, and reports the first failure.
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

/// Returns the exit code of the program: that of its result, or 3 if output was lost.
pub fn exit_code(result: ExitCode) -> ExitCode {
    if HAS_FAILED.load(Relaxed) { ExitCode::from(FAILED) } else { result }
}

/// Exits with the code of the result, or with 3 if output was lost.
pub(crate) fn exit(result: u8) -> ! {
    std::process::exit(if HAS_FAILED.load(Relaxed) { FAILED } else { result }.into())
}
