//! # Tokio, multi-thread runtime
//!
//! One task per connection, resumed by any idle thread of a pool: an M:N scheduler. Each thread has
//! a run queue, and a thread whose queue is empty steals half of the tasks of another queue.
//!
//! A task may resume on a different thread, so everything that it keeps across an await must be
//! `Send`, and shared data needs an `Arc`. One thread of the pool at a time waits in epoll for all
//! sockets. The accepting thread is not part of the pool.
//!
//! Used by: Pingora; Linkerd's proxy with several cores; Go's net/http, whose goroutines are
//! scheduled in the same way.
//!
//! Good for: many connections whose requests differ in cost: idle threads take over tasks.
//!
//! Weakness: small requests, which cost less than waking threads and stealing tasks.
//!
//! Source: the documentation of `tokio::runtime`; Blumofe and Leiserson, *Scheduling Multithreaded
//! Computations by Work Stealing*, FOCS 1994.

use std::io;
use std::sync::Arc;

use tokio::runtime::Builder;

use crate::config::Config;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, WorkerKind, Workers};
use crate::sockets::Listener;
use crate::tasks::accept_all;
use crate::tasks::serve_connection;

pub(super) const PATTERN: Pattern = Pattern {
    id: "tokio-multi-thread",
    summary: "async tasks on a work-stealing pool of threads",
    family: Family::Tasks,
    stevens: &[],
    used_by: "Pingora, Linkerd's proxy (several cores), Go net/http",
    workers: Workers::PerCore(WorkerKind::Thread),
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
            // The slot must be free when the client sees the close.
            drop(permit);
            drop(client);
        });
    }))
}
