//! # Listener and event loop per core, with SO_REUSEPORT
//!
//! Each worker has a separate listening socket on the same port. For each connection, the kernel
//! selects a socket by a hash of both addresses and ports, so two connections from one host may
//! reach different workers. The workers share only the connection count.
//!
//! Used by: Envoy; nginx (`listen … reuseport`); HAProxy with `shards by-thread` (its default is
//! one socket for each thread group, with connections redistributed between threads).
//!
//! Good for: many short connections on many cores.
//!
//! Weakness: when a worker stalls, the connections hashed to its queue wait while other workers are
//! idle. With few clients the hash is uneven. Closing a listener resets the connections in its
//! queue unless `net.ipv4.tcp_migrate_req` is set.
//!
//! Source: socket(7), SO_REUSEPORT, since Linux 3.9; Kerrisk, *The SO_REUSEPORT socket option*,
//! LWN.net, 2013; Cloudflare, *The sad state of Linux socket balancing*.

use std::io;

use nix::sys::epoll::EpollFlags;

use super::epoll_level;
use crate::blocking::threads::{self, Ready};
use crate::config::Config;
use crate::event_loop::{Acceptor, drain};
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, WorkerKind, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "reuseport",
    summary: "one listener and event loop for each worker, with SO_REUSEPORT",
    family: Family::Loops,
    stevens: &[],
    used_by: "Envoy, nginx (reuseport), HAProxy (shards by-thread)",
    workers: Workers::PerCore(WorkerKind::Thread),
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let shutdown = listener.shutdown();
    let acceptor = Acceptor::new(config);
    let listeners = listener.with_nonblocking_clients().into_reuseport_group(config.workers)?;
    let work = |listener: &Listener, ready: Ready<'_>| {
        listener.set_nonblocking()?;
        let interest = EpollFlags::EPOLLIN;
        epoll_level::run(listener, interest, acceptor.clone(), shutdown, || ready.wait())
    };
    let listen = || Listener::listen_all(&listeners);
    let (clients, ()) = threads::each(&listeners, shutdown, work, listen)?;
    drop(listeners);
    drain(clients.into_iter().flatten());
    Ok(())
}
