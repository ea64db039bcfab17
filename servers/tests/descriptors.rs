//! Accepting in an async runtime where descriptors run out: a process of its own, for the limit is
//! one of the process.

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

/// Lets this process open no descriptor more than it has.
fn use_up_the_descriptors() {
    let lowest_free = File::open("/dev/null").expect("a descriptor").as_raw_fd() as u64;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, lowest_free, hard).expect("a lower limit");
}

#[test]
fn where_descriptors_run_out_every_client_that_waits_is_turned_away() {
    let listener = Listener::bind("127.0.0.1", 0, 16).expect("a free port");
    listener.listen().expect("it listens");
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (address, shutdown) = (listener.address(), listener.shutdown());
    // All of them wait before anybody accepts: no later client makes the runtime look again.
    let mut clients: Vec<TcpStream> = (0..CLIENTS)
        .map(|_| TcpStream::connect(address).expect("there is room in the queue"))
        .collect();
    use_up_the_descriptors();
    let server = thread::spawn(move || {
        runtime.block_on(accept_all(listener, CLIENTS, |_, _| panic!("no descriptor is left")))
    });
    for client in &mut clients {
        client.set_read_timeout(Some(Duration::from_secs(20))).expect("it can have one");
        let mut told = String::new();
        client.read_to_string(&mut told).expect("it is not left waiting");
        assert!(told.starts_with("error: busy"), "{told}");
    }
    shutdown.request();
    server.join().expect("no panic").expect("the listener is as it was");
}
