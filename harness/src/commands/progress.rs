//! Progress display: a progress bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::stdio;
use crate::text::visible;
use crate::workflow_commands::Level;

/// A progress bar, and the output stream for text lines.
#[derive(Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
    to_stderr: bool,
}

/// The stream for lines that users read. It is standard error if standard output is reserved for a
/// JSON document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputStream {
    Stdout,
    Stderr,
}

impl Progress {
    pub(crate) fn new(steps: usize, text_stream: OutputStream) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(steps as u64), target());
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {wide_msg}")
            .expect("a valid template");
        bar.set_style(style);
        Progress { bar, to_stderr: text_stream == OutputStream::Stderr }
    }

    /// Shows the current activity.
    pub(crate) fn show_activity(&self, text: impl Into<String>) {
        self.bar.set_message(visible(&text.into()).into_owned());
    }

    /// Advances by one step.
    pub(crate) fn step(&self) {
        self.bar.inc(1);
    }

    /// Advances by steps that are skipped.
    pub(crate) fn skip(&self, steps: usize) {
        self.bar.inc(steps as u64);
    }

    /// Prints an annotation for GitHub Actions to the stream of the lines.
    pub(crate) fn annotation(&self, level: Level, title: &str, message: &str) {
        self.bar.suspend(|| stdio::annotation(level, title, message, self.to_stderr));
    }

    /// Prints a permanent line. The text may contain output of a server: `stdio` replaces control
    /// characters, and defuses workflow commands.
    pub(crate) fn line(&self, text: &str) {
        self.bar.suspend(|| {
            if self.to_stderr {
                stdio::error_line(text);
            } else {
                stdio::line(text);
            }
        });
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn target() -> ProgressDrawTarget {
    if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    }
}
