//! Measurement of a server under a workload.

use std::io;
use std::time::Duration;

use super::engine::{Observer, RunSettings, run};
use super::idle_measurement::measure_idle;
use super::interval::Interval;
use super::load_spec::LoadSpec;
use super::measurement_settings::{MeasurementSettings, load};
use super::reply_template::ReplyTemplate;
use super::saturation::saturation;
use super::syscalls::SyscallCounter;
use super::workloads::{Load, Workload};
use crate::contract::Contract;
use crate::results::{Measurement, ProcessView};
use crate::server::Server;
use crate::server::proc::Pid;

/// Duration of the recording in the run that counts system calls.
const COUNTED: Duration = Duration::from_millis(100);

/// Measures a running server with this number of connections.
///
/// # Errors
/// The server runs on other CPUs than planned, or the kernel denies the generator a resource.
/// Faults of the server are outcomes, not errors.
pub fn measure(
    server: &Server,
    (contract, template): (&Contract, &ReplyTemplate),
    workload: &Workload,
    connections: usize,
    settings: &MeasurementSettings<'_>,
) -> io::Result<Measurement> {
    let placement = settings.placement()?;
    if server.process.processors() != placement.of_server() {
        return Err(io::Error::other(
            "the server does not run on the CPUs that the placement gives it; launch it with the \
             launcher of the placement",
        ));
    }
    let load_spec = workload.load_spec(
        server.address,
        (contract, template),
        connections,
        (settings.timeout, settings.seed),
    );
    let (mut measurement, _) = match workload.load {
        Load::IdleConnections => {
            return measure_idle(server, workload, connections, contract, settings, &placement);
        }
        Load::Saturation(_) => saturation(server, &load_spec, workload.name, settings, &placement)?,
        _ => load(Some(server), &load_spec, workload.name, settings, &placement)?,
    };
    let view = server.process.findings().processes;
    if view != ProcessView::Visible {
        measurement.placement =
            format!("{} (the server is not pinned: {view})", placement.description());
        measurement.syscalls_not_counted = settings.syscalls.then(|| view.to_string());
    } else if settings.syscalls && matches!(workload.load, Load::Closed(..) | Load::Mixed(_)) {
        match syscalls(server, &load_spec, settings)? {
            Ok(per_request) => measurement.syscalls_per_request = per_request,
            Err(reason) => measurement.syscalls_not_counted = Some(reason),
        }
    }
    Ok(measurement)
}

/// Counts the server's system calls in a run, which gives no latency because counting slows the
/// server. Returns the calls per correct reply; `Ok(None)` without a reply; the reason if the
/// kernel does not permit the counting.
fn syscalls(
    server: &Server,
    load_spec: &LoadSpec,
    settings: &MeasurementSettings<'_>,
) -> io::Result<Result<Option<f64>, String>> {
    let mut observer = CountingObserver {
        tree: server.process.tree(),
        counter: Err("the run was interrupted".to_owned()),
    };
    let duration = COUNTED;
    let run_settings = RunSettings {
        warm_up: COUNTED / 4,
        duration,
        at_most: duration,
        ..settings.run_settings()
    };
    let ran = run(load_spec, run_settings, |_| Ok(()), &mut observer, settings.interrupted)?;
    let mut counter = match observer.counter {
        Ok(counter) => counter,
        Err(reason) => return Ok(Err(reason)),
    };
    let calls = counter.count()?;
    // Both the calls and the replies include the warm-up.
    let answered = ran.answered_with_warm_up;
    Ok(Ok((answered > 0).then(|| calls as f64 / answered as f64)))
}

/// Counts system calls from the time when all connections are established.
struct CountingObserver {
    tree: Vec<Pid>,
    counter: Result<SyscallCounter, String>,
}

impl Observer for CountingObserver {
    fn on_start(&mut self) {
        self.counter = SyscallCounter::attach(&self.tree);
    }

    fn is_precise_enough(&mut self, _: &[Interval]) -> bool {
        true
    }
}
