//! # Fork per connection
//!
//! The parent accepts and forks; the child inherits the connection, serves it with blocking calls,
//! and exits. The parent closes its copy of the descriptor at once, because the client sees no FIN
//! while a copy is open. The parent also reaps exited children, or they would remain as zombies.
//!
//! Used by: PostgreSQL (a backend for each session), sshd, inetd with `nowait`.
//!
//! Good for: isolation: a crash, a leak or a change of user or directory affects one client.
//!
//! Weakness: short connections, which cost a fork each; fork gets slower as the parent's address
//! space grows. A slow client (slow loris) or a vanished peer holds a whole process.
//!
//! Source: Stevens, *UNIX Network Programming* volume 1, chapter 30, design 1.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use crate::blocking::serve_connection;
use crate::config::Config;
use crate::event_loop::LingeringConnections;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, WorkerKind, Workers};
use crate::processes::WorkerProcesses;
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "fork-per-connection",
    summary: "forks a process for each connection",
    family: Family::Processes,
    stevens: &[1],
    used_by: "PostgreSQL, sshd, inetd",
    workers: Workers::PerClient(WorkerKind::Process),
    capacity: Capacity::Limited {
        default: 256,
        max: 30_000,
        reason: "the kernel's default limit is 32,768 processes",
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
            // A child may have finished after `reap`, and its client may have seen the close and
            // connected again.
            children.reap();
            children.active() >= config.max_connections
        };
        let serve = || {
            serve_connection(&client, config, shutdown);
            Ok(())
        };
        if is_full || children.fork(&[client.as_raw_fd()], serve).is_err() {
            lingering.reject(client);
        }
    }
    Ok(())
}
