//! # io_uring per core
//!
//! Thread per core, shared nothing: each thread has a ring, a listener and its own connections, as
//! if it were a server by itself. The kernel distributes connections to the listeners by a hash of
//! addresses and ports (SO_REUSEPORT).
//!
//! A connection never changes its thread, so nothing is locked, and only the connection count is
//! shared. The downside is the same fact: an idle thread cannot help one that got the busy
//! connections. Seastar, another shared-nothing framework, does not use SO_REUSEPORT for that
//! reason: one shard accepts and hands each socket to the least loaded shard.
//!
//! Used by: the runtimes Monoio and Glommio.
//!
//! Good for: all cores at their limit, with many connections of similar load.
//!
//! Breaks: when few connections do most of the work; and wherever io_uring does.
//!
//! Source: Enberg and others, *The Impact of Thread-per-Core Architecture on Application Tail
//! Latency*, 2019.

use std::io;

use super::uring;
use crate::blocking::threads::{self, Ready};
use crate::config::Config;
use crate::event_loop::{Acceptor, drain};
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Unit, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "uring-per-core",
    summary: "one io_uring and listener for each worker, nothing shared",
    family: Family::Rings,
    stevens: &[],
    used_by: "Monoio, Glommio",
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
    // The ring is created in its thread, because only one thread may submit to it.
    let work = |listener: &Listener, ready: Ready<'_>| {
        uring::run(listener, acceptor.clone(), || ready.wait())
    };
    let lead = || Listener::listen_all(&listeners);
    let (clients, ()) = threads::each(&listeners, shutdown, work, lead)?;
    drop(listeners);
    drain(clients.into_iter().flatten());
    Ok(())
}
