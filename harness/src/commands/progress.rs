//! Telling a person how far things are: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;

use crate::text::visible;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::stdio;

/// Where the work stands. What it tells goes to standard error if standard output is spoken for.
pub(crate) struct Progress {
    bar: ProgressBar,
    to_stderr: bool,
}

/// Which stream people read.
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

    /// What is being done.
    pub(crate) fn doing(&self, words: impl Into<String>) {
        self.bar.set_message(visible(&words.into()).into_owned());
    }

    /// One more step is done.
    pub(crate) fn step(&self) {
        self.bar.inc(1);
    }

    /// So many steps will not be done.
    pub(crate) fn skip(&self, steps: usize) {
        self.bar.inc(steps as u64);
    }

    /// A line that stays. It may quote a server.
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
