//! Ten thousand clients at once, for every pattern that takes on thousands:
//! `cargo test held::`.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use harness::contract::Contract;
use harness::load::{IdleConnections, Outcome, Recorder, enough_descriptors};
use harness::server::{LaunchSpec, Launcher, Server};
use libtest_mimic::{Completion, Failed};
use servers::{Capacity, Limits, OverloadPolicy, Service};

use crate::common::Test;

/// Clients that are held, where the server takes so many.
const CLIENTS: usize = 10_000;

/// A pattern that takes fewer by design is not asked to hold many.
const LEAST: usize = 5_000;

/// How long a client too many waits for its line.
const PATIENCE: Duration = Duration::from_secs(5);

/// Each takes both CPUs, and half the ports that clients are given.
pub(crate) fn tests() -> Vec<Test> {
    let launcher = Launcher::new(env!("CARGO_BIN_EXE_harness"));
    servers::servers()
        .filter(|server| server.service == Service::Echo && takes_on_thousands(server))
        .map(|server| {
            let launcher = launcher.clone();
            let name = format!("{server}::held");
            Test::ignorable(name, move || held(&launcher, &server))
        })
        .collect()
}

fn takes_on_thousands(server: &servers::Server) -> bool {
    matches!(server.pattern.capacity, Capacity::Limited { default, .. } if default >= LEAST)
}

fn held(launcher: &Launcher, server: &servers::Server) -> Result<Completion, Failed> {
    if let Some(reason) = server.pattern.unavailable() {
        return Ok(Completion::ignored_with(reason));
    }
    let spec = LaunchSpec::builtin(launcher, server, &Limits::default())?;
    let clients = spec.contract.capacity.map_or(CLIENTS, |capacity| capacity.min(CLIENTS));
    if clients < LEAST {
        return Ok(Completion::ignored_with(format!(
            "for want of descriptors it serves {clients} clients (ulimit -n)"
        )));
    }
    if let Err(reason) = enough_descriptors(clients) {
        return Ok(Completion::ignored_with(reason));
    }

    let running = launcher.launch(&spec)?;
    let before = running.process.holdings().anonymous_bytes;
    let mut recorder = Recorder::new();
    let mut herd =
        IdleConnections::connect(running.address, server.service, clients, &mut recorder, &|| {
            true
        })?;
    all_answered("on connecting", &herd, &recorder, clients, &running)?;

    let mut recorder = Recorder::new();
    herd.ask_all(&mut recorder, &|| true)?;
    all_answered("with all connected", &herd, &recorder, clients, &running)?;
    let holdings = running.process.holdings();
    if holdings.descriptors < clients {
        return Err(format!("it has {holdings:?}, and {clients} clients").into());
    }
    let each = holdings.anonymous_bytes.saturating_sub(before) / clients as u64;
    eprintln!("{each} bytes of memory for each of {clients} clients");

    one_more_is_told(&spec.contract, clients, &running)?;
    Ok(Completion::Completed)
}

/// Every client that there should be is connected, and got its own answer.
fn all_answered(
    when: &str,
    herd: &IdleConnections,
    recorder: &Recorder,
    clients: usize,
    running: &Server,
) -> Result<(), Failed> {
    let answered = recorder.current().outcomes.get(Outcome::Answered);
    if answered == clients as u64 && herd.living() == clients as u64 {
        return Ok(());
    }
    Err(format!(
        "{when}, {answered} of {clients} were answered: {:?}; connections: {:?}; it wrote: {}",
        recorder.current().outcomes,
        herd.connection_outcomes(),
        running.process.log()
    )
    .into())
}

fn one_more_is_told(contract: &Contract, clients: usize, running: &Server) -> Result<(), Failed> {
    if contract.when_full != Some(OverloadPolicy::Busy) || contract.capacity != Some(clients) {
        return Ok(());
    }
    let mut one_more = TcpStream::connect_timeout(&running.address, PATIENCE)?;
    one_more.set_read_timeout(Some(PATIENCE))?;
    let mut told = Vec::new();
    one_more.read_to_end(&mut told)?;
    if contract.is_busy(&told) {
        return Ok(());
    }
    Err(format!("one client too many was told {:?}", String::from_utf8_lossy(&told)).into())
}
