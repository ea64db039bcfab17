//! Runs the installed reference load generators against a server that echoes bytes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use harness::calibrate::{
    REFERENCE_GENERATORS, ReferenceError, ReferenceGenerator, ReferenceLoad, run,
};
use libtest_mimic::{Completion, Failed};

use crate::common::Test;

const CONNECTIONS: usize = 3;

pub(crate) fn tests() -> Vec<Test> {
    let required = std::env::var_os("CI").is_some();
    let mut tests = Vec::new();
    for reference in REFERENCE_GENERATORS {
        for depth in [1, 16] {
            let name = format!("{}::at_depth_{depth}::sends_only_its_own_request", reference.name);
            let test = move || sends_only_its_own_request(reference, depth, required);
            tests.push(Test::ignorable(name, test));
        }
    }
    tests
}

fn sends_only_its_own_request(
    reference: &ReferenceGenerator,
    depth: usize,
    required: bool,
) -> Result<Completion, Failed> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (sender, first_bytes) = channel();
    // The thread serves until this process exits.
    thread::spawn(|| serve(listener, sender));
    let duration = Duration::from_millis(300);
    let load = ReferenceLoad { connections: CONNECTIONS, depth, duration, processor: None };
    let run = match run(reference, address, load) {
        Err(error @ ReferenceError::NotInstalled(..)) if !required => {
            return Ok(Completion::ignored_with(format!("not run: {error}")));
        }
        other => other?,
    };
    if run.requests == 0 || run.errors != 0 || run.per_s <= 0.0 || run.cpu_ns_per_request <= 0.0 {
        return Err(format!("{run:?}").into());
    }
    let expected = reference.request.repeat(COMPARED / reference.request.len() + 1);
    let mut loaded = 0;
    while loaded < CONNECTIONS {
        let received = first_bytes.recv_timeout(Duration::from_secs(20))?;
        if !received.is_empty() && expected.starts_with(&received) {
            loaded += 1;
        } else if !received.is_empty() && !received.starts_with(b"*3\r\n$6\r\nCONFIG\r\n") {
            // redis-benchmark also asks for the server's configuration.
            return Err(String::from_utf8_lossy(&received).into());
        }
    }
    Ok(Completion::Completed)
}

/// Number of bytes at the start of each connection that the test compares.
const COMPARED: usize = 4096;

fn serve(listener: TcpListener, first_bytes: Sender<Vec<u8>>) {
    for client in listener.incoming().flatten() {
        let first_bytes = first_bytes.clone();
        thread::spawn(move || first_bytes.send(echo(client)));
    }
}

/// Echoes until the client disconnects. Returns the first `COMPARED` bytes of the client.
fn echo(mut client: TcpStream) -> Vec<u8> {
    let mut buffer = [0; COMPARED];
    let mut first_bytes = Vec::new();
    let _ = client.set_nodelay(true);
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        let missing = COMPARED - first_bytes.len();
        first_bytes.extend_from_slice(&buffer[..count.min(missing)]);
        if client.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    first_bytes
}
