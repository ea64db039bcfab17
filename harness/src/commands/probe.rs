//! `harness probe`: detects the protocol, limits and concurrency model of an unknown server.

use std::process::ExitCode;

use anyhow::Result;

use super::progress::{OutputStream, Progress, StepKind};
use crate::cli::Probe;
use crate::interrupt;
use crate::probe::{self, ProbeArguments, ProbeObserver};
use crate::server::{Readiness, network};
use crate::usage_error::UsageError;

/// Probes a server, and prints or appends its manifest entry.
///
/// # Errors
/// Bad usage, or the server cannot be launched or connected to.
pub fn probe(arguments: &Probe) -> Result<ExitCode> {
    let Probe { cmd, connect, wait, start, name, output, terminal } = arguments;
    if connect.is_some() && !start.is_empty() {
        let message = "--start-timeout and --ready apply to --cmd: use --wait with --connect";
        return Err(UsageError(message.to_owned()).into());
    }
    if cmd.as_ref().is_some_and(|command| !command.contains("{port}")) {
        // A server without `{port}` needs its own network, and a user namespace can be entered only
        // before any thread starts. If this fails, experiments run one at a time.
        let _ = network::prepare();
    }
    let progress = Progress::new(*terminal, OutputStream::Stderr);
    let interrupted = progress.clone();
    interrupt::before_exit(move || {
        interrupted
            .line("interrupted; no results were kept: the manifest entry is written at the end");
    });
    // The detection of the protocol is the first step.
    progress.plan(StepKind::Case, 1, 1.0);
    progress.begin(StepKind::Case);
    let mut readiness = Readiness::default();
    start.set(&mut readiness);
    let arguments = ProbeArguments {
        cmd: cmd.clone(),
        connect: connect.as_ref().map(|address| address.find(*wait)),
        readiness,
        name: name.clone(),
        output: output.clone(),
    };
    probe::probe(&arguments, &progress)
}

impl ProbeObserver for Progress {
    fn on_phase(&self, name: &str) {
        self.show_activity(name);
    }

    fn on_experiments(&self, number: usize) {
        self.step(StepKind::Case, 1.0);
        self.plan(StepKind::Case, number, number as f64);
    }

    fn on_experiment_end(&self) {
        self.step(StepKind::Case, 1.0);
    }

    fn on_finding(&self, line: &str) {
        self.detail(line);
    }

    fn on_failure(&self, line: &str) {
        self.line(line);
    }

    fn on_end(&self) {
        self.clear();
    }
}
