//! # io_uring per core
//!
//! Thread per core, nothing shared: each thread has a ring, a listener and clients of its own,
//! as if it were a server by itself. The kernel deals clients to the listeners by a hash of their
//! addresses and ports (SO_REUSEPORT).
//!
//! No client ever changes its thread, so nothing is locked, and nothing is shared but the count of
//! clients. It is also why a thread that drew the busy clients is not helped by one that has none.
//!
//! Used by: the runtime Monoio; Seastar, and so ScyllaDB, for the architecture (its network calls are
//! of other kinds too).
//!
//! Good for: every processor at its limit, with clients that are many and alike.
//!
//! Breaks: where few clients do most of the work; and where io_uring does.
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
    summary: "a ring and a listener for each processor",
    family: Family::Rings,
    stevens: &[],
    used_by: "Monoio, Seastar (the architecture)",
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
    // A ring is its thread's alone, and so it is made there.
    let work = |listener: &Listener, ready: Ready<'_>| {
        uring::run(listener, acceptor.clone(), || ready.wait())
    };
    let lead = || Listener::listen_all(&listeners);
    let (clients, ()) = threads::each(&listeners, shutdown, work, lead)?;
    drop(listeners);
    drain(clients.into_iter().flatten());
    Ok(())
}
