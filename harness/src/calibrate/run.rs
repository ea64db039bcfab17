//! Runs a reference load generator.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use super::child;
use super::reference_generators::{Invocation, Printed, ReferenceGenerator, ReferenceLoad};

/// Result of a reference generator, as reported by the program; only the CPU time is measured here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReferenceRun {
    /// Number of requests answered.
    pub requests: u64,
    /// Requests answered per second.
    pub per_s: f64,
    /// 99th percentile of the latency, if reported. With several requests in flight, it is the
    /// latency of a whole batch. wrk corrects the p99 upward if it could not send for a long time
    /// (`stats_correct` in the source of wrk).
    pub p99: Option<Duration>,
    /// Number of failed connections, requests not answered in time (wrk: 2 s), and error replies.
    pub errors: u64,
    /// CPU time per request from the program's start to its end, in nanoseconds.
    pub cpu_ns_per_request: f64,
}

/// Reason why a reference generator gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// The program is not installed.
    #[error("{0} is not installed; install the Debian package {1}")]
    NotInstalled(&'static str, &'static str),
    /// The program could not be run.
    #[error("cannot run {0}: {1}")]
    NotRun(&'static str, io::Error),
    /// The program exceeded its timeout.
    #[error("{0} was killed, because it had not exited after {1:?}")]
    Hung(&'static str, Duration),
    /// The program failed.
    #[error("{0} failed ({1}): {2}")]
    Failed(&'static str, ExitStatus, String),
    /// The output is not in the format of the known versions.
    #[error("cannot parse the output of {0}: {1}")]
    NotUnderstood(&'static str, String),
}

/// Runs a reference generator against a server that echoes bytes unchanged.
///
/// # Errors
/// The program is not installed, cannot be run, fails, or prints unknown output. It is killed,
/// which is also an error, if it runs for longer than 10 s plus three times the duration.
pub fn run(
    reference: &ReferenceGenerator,
    address: SocketAddr,
    load: ReferenceLoad,
) -> Result<ReferenceRun, ReferenceError> {
    let mut requests = 0;
    if reference.takes_request_count {
        requests = request_count(reference, address, load)?;
    }
    once(reference, address, load, requests)
}

/// Returns the number of requests that take about the planned duration. Makes trial runs with four
/// times as many requests each time, until a trial run takes an eighth of the planned duration.
fn request_count(
    reference: &ReferenceGenerator,
    address: SocketAddr,
    load: ReferenceLoad,
) -> Result<u64, ReferenceError> {
    let planned_s = load.duration.as_secs_f64();
    let mut requests = MIN_REQUESTS.max(4 * (load.connections * load.depth) as u64);
    loop {
        let per_s = once(reference, address, load, requests)?.per_s;
        if requests as f64 / per_s >= planned_s / 8.0 || requests == MAX_REQUESTS {
            return Ok(((per_s * planned_s) as u64).clamp(MIN_REQUESTS, MAX_REQUESTS));
        }
        requests = (requests * 4).min(MAX_REQUESTS);
    }
}

/// Minimum number of requests. With fewer, redis-benchmark may end before its millisecond clock
/// advances.
const MIN_REQUESTS: u64 = 4_000;

/// Maximum number of requests: redis-benchmark has this number in an `int`.
const MAX_REQUESTS: u64 = i32::MAX as u64;

const SCRIPT: &str = include_str!("wrk.lua");

fn once(
    reference: &ReferenceGenerator,
    address: SocketAddr,
    load: ReferenceLoad,
    requests: u64,
) -> Result<ReferenceRun, ReferenceError> {
    let not_run = |error| ReferenceError::NotRun(reference.name, error);
    let mut script = tempfile::NamedTempFile::new().map_err(not_run)?;
    script.write_all(SCRIPT.as_bytes()).map_err(not_run)?;
    let invocation =
        Invocation { address, load, request: reference.request, requests, script: script.path() };
    let mut command = Command::new(reference.name);
    (reference.arguments)(&invocation, &mut command);
    // On a shared machine, the run may take longer than the trial runs suggest.
    let timeout = Duration::from_secs(10) + 3 * load.duration;
    let ended = child::run(command, load.processor, timeout)
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                ReferenceError::NotInstalled(reference.name, reference.package)
            }
            _ => not_run(error),
        })?
        .ok_or(ReferenceError::Hung(reference.name, timeout))?;
    if !ended.status.success() {
        return Err(ReferenceError::Failed(
            reference.name,
            ended.status,
            ended.errors.trim().to_owned(),
        ));
    }
    let Some(Printed { requests, per_s, p99, errors }) = (reference.parse)(&ended.output, requests)
    else {
        let printed = ended.output + &ended.errors;
        return Err(ReferenceError::NotUnderstood(reference.name, printed.trim().to_owned()));
    };
    let cpu_ns_per_request = ended.cpu.as_nanos() as f64 / requests.max(1) as f64;
    Ok(ReferenceRun { requests, per_s, p99, errors, cpu_ns_per_request })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::reference_generators::REFERENCE_GENERATORS;

    #[test]
    fn the_error_for_a_missing_program_names_its_package() {
        let missing = ReferenceGenerator {
            name: "no-such-program",
            package: "none",
            ..REFERENCE_GENERATORS[0]
        };
        let load =
            ReferenceLoad { connections: 1, depth: 1, duration: Duration::ZERO, processor: None };
        let error = run(&missing, ([127, 0, 0, 1], 1).into(), load).expect_err("a missing program");
        assert_eq!(
            error.to_string(),
            "no-such-program is not installed; install the Debian package none"
        );
    }
}
