//! # A listener and a loop for each core, by SO_REUSEPORT
//!
//! Each worker has a listening socket of its own on the same port, and the kernel deals clients to
//! them by a hash of both addresses and ports: two connections of one host may go to different
//! workers. From there on the workers share nothing but the count of clients, which changes when one
//! comes or goes.
//!
//! Used by: Envoy; nginx (`listen … reuseport`); HAProxy (`shards`).
//!
//! Good for: many short connections on many cores.
//!
//! Breaks: where a worker stalls: the clients that are dealt to it wait while others are idle. With
//! few clients the hash is uneven. A listener that is closed resets those in its queue, unless
//! `net.ipv4.tcp_migrate_req` is set.
//!
//! Source: socket(7), SO_REUSEPORT, since Linux 3.9; Kerrisk, *The SO_REUSEPORT socket option*,
//! LWN.net, 2013.

use std::io;

use nix::sys::epoll::EpollFlags;

use super::epoll_level;
use crate::blocking::threads::{self, Ready};
use crate::config::Config;
use crate::event_loop::{Acceptor, drain};
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Unit, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "reuseport",
    summary: "a listener and a loop for each core; the kernel deals by hash",
    family: Family::Loops,
    stevens: &[],
    used_by: "Envoy, nginx (reuseport), HAProxy (shards)",
    workers: Workers::PerCore(Unit::Thread),
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
    let lead = || Listener::listen_all(&listeners);
    let (clients, ()) = threads::each(&listeners, shutdown, work, lead)?;
    drop(listeners);
    drain(clients.into_iter().flatten());
    Ok(())
}
