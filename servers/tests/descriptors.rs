//! Tests accepting in an async runtime without free descriptors. A separate test program, because
//! the descriptor limit applies to the whole process.

use std::fs::File;
use std::io::Read;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use servers::Listener;
use servers::tasks::accept_all;
use tokio::runtime::Builder;

const CLIENTS: usize = 5;

/// Lowers the descriptor limit so that no descriptor is free.
fn exhaust_descriptors() {
    let lowest_free = File::open("/dev/null").expect("a descriptor").as_raw_fd() as u64;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, lowest_free, hard).expect("a lower limit");
}

#[test]
fn without_descriptors_every_queued_client_is_rejected() {
    let listener = Listener::bind("127.0.0.1", 0, 16).expect("a free port");
    listener.listen().expect("listening");
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (address, shutdown) = (listener.address(), listener.shutdown());
    // All clients are queued before the first accept, so no later client causes an event.
    let mut clients: Vec<TcpStream> =
        (0..CLIENTS).map(|_| TcpStream::connect(address).expect("a queued connection")).collect();
    exhaust_descriptors();
    let server = thread::spawn(move || {
        runtime.block_on(accept_all(listener, CLIENTS, |_, _| panic!("no descriptor is left")))
    });
    for client in &mut clients {
        client.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let mut reply = String::new();
        client.read_to_string(&mut reply).expect("a reply and a clean close");
        assert!(reply.starts_with("error: busy"), "{reply}");
    }
    shutdown.request();
    server.join().expect("no panic").expect("no error");
}
