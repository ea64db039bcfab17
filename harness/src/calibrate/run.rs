//! Runs a reference load generator.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use super::child;
use super::reference_generators::{Asked, ReferenceGenerator, ReferenceLoad, Told};

/// Result of a reference generator, as it reports itself; only the CPU time is measured here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReferenceRun {
    /// Requests answered.
    pub requests: u64,
    /// Requests answered per second.
    pub per_s: f64,
    /// 99th percentile of the latency, if reported. With several requests in flight it is that of a
    /// whole batch. wrk corrects it upward if a long wait kept it from sending (`stats_correct` in
    /// its source).
    pub p99: Option<Duration>,
    /// Failed connections, requests not answered in time (wrk: 2 s), and error replies.
    pub errors: u64,
    /// CPU time per request from the program's start to its end, in nanoseconds.
    pub cpu_ns_per_request: f64,
}

/// Reason why a reference generator gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// The program is not installed.
    #[error("{0} is not installed (Debian package {1})")]
    NotInstalled(&'static str, &'static str),
    /// The program could not be run.
    #[error("cannot run {0}: {1}")]
    NotRun(&'static str, io::Error),
    /// The program exceeded its timeout.
    #[error("{0} had not ended after {1:?}, and was killed")]
    Hung(&'static str, Duration),
    /// The program failed.
    #[error("{0} failed ({1}): {2}")]
    Failed(&'static str, ExitStatus, String),
    /// The output differs from that of the known versions.
    #[error("what {0} printed is not understood: {1}")]
    NotUnderstood(&'static str, String),
}

/// Runs a reference generator against a server that echoes bytes unchanged.
///
/// # Errors
/// The program is not installed, cannot be run, exceeds ten seconds plus three times the duration
/// (then it is killed), fails, or prints unknown output.
pub fn run(
    rival: &ReferenceGenerator,
    address: SocketAddr,
    load: ReferenceLoad,
) -> Result<ReferenceRun, ReferenceError> {
    let mut requests = 0;
    if rival.counts {
        requests = enough(rival, address, load)?;
    }
    once(rival, address, load, requests)
}

/// Returns the number of requests that take about the planned duration. Trial runs grow fourfold
/// until the cost of starting is a small part of them.
fn enough(
    rival: &ReferenceGenerator,
    address: SocketAddr,
    load: ReferenceLoad,
) -> Result<u64, ReferenceError> {
    let wanted = load.duration.as_secs_f64();
    let mut requests = LEAST_REQUESTS.max(4 * (load.connections * load.depth) as u64);
    loop {
        let per_s = once(rival, address, load, requests)?.per_s;
        if requests as f64 / per_s >= wanted / 8.0 || requests == MOST_REQUESTS {
            return Ok(((per_s * wanted) as u64).clamp(LEAST_REQUESTS, MOST_REQUESTS));
        }
        requests = (requests * 4).min(MOST_REQUESTS);
    }
}

/// Minimum number of requests: fewer end before redis-benchmark's millisecond clock advances.
const LEAST_REQUESTS: u64 = 4_000;

/// Maximum number of requests: redis-benchmark keeps it in an int.
const MOST_REQUESTS: u64 = i32::MAX as u64;

const SCRIPT: &str = include_str!("wrk.lua");

fn once(
    rival: &ReferenceGenerator,
    address: SocketAddr,
    load: ReferenceLoad,
    requests: u64,
) -> Result<ReferenceRun, ReferenceError> {
    let not_run = |error| ReferenceError::NotRun(rival.name, error);
    let mut script = tempfile::NamedTempFile::new().map_err(not_run)?;
    script.write_all(SCRIPT.as_bytes()).map_err(not_run)?;
    let asked = Asked { address, load, request: rival.request, requests, script: script.path() };
    let mut command = Command::new(rival.name);
    (rival.arguments)(&asked, &mut command);
    // On a shared machine the same number of requests may take longer than the last time.
    let patience = Duration::from_secs(10) + 3 * load.duration;
    let ended = child::run(command, load.processor, patience)
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ReferenceError::NotInstalled(rival.name, rival.package),
            _ => not_run(error),
        })?
        .ok_or(ReferenceError::Hung(rival.name, patience))?;
    if !ended.status.success() {
        return Err(ReferenceError::Failed(
            rival.name,
            ended.status,
            ended.errors.trim().to_owned(),
        ));
    }
    let Some(Told { requests, per_s, p99, errors }) = (rival.parse)(&ended.output, requests) else {
        let printed = ended.output + &ended.errors;
        return Err(ReferenceError::NotUnderstood(rival.name, printed.trim().to_owned()));
    };
    let cpu_ns_per_request = ended.cpu.as_nanos() as f64 / requests.max(1) as f64;
    Ok(ReferenceRun { requests, per_s, p99, errors, cpu_ns_per_request })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::reference_generators::REFERENCE_GENERATORS;

    #[test]
    fn a_rival_that_is_not_installed_is_named_with_its_package() {
        let missing = ReferenceGenerator {
            name: "no-such-rival",
            package: "none",
            ..REFERENCE_GENERATORS[0]
        };
        let load =
            ReferenceLoad { connections: 1, depth: 1, duration: Duration::ZERO, processor: None };
        let error = run(&missing, ([127, 0, 0, 1], 1).into(), load).expect_err("it is not there");
        assert_eq!(error.to_string(), "no-such-rival is not installed (Debian package none)");
    }
}
