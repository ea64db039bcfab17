//! # Tokio, on many threads
//!
//! A task for each client, resumed by whichever of some threads is free: an M:N scheduler. Each
//! thread has a queue of tasks of its own, and one that has run dry steals half of another's.
//!
//! A task may wake up on another thread than it fell asleep on, so all that it keeps across an
//! await must be `Send`, and what it shares needs an `Arc`. One thread at a time waits in epoll for
//! all of them; the thread that accepts is none of them.
//!
//! Used by: Linkerd's proxy, Pingora; Go's scheduler is of the same kind.
//!
//! Good for: many clients whose requests differ in cost: a thread that has nothing to do takes
//! tasks from one that has many.
//!
//! Breaks: for answers as light as these, on what waking and stealing costs.
//!
//! Source: the documentation of `tokio::runtime`; Blumofe and Leiserson, *Scheduling Multithreaded
//! Computations by Work Stealing*, FOCS 1994.

use std::io;
use std::sync::Arc;

use tokio::runtime::Builder;

use crate::config::Config;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Unit, Workers};
use crate::sockets::Listener;
use crate::tasks::accept_all;
use crate::tasks::serve_connection;

pub(super) const PATTERN: Pattern = Pattern {
    id: "tokio-multi-thread",
    summary: "async tasks, threads steal them from each other",
    family: Family::Tasks,
    stevens: &[],
    used_by: "Linkerd's proxy, Pingora",
    workers: Workers::PerCore(Unit::Thread),
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let runtime =
        Builder::new_multi_thread().worker_threads(config.workers).enable_all().build()?;
    let shutdown = listener.shutdown();
    let max_connections = config.max_connections;
    let config = Arc::new(config.clone());
    runtime.block_on(accept_all(listener, max_connections, |mut client, permit| {
        let config = Arc::clone(&config);
        tokio::spawn(async move {
            serve_connection(&mut client, &config, shutdown).await;
            // In this order the place is free by the time that the client sees the end.
            drop(permit);
            drop(client);
        });
    }))
}
