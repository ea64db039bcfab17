//! Tests of 10,000 concurrent connections, for every pattern that accepts thousands. Run them with
//! `cargo test idle_memory::`.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use harness::contract::Contract;
use harness::load::{IdleConnections, Recorder, enough_descriptors};
use harness::results::Outcome;
use harness::server::{LaunchSpec, Launcher, Server};
use libtest_mimic::{Completion, Failed};
use servers::{Capacity, Limits, OverloadPolicy, Service};

use crate::common::{DEADLINE, Test};

/// Number of idle connections, if the server's limit permits it.
const CLIENTS: usize = 10_000;

/// Minimum connection limit. Patterns with a lower limit are not tested.
const MIN_CONNECTIONS: usize = 5_000;

/// Timeout for the rejection of a connection over the limit.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the tests. Each uses both CPUs and half of the ephemeral ports.
pub(crate) fn tests() -> Vec<Test> {
    let launcher = Launcher::new(env!("CARGO_BIN_EXE_harness"));
    servers::servers()
        .filter(|server| server.service == Service::Echo && accepts_thousands(server))
        .map(|server| {
            let launcher = launcher.clone();
            let name = format!("{server}::holds_its_connections");
            Test::ignorable(name, move || holds_its_connections(&launcher, &server))
        })
        .collect()
}

fn accepts_thousands(server: &servers::Server) -> bool {
    matches!(server.pattern.capacity, Capacity::Limited { default, .. } if default >= MIN_CONNECTIONS)
}

fn holds_its_connections(
    launcher: &Launcher,
    server: &servers::Server,
) -> Result<Completion, Failed> {
    if let Some(reason) = server.pattern.unavailable() {
        return Ok(Completion::ignored_with(reason));
    }
    let spec = LaunchSpec::builtin(launcher, server, &Limits::default())?;
    let clients = spec.contract.capacity.map_or(CLIENTS, |capacity| capacity.min(CLIENTS));
    if clients < MIN_CONNECTIONS {
        return Ok(Completion::ignored_with(format!(
            "the descriptor limit permits only {clients} connections (ulimit -n)"
        )));
    }
    if let Err(reason) = enough_descriptors(clients) {
        return Ok(Completion::ignored_with(reason));
    }

    let running = launcher.launch(&spec)?;
    let before = running.process.resource_usage().anonymous_bytes;
    let mut recorder = Recorder::new();
    let mut idle = IdleConnections::connect(
        running.address,
        (server.service, DEADLINE),
        clients,
        &mut recorder,
        &|| true,
        &mut |_| (),
    )?;
    all_answered("after connecting", &idle, &recorder, clients, &running)?;

    let mut recorder = Recorder::new();
    idle.request_all(&mut recorder, &|| true)?;
    all_answered("while all were connected", &idle, &recorder, clients, &running)?;
    let usage = running.process.resource_usage();
    if usage.descriptors < clients {
        return Err(format!("{usage:?} with {clients} idle connections").into());
    }
    let per_connection = usage.anonymous_bytes.saturating_sub(before) / clients as u64;
    eprintln!("{per_connection} bytes of memory per connection, with {clients} idle connections");

    connection_over_the_limit_is_rejected(&spec.contract, clients, &running)?;
    Ok(Completion::Completed)
}

/// Checks that every client is still connected and that each request got its correct reply.
fn all_answered(
    when: &str,
    idle: &IdleConnections,
    recorder: &Recorder,
    clients: usize,
    running: &Server,
) -> Result<(), Failed> {
    let answered = recorder.current().outcomes.get(Outcome::Answered);
    if answered == clients as u64 && idle.answered_and_open() == clients as u64 {
        return Ok(());
    }
    Err(format!(
        "{when}, {answered} of {clients} requests were answered: {:?}; connections: {:?}; log: {}",
        recorder.current().outcomes,
        idle.connection_outcomes(),
        running.process.log()
    )
    .into())
}

/// Checks one more connection, if the open ones use the whole connection limit.
fn connection_over_the_limit_is_rejected(
    contract: &Contract,
    clients: usize,
    running: &Server,
) -> Result<(), Failed> {
    if contract.when_full != Some(OverloadPolicy::Busy) || contract.capacity != Some(clients) {
        return Ok(());
    }
    let mut client = TcpStream::connect_timeout(&running.address, TIMEOUT)?;
    client.set_read_timeout(Some(TIMEOUT))?;
    let mut reply = Vec::new();
    client.read_to_end(&mut reply)?;
    if contract.is_busy(&reply) {
        return Ok(());
    }
    Err(format!("a connection over the limit got {:?}", String::from_utf8_lossy(&reply)).into())
}
