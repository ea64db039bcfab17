//! Progress display: a progress bar with an estimate of the time left on a terminal, plain lines
//! elsewhere.

mod in_order;
mod time_left;
pub(crate) mod weights;

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::cli::TerminalArgs;
use crate::figures::count;
use crate::results::Kind;
use crate::stdio;
use crate::text::style::{StyledText, is_set, understands_sequences};
use crate::text::visible;
use crate::workflow_commands::Level;

use in_order::InOrder;
pub(crate) use time_left::StepKind;
use time_left::{TimeLeft, format_time_left};

/// A progress bar, and the output stream for text lines. Clones share the bar.
#[derive(Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
    to_stderr: bool,
    is_quiet: bool,
    /// Whether the bar is drawn once the progress [starts](Progress::start).
    is_drawn: bool,
    shared: Arc<Shared>,
}

/// The stream for lines that users read. It is standard error if standard output is reserved for a
/// JSON document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputStream {
    Stdout,
    Stderr,
}

impl OutputStream {
    /// Returns standard error if standard output is reserved.
    pub(crate) fn unless_reserved(is_reserved: bool) -> OutputStream {
        if is_reserved { OutputStream::Stderr } else { OutputStream::Stdout }
    }
}

#[derive(Default)]
struct Shared {
    time_left: Mutex<TimeLeft>,
    message: Mutex<Message>,
    held: Mutex<InOrder<StyledText>>,
}

/// Text after the bar.
#[derive(Default)]
struct Message {
    passed: usize,
    failed: usize,
    inconclusive: usize,
    activity: String,
    /// Names of the parallel activities, in the order of their start.
    running: Vec<String>,
}

/// A line of a step in order, see [`Progress::lines_at`].
pub(crate) enum StepLine {
    /// A line that is always printed.
    Important(StyledText),
    /// A line that `--quiet` hides.
    Detail(StyledText),
}

/// Time between two updates of the elapsed time. The bar is also drawn at the end of each step. A
/// longer time, because drawing takes CPU time during measurements.
const TICK: Duration = Duration::from_secs(1);

/// Maximum number of parallel activities that are named.
const MAX_SHOWN: usize = 2;

/// Bar with the number of steps.
const STEPS: &str = "{bar:20} {pos}/{len} {elapsed}{left}{wide_msg}";

/// Bar without the number of steps.
const TIME: &str = "{bar:20} {elapsed}{left}{wide_msg}";

impl Progress {
    /// Returns a bar without steps. It is drawn from [`start`](Self::start) or
    /// [`begin`](Self::begin) on.
    pub(crate) fn new(terminal: TerminalArgs, text_stream: OutputStream) -> Progress {
        Progress::with_template(terminal, text_stream, STEPS)
    }

    /// Returns a bar of a single step, whose position is a time.
    pub(crate) fn of_time(
        terminal: TerminalArgs,
        text_stream: OutputStream,
        time: Duration,
    ) -> Progress {
        let progress = Progress::with_template(terminal, text_stream, TIME);
        progress.time_left().plan(StepKind::Measurement, 1, time.as_secs_f64());
        progress.bar.set_length(time.as_millis() as u64);
        progress
    }

    fn with_template(
        terminal: TerminalArgs,
        text_stream: OutputStream,
        template: &str,
    ) -> Progress {
        stdio::set_color(terminal.color);
        let shared = Arc::<Shared>::default();
        let left = {
            let shared = Arc::clone(&shared);
            move |_: &ProgressState, out: &mut dyn Write| {
                let estimate = lock(&shared.time_left).estimate(Instant::now());
                if let Some(text) = estimate.and_then(format_time_left) {
                    let _ = write!(out, ", {text}");
                }
            }
        };
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template(template).expect("a valid template");
        bar.set_style(style.with_key("left", left));
        let to_stderr = text_stream == OutputStream::Stderr;
        let is_drawn = !terminal.quiet && is_drawn();
        Progress { bar, to_stderr, is_quiet: terminal.quiet, is_drawn, shared }
    }

    /// Adds steps, with the sum of their weights, see [`StepKind`].
    pub(crate) fn plan(&self, kind: StepKind, steps: usize, weight: f64) {
        self.time_left().plan(kind, steps, weight);
        self.bar.inc_length(steps as u64);
    }

    /// Draws the bar from now on.
    ///
    /// Call this function when signals are handled and namespaces are entered, because it starts a
    /// thread.
    pub(crate) fn start(&self) {
        if self.is_drawn && self.bar.is_hidden() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.bar.enable_steady_tick(TICK);
        }
    }

    /// Records that the first step of a kind starts, and [starts](Self::start) the bar.
    pub(crate) fn begin(&self, kind: StepKind) {
        self.time_left().begin(kind, Instant::now());
        self.start();
    }

    /// Shows the current activity.
    pub(crate) fn show_activity(&self, text: impl Into<String>) {
        let text = text.into();
        self.update(|message| message.activity = visible(&text).into_owned());
    }

    /// Shows an activity beside others that run in parallel.
    pub(crate) fn start_parallel(&self, name: &str) {
        self.update(|message| message.running.push(visible(name).into_owned()));
    }

    /// Ends the display of an activity that runs in parallel.
    pub(crate) fn end_parallel(&self, name: &str) {
        let name = visible(name);
        self.update(|message| message.running.retain(|running| *running != name));
    }

    /// Adds the result of a case to the counts beside the bar.
    pub(crate) fn count(&self, kind: Kind) {
        self.update(|message| match kind {
            Kind::Pass | Kind::Warn | Kind::Info | Kind::Known => message.passed += 1,
            Kind::Fail | Kind::Stale => message.failed += 1,
            Kind::Inconclusive => message.inconclusive += 1,
            Kind::NotApplicable => {}
        });
    }

    fn update(&self, change: impl FnOnce(&mut Message)) {
        let text = {
            let mut message = lock(&self.shared.message);
            change(&mut message);
            message.text()
        };
        self.bar.set_message(text);
    }

    /// Advances by one step.
    pub(crate) fn step(&self, kind: StepKind, weight: f64) {
        self.time_left().step(kind, weight, Instant::now());
        self.bar.inc(1);
    }

    /// Advances by steps that are skipped.
    pub(crate) fn skip(&self, kind: StepKind, steps: usize, weight: f64) {
        self.time_left().skip(kind, steps, weight);
        self.bar.inc(steps as u64);
    }

    /// Sets the position of a bar [of time](Self::of_time).
    pub(crate) fn set_time(&self, time: Duration) {
        self.bar.set_position(time.as_millis() as u64);
    }

    /// Returns whether the bar is drawn.
    pub(crate) fn is_drawn(&self) -> bool {
        self.is_drawn
    }

    /// Prints a permanent line, also with `--quiet`: a failure, an error, or a part of the summary.
    /// The text may contain output of a server: control characters are replaced.
    pub(crate) fn line(&self, text: impl Into<StyledText>) {
        let text = text.into();
        self.bar.suspend(|| {
            if self.to_stderr {
                stdio::styled_error_line(&text);
            } else {
                stdio::styled_line(&text);
            }
        });
    }

    /// Prints an annotation for GitHub Actions to the stream of the lines.
    pub(crate) fn annotation(&self, level: Level, title: &str, message: &str) {
        self.bar.suspend(|| stdio::annotation(level, title, message, self.to_stderr));
    }

    /// Prints a permanent line, unless `--quiet` is set.
    pub(crate) fn detail(&self, text: impl Into<StyledText>) {
        if !self.is_quiet {
            self.line(text);
        }
    }

    /// Prints a permanent line to standard error, unless `--quiet` is set.
    pub(crate) fn notice(&self, text: &str) {
        if !self.is_quiet {
            self.bar.suspend(|| stdio::error_line(text));
        }
    }

    /// Prints the lines of a step when the lines of all earlier steps are printed. `place` is the
    /// number of the step; each step calls this function once.
    pub(crate) fn lines_at(&self, place: usize, lines: Vec<StepLine>) {
        let shown = lines.into_iter().filter_map(|line| match line {
            StepLine::Important(text) => Some(text),
            StepLine::Detail(text) => (!self.is_quiet).then_some(text),
        });
        // The lock is held during the output, because other threads may release later lines.
        let mut held = lock(&self.shared.held);
        held.put(place, shown.collect()).into_iter().for_each(|line| self.line(line));
    }

    /// Prints all lines that wait for the lines of earlier steps.
    pub(crate) fn release_lines(&self) {
        let mut held = lock(&self.shared.held);
        held.release_all().into_iter().for_each(|line| self.line(line));
    }

    /// Removes the bar.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn time_left(&self) -> MutexGuard<'_, TimeLeft> {
        lock(&self.shared.time_left)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Message {
    /// Formats the counts of the cases so far, and the activity.
    fn text(&self) -> String {
        let mut text = String::new();
        if self.passed + self.failed + self.inconclusive > 0 {
            let [passed, failed] = [self.passed, self.failed].map(|it| count(it as f64));
            text = format!(", {passed} passed, {failed} failed");
        }
        if self.inconclusive > 0 {
            text += &format!(", {} inconclusive", count(self.inconclusive as f64));
        }
        let shown = self.running.len().min(MAX_SHOWN);
        let mut activity = self.activity.clone();
        if shown > 0 {
            activity += &self.running[..shown].join(", ");
        }
        if self.running.len() > shown {
            activity += &format!(" and {} more", self.running.len() - shown);
        }
        if !activity.is_empty() {
            text += &format!(": {activity}");
        }
        text
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns whether standard error is a terminal that understands control sequences. The log of
/// GitHub Actions shows control sequences as text.
fn is_drawn() -> bool {
    io::stderr().is_terminal() && understands_sequences() && !is_set("GITHUB_ACTIONS")
}
