//! # Fork per connection
//!
//! The concurrent server of the first Unix textbooks. The parent accepts and forks; the child
//! inherits the client's socket, serves it with calls that block, and ends. The parent closes its
//! own copy of the socket at once, or the client would never see the end, and waits for the
//! children that have ended, or they would stay as zombies.
//!
//! Used by: PostgreSQL (a backend for each session), sshd, inetd with `nowait`.
//!
//! Good for: clients who must not be able to harm each other: a crash, a leak, a change of user or
//! of directory ends with the one client that it was for.
//!
//! Breaks: on short connections, for each costs a fork, and the more the larger the parent has
//! grown.
//!
//! Source: Stevens, *UNIX Network Programming* volume 1, chapter 30, design 1.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use crate::blocking::serve_connection;
use crate::config::Config;
use crate::event_loop::LingeringConnections;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Unit, Workers};
use crate::processes::WorkerProcesses;
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "fork-per-connection",
    summary: "a process for each client",
    family: Family::Processes,
    stevens: &[1],
    used_by: "PostgreSQL, sshd, inetd",
    workers: Workers::PerClient(Unit::Process),
    capacity: Capacity::Limited {
        default: 256,
        most: 30_000,
        because: "the kernel's default limit is 32,768 processes",
    },
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    listener.set_nonblocking()?;
    let mut children = WorkerProcesses::new(listener.shutdown())?;
    let served = accept_all(&listener, config, &mut children);
    children.shut_down(listener);
    served
}

fn accept_all(
    listener: &Listener,
    config: &Config,
    children: &mut WorkerProcesses,
) -> io::Result<()> {
    let shutdown = listener.shutdown();
    let mut lingering = LingeringConnections::default();
    listener.listen()?;
    while !shutdown.is_requested() {
        lingering.wait(&[listener.as_fd(), shutdown.fd(), children.as_fd()])?;
        children.reap();
        let Some(client) = listener.try_accept()? else { continue };
        let is_full = children.active() >= config.max_connections && {
            // A child may have been done since, and this client have been told so by its end.
            children.reap();
            children.active() >= config.max_connections
        };
        let serve = || {
            serve_connection(&client, config, shutdown);
            Ok(())
        };
        if is_full || children.fork(&[client.as_raw_fd()], serve).is_err() {
            lingering.refuse(client);
        }
    }
    Ok(())
}
