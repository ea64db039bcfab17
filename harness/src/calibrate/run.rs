//! A run of another load generator.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use super::child;
use super::reference_generators::{Asked, ReferenceGenerator, ReferenceLoad, Told};

/// What a rival did, by its own account but for the processor time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReferenceRun {
    /// Requests that were answered.
    pub requests: u64,
    /// Requests that were answered, per second.
    pub per_s: f64,
    /// 99 % of the latencies are not above it, where it says so: with more than one request at a
    /// time, of all that are sent at once. wrk makes it larger where a long wait kept it from
    /// sending (`stats_correct` in its source).
    pub p99: Option<Duration>,
    /// Connections that failed, requests not answered in time (wrk: 2 s), replies that say error.
    pub errors: u64,
    /// Processor time that it took for each request, from its start to its end, in nanoseconds.
    pub cpu_ns_per_request: f64,
}

/// Why a rival's run is none.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// There is no such program.
    #[error("{0} is not installed (Debian package {1})")]
    NotInstalled(&'static str, &'static str),
    /// It could not be run.
    #[error("cannot run {0}: {1}")]
    NotRun(&'static str, io::Error),
    /// It did not end.
    #[error("{0} had not ended after {1:?}, and was killed")]
    Hung(&'static str, Duration),
    /// It ended otherwise than well.
    #[error("{0} failed ({1}): {2}")]
    Failed(&'static str, ExitStatus, String),
    /// It printed something else than it does in the versions that are known.
    #[error("what {0} printed is not understood: {1}")]
    NotUnderstood(&'static str, String),
}

/// Loads a server that echoes bytes, such as they come.
///
/// # Errors
/// The rival is not installed, cannot be run, does not end within ten seconds and three times the
/// duration (then it is killed), fails, or is not understood.
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

/// How many requests take about as long as the load is to last. Short runs grow until what
/// happens only at their beginning is a small part of them.
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

/// Fewer are over before redis-benchmark's clock of milliseconds has moved.
const LEAST_REQUESTS: u64 = 4_000;

/// redis-benchmark keeps their number in an int.
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
    // On a machine that others use as well, so many requests may take longer than the last time.
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
