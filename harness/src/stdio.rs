//! Standard output and standard error of the whole program.
//!
//! `print!` panics if its stream fails, so clippy denies it in this crate.
//!
//! - EPIPE: the reader, such as `head`, has closed the pipe because it has read enough. The program
//!   drops the rest of the output, and the exit code does not change.
//! - Any other failure, such as a full disk: output is lost. The program reports the first failure
//!   on standard error, continues, and exits with code 3.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::text::style::{ColorChoice, StyledText};
use crate::text::visible;
use crate::workflow_commands::{self, Level, defused, defused_json};

/// Whether output was lost.
static HAS_LOST_OUTPUT: AtomicBool = AtomicBool::new(false);

/// When to use colour.
static COLOR: OnceLock<ColorChoice> = OnceLock::new();

/// Exit code if output was lost.
const LOST_OUTPUT: u8 = 3;

/// Writes bytes to standard output and flushes. Returns `false` if the reader has closed the pipe.
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

/// Prints a line to standard output. The line may quote a server, so the function replaces control
/// characters, and defuses workflow commands of CI systems.
pub fn line(text: &str) {
    print(&format!("{}\n", defused(&visible(text))));
}

/// Prints a JSON document to standard output, with workflow commands of CI systems defused.
pub(crate) fn json(document: &str) {
    print(&format!("{}\n", defused_json(document)));
}

/// Prints an annotation for GitHub Actions to standard output, or to standard error. GitHub Actions
/// reads both.
pub(crate) fn annotation(level: Level, title: &str, message: &str, to_stderr: bool) {
    let command = workflow_commands::annotation(level, &visible(title), &visible(message)) + "\n";
    if to_stderr {
        let _ = io::stderr().lock().write_all(command.as_bytes());
    } else {
        print(&command);
    }
}

/// Sets when both streams use colour. Only the first call has an effect; without a call, no stream
/// uses colour.
pub(crate) fn set_color(choice: ColorChoice) {
    let _ = COLOR.set(choice);
}

fn has_color(stream: &impl IsTerminal) -> bool {
    COLOR.get().is_some_and(|choice| choice.applies(stream.is_terminal()))
}

/// Prints a line with styled words to standard output. Replaces control characters.
pub(crate) fn styled_line(text: &StyledText) {
    print(&(defused(&text.render(has_color(&io::stdout()))).into_owned() + "\n"));
}

/// Prints a line with styled words to standard error. Replaces control characters, and ignores
/// failures.
pub(crate) fn styled_error_line(text: &StyledText) {
    let line = defused(&text.render(has_color(&io::stderr()))).into_owned() + "\n";
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// Prints text to standard error, with control characters replaced and workflow commands defused.
/// Ignores failures, because no stream is left to report them.
pub fn error(text: &str) {
    let _ = io::stderr().lock().write_all(defused(&visible(text)).as_bytes());
}

/// Prints a line to standard error, with control characters replaced.
pub fn error_line(text: impl Display) {
    error(&format!("{text}\n"));
}

/// Records the result of a write to standard output, and reports the first failure.
pub(crate) fn record(result: io::Result<()>) {
    if let Err(error) = result
        && error.kind() != ErrorKind::BrokenPipe
        && !HAS_LOST_OUTPUT.swap(true, Relaxed)
    {
        error_line(format_args!(
            "harness: cannot write to standard output: {error}; free disk space, or redirect the \
             output elsewhere"
        ));
    }
}

/// Returns the exit code of the program: the code of its result, or 3 if output was lost.
pub fn exit_code(result: ExitCode) -> ExitCode {
    if HAS_LOST_OUTPUT.load(Relaxed) { ExitCode::from(LOST_OUTPUT) } else { result }
}

/// Exits with this code, or with 3 if output was lost.
pub(crate) fn exit(code: u8) -> ! {
    std::process::exit(if HAS_LOST_OUTPUT.load(Relaxed) { LOST_OUTPUT } else { code }.into())
}
