//! # io_uring per core
//!
//! Thread per core, shared nothing: each thread has a ring, a listener and separate connections,
//! like an independent server. The kernel distributes connections to the listeners by a hash of
//! addresses and ports (SO_REUSEPORT).
//!
//! A connection never changes its thread, so nothing is locked, and only the connection count is
//! shared. For the same reason, an idle thread cannot help a thread that got the busy connections.
//! Therefore Seastar, another shared-nothing framework, does not use SO_REUSEPORT: one shard
//! accepts and passes each socket to the least loaded shard.
//!
//! Used by: the runtimes Monoio and Glommio.
//!
//! Good for: high load on all cores, from many connections of similar load.
//!
//! Weakness: load imbalance when few connections do most of the work; and the weaknesses of
//! [`uring`](super::uring).
//!
//! Source: Enberg and others, *The Impact of Thread-per-Core Architecture on Application Tail
//! Latency*, 2019.

use std::io;

use super::uring;
use crate::blocking::threads::{self, Ready};
use crate::config::Config;
use crate::event_loop::{Acceptor, drain};
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, WorkerKind, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "uring-per-core",
    summary: "one io_uring and listener for each worker, nothing shared",
    family: Family::Rings,
    stevens: &[],
    used_by: "Monoio, Glommio",
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
    // The ring is created in its thread, because only one thread may submit to it.
    let work = |listener: &Listener, ready: Ready<'_>| {
        uring::run(listener, acceptor.clone(), || ready.wait())
    };
    let listen = || Listener::listen_all(&listeners);
    let (clients, ()) = threads::each(&listeners, shutdown, work, listen)?;
    drop(listeners);
    drain(clients.into_iter().flatten());
    Ok(())
}
