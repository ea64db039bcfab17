//! # Preforked processes that share an accept queue
//!
//! Children are forked before the first client connects, and all block in accept on the listening
//! socket that they inherited. For each connection, the kernel wakes the child that has waited
//! longest. The child serves the connection to its end and accepts again. The parent serves no
//! client: it replaces children that die.
//!
//! Used by: PHP-FPM; Apache's prefork MPM with one listening socket; Unicorn and Gunicorn's sync
//! workers.
//!
//! Good for: code that is not thread-safe, interpreters with a global lock, isolation without a
//! fork on each connection.
//!
//! Weakness: more long-lived clients than children. A further client waits in the accept queue,
//! where the server can neither see nor refuse it. Slow clients (slow loris) exhaust the pool with
//! one connection per child. Therefore such servers run behind a buffering proxy.
//!
//! Source: Stevens, *UNIX Network Programming* volume 1, chapter 30, design 2.

use std::io;
use std::net::TcpStream;
use std::os::fd::RawFd;

use crate::blocking::serve_connection;
use crate::config::Config;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, WorkerKind, Workers};
use crate::processes::WorkerProcesses;
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "prefork-accept",
    summary: "preforked processes share one accept queue",
    family: Family::Processes,
    stevens: &[2],
    used_by: "PHP-FPM, Apache prefork, Unicorn, Gunicorn (sync)",
    workers: Workers::Pool(WorkerKind::Process, 64),
    capacity: Capacity::PerWorker,
    when_full: OverloadPolicy::Wait,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    run(listener, config, &[], Listener::accept)
}

/// Runs children that serve each connection that `accept` returns. `accept` may use the listener's
/// descriptors and `kept_fds`.
pub(super) fn run(
    listener: Listener,
    config: &Config,
    kept_fds: &[RawFd],
    accept: impl Fn(&Listener) -> io::Result<Option<TcpStream>>,
) -> io::Result<()> {
    let listener = listener.share();
    let shutdown = listener.shutdown();
    let mut children = WorkerProcesses::new(shutdown)?;
    let descriptors = [&listener.descriptors()[..], kept_fds].concat();
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
