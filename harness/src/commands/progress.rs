//! Progress display: a progress bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;

use crate::text::visible;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::stdio;

/// A progress bar, and an output for lines. Lines go to standard error if standard output is
/// reserved for a document.
pub(crate) struct Progress {
    bar: ProgressBar,
    to_stderr: bool,
}

/// The stream for lines that users read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum People {
    Stdout,
    Stderr,
}

impl Progress {
    pub(crate) fn new(steps: usize, people: People) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(steps as u64), target());
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {wide_msg}")
            .expect("the template is right");
        bar.set_style(style);
        Progress { bar, to_stderr: people == People::Stderr }
    }

    /// Shows the current activity.
    pub(crate) fn doing(&self, words: impl Into<String>) {
        self.bar.set_message(visible(&words.into()).into_owned());
    }

    /// Advances by one step.
    pub(crate) fn step(&self) {
        self.bar.inc(1);
    }

    /// Advances by steps that are skipped.
    pub(crate) fn skip(&self, steps: usize) {
        self.bar.inc(steps as u64);
    }

    /// Prints a permanent line. It may quote a server.
    pub(crate) fn line(&self, words: &str) {
        self.bar.suspend(|| {
            if self.to_stderr {
                stdio::error_line(words);
            } else {
                stdio::line(words);
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
