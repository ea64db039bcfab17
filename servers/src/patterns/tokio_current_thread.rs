//! # Tokio, on the current thread
//!
//! A task for each client, on the thread that called: a coroutine, which the compiler turns into a
//! state machine. Where a thread would block, a task gives the thread back to the runtime, an event
//! loop over edge-triggered epoll, which resumes the tasks whose sockets are ready.
//!
//! The code reads as if each client had a thread, and costs what an event loop costs. A task that
//! is never elsewhere needs nothing that can be sent or shared: the configuration is counted by an
//! `Rc`. A task that does not await holds up all the others.
//!
//! Used by: Deno, whose scripts have one thread; Linkerd's proxy where it has one core.
//!
//! Good for: many clients that mostly wait; one such runtime per core where clients need nothing
//! of each other.
//!
//! Breaks: on a long calculation or a call that blocks, for every client at once.
//!
//! Source: the documentation of `tokio::runtime`; for the idea, von Behren and others, *Capriccio:
//! Scalable Threads for Internet Services*, SOSP 2003.

use std::io;
use std::rc::Rc;

use tokio::runtime::{Builder, LocalOptions};
use tokio::task::spawn_local;

use crate::config::Config;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Workers};
use crate::sockets::Listener;
use crate::tasks::accept_all;
use crate::tasks::serve_connection;

pub(super) const PATTERN: Pattern = Pattern {
    id: "tokio-current-thread",
    summary: "async tasks on one thread",
    family: Family::Tasks,
    stevens: &[],
    used_by: "Deno, Linkerd (on one core)",
    workers: Workers::One,
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let shutdown = listener.shutdown();
    let max_connections = config.max_connections;
    let config = Rc::new(config.clone());
    runtime.block_on(accept_all(listener, max_connections, |mut client, permit| {
        let config = Rc::clone(&config);
        spawn_local(async move {
            serve_connection(&mut client, &config, shutdown).await;
            // In this order the place is free by the time that the client sees the end.
            drop(permit);
            drop(client);
        });
    }))
}
