//! Benchmarks of one server under several workloads.

use anyhow::Result;

use crate::load::{self, MeasurementSettings, ReplyTemplate, Workload};
use crate::results::{NotMeasured, ProcessView, Report, ServerResult};
use crate::server::{LaunchSpec, Launcher, NetworkLease, Server as Running};

/// Benchmarks of one server. In short plans, all workloads use one server process. A server that
/// has exited is launched again.
pub(crate) struct Bench<'a> {
    launcher: &'a Launcher,
    spec: &'a LaunchSpec,
    /// The running server, with its reply template, or the reason why no template was learned.
    running: Option<(Running, Result<ReplyTemplate, String>)>,
    /// Reserved port or network. Declared after the server, which is therefore dropped first.
    lease: Option<NetworkLease>,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(launcher: &'a Launcher, spec: &'a LaunchSpec) -> Bench<'a> {
        Bench { launcher, spec, running: None, lease: None }
    }

    /// Benchmarks the server under one workload.
    ///
    /// # Errors
    /// The harness itself failed. Faults of the server are recorded in `entry`.
    pub(crate) fn measure(
        &mut self,
        workload: &Workload,
        settings: &MeasurementSettings<'_>,
        entry: &mut ServerResult,
    ) -> Result<()> {
        let contract = &self.spec.contract;
        let not_measured = |short: &str, reason| NotMeasured {
            workload: workload.name.to_owned(),
            short: short.to_owned(),
            reason,
        };
        let connections = match workload.connections(contract, settings.plan) {
            Ok(connections) => connections,
            Err(it) => {
                entry.not_measured.push(not_measured(&it.short, it.reason));
                return Ok(());
            }
        };
        entry.measured_command = Some(self.spec.shown_command.clone());
        entry.measured_capacity = contract.capacity;
        let measured = self.running(settings).and_then(|(server, template)| match template {
            Ok(_) if workload.needs_processes() && !is_visible(server) => {
                let reason = server.process.findings().processes.to_string();
                Ok(Err(("memory not visible", reason)))
            }
            Ok(template) => {
                let requests = (contract, &*template);
                Ok(Ok(load::measure(server, requests, workload, connections, settings)?))
            }
            Err(reason) => Ok(Err(("replies vary", reason.clone()))),
        });
        match measured {
            Ok(Ok(measurement)) => entry.add_measurement(measurement),
            Ok(Err((short, reason))) => entry.not_measured.push(not_measured(short, reason)),
            Err(error) => entry.problem = Some(format!("under {}: {error}", workload.name)),
        }
        if settings.plan.relaunches {
            self.running = None;
        }
        Ok(())
    }

    /// Returns the running server. Launches the server if it does not run.
    fn running(
        &mut self,
        settings: &MeasurementSettings<'_>,
    ) -> Result<&mut (Running, Result<ReplyTemplate, String>)> {
        let has_exited = |(server, _): &(Running, _)| server.process.exit().is_some();
        if self.running.as_ref().is_some_and(has_exited) {
            self.running = None;
        }
        if self.running.is_none() {
            self.lease = None;
            self.lease = Some(NetworkLease::take(self.spec)?);
            let launcher = settings.placement()?.launcher(self.launcher);
            let server = launcher.launch(self.spec)?;
            let template = ReplyTemplate::of(&self.spec.contract, server.address, settings.timeout);
            self.running = Some((server, template));
        }
        Ok(self.running.as_mut().expect("the server was launched above"))
    }
}

fn is_visible(server: &Running) -> bool {
    server.process.findings().processes == ProcessView::Visible
}

/// Formats the number of measurements for each validity, the most frequent first.
pub(crate) fn validity_counts(report: &Report) -> String {
    let labels = report.servers.iter().flat_map(|server| &server.measurements);
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for label in labels.map(|measurement| measurement.validity.label.name()) {
        match counts.iter_mut().find(|(name, _)| *name == label) {
            Some((_, count)) => *count += 1,
            None => counts.push((label, 1)),
        }
    }
    counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let counts: Vec<String> =
        counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
}
