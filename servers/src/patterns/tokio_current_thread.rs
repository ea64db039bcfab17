//! # Tokio, current-thread runtime
//!
//! One task per connection, all on one thread. A task is a coroutine that the compiler turns into a
//! state machine. Where a thread would block, a task returns control to the runtime, an event loop
//! over edge-triggered epoll, which resumes the tasks whose sockets are ready.
//!
//! The code reads like a thread per connection, but a connection costs no more than in an event loop.
//! Tasks never leave the thread, so they need not be `Send`: they share the configuration through an `Rc`.
//!
//! Used by: Deno; Linkerd's proxy by default (on one core).
//!
//! Good for: many connections that mostly wait; one such runtime per core where connections are
//! independent.
//!
//! Weakness: long computations and blocking calls, which delay every client: a task that does not
//! await never yields.
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
    used_by: "Deno, Linkerd's proxy (one core)",
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
            // The slot must be free when the client sees the close.
            drop(permit);
            drop(client);
        });
    }))
}
