//! Other load generators, such as are installed, against a server that echoes bytes.

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
    for rival in REFERENCE_GENERATORS {
        for depth in [1, 16] {
            let name = format!("{}::at_depth_{depth}::sends_its_request_and_no_other", rival.name);
            let test = move || sends_its_request_and_no_other(rival, depth, required);
            tests.push(Test::ignorable(name, test));
        }
    }
    tests
}

fn sends_its_request_and_no_other(
    rival: &ReferenceGenerator,
    depth: usize,
    required: bool,
) -> Result<Completion, Failed> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (tell, told) = channel();
    // It serves for as long as this process lasts.
    thread::spawn(|| serve(listener, tell));
    let duration = Duration::from_millis(300);
    let load = ReferenceLoad { connections: CONNECTIONS, depth, duration, processor: None };
    let run = match run(rival, address, load) {
        Err(error @ ReferenceError::NotInstalled(..)) if !required => {
            return Ok(Completion::ignored_with(format!("not run: {error}")));
        }
        other => other?,
    };
    if run.requests == 0 || run.errors != 0 || run.per_s <= 0.0 || run.cpu_ns_per_request <= 0.0 {
        return Err(format!("{run:?}").into());
    }
    let expected = rival.request.repeat(WATCHED / rival.request.len() + 1);
    let mut loaded = 0;
    while loaded < CONNECTIONS {
        let beginning = told.recv_timeout(Duration::from_secs(20))?;
        if !beginning.is_empty() && expected.starts_with(&beginning) {
            loaded += 1;
        } else if !beginning.is_empty() && !beginning.starts_with(b"*3\r\n$6\r\nCONFIG\r\n") {
            return Err(String::from_utf8_lossy(&beginning).into());
        }
    }
    Ok(Completion::Completed)
}

/// So many bytes of each connection are told.
const WATCHED: usize = 4096;

fn serve(listener: TcpListener, tell: Sender<Vec<u8>>) {
    for client in listener.incoming().flatten() {
        let tell = tell.clone();
        thread::spawn(move || tell.send(echo(client)));
    }
}

/// Until the client leaves; returns the first bytes that came.
fn echo(mut client: TcpStream) -> Vec<u8> {
    let mut buffer = [0; WATCHED];
    let mut beginning = Vec::new();
    let _ = client.set_nodelay(true);
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        let missing = WATCHED - beginning.len();
        beginning.extend_from_slice(&buffer[..count.min(missing)]);
        if client.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    beginning
}
