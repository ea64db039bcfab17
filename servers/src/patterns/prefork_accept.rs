//! # Preforked processes that share an accept
//!
//! WorkerProcesses are forked before anybody comes, and each blocks in accept on the one listening socket
//! that all inherit. The kernel gives a client to the child that has waited longest, and wakes no
//! other; that child serves it to its end and accepts again. The parent serves nobody: it replaces
//! children that die.
//!
//! Used by: PHP-FPM; Apache's prefork, where it listens on one socket.
//!
//! Good for: code that is not thread-safe, and an interpreter with one lock: no fork in a
//! client's way, and a child that crashes takes one client with it.
//!
//! Breaks: with more clients that stay than there are children: the next waits in the backlog,
//! where nothing tells it so.
//!
//! Source: Stevens, *UNIX Network Programming* volume 1, chapter 30, design 2.

use std::io;
use std::net::TcpStream;
use std::os::fd::RawFd;

use crate::blocking::serve_connection;
use crate::config::Config;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Unit, Workers};
use crate::processes::WorkerProcesses;
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "prefork-accept",
    summary: "processes that share one accept",
    family: Family::Processes,
    stevens: &[2],
    used_by: "PHP-FPM, Apache prefork",
    workers: Workers::Pool(Unit::Process, 64),
    capacity: Capacity::PerWorker,
    when_full: OverloadPolicy::Wait,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    run(listener, config, &[], Listener::accept)
}

/// Each child serves the client that `accept` gives it, and then the next. `accept` may use the
/// descriptors in `kept` beside the listener's.
pub(super) fn run(
    listener: Listener,
    config: &Config,
    kept: &[RawFd],
    accept: impl Fn(&Listener) -> io::Result<Option<TcpStream>>,
) -> io::Result<()> {
    let listener = listener.share();
    let shutdown = listener.shutdown();
    let mut children = WorkerProcesses::new(shutdown)?;
    let descriptors = [&listener.descriptors()[..], kept].concat();
    let served = children.maintain(
        config.workers,
        &descriptors,
        || listener.listen(),
        || {
            while let Some(client) = accept(&listener)? {
                serve_connection(&client, config, shutdown);
            }
            Ok(())
        },
    );
    children.shut_down(listener);
    served
}
