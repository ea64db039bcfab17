//! # Thread per connection
//!
//! The main thread accepts, and each client has a thread that blocks on its behalf: the scheduler
//! is the event loop, and code reads as if there were one client. The number of threads is capped,
//! because the kernel's refusal of a thread comes later and hurts more; a client beyond the cap is
//! told that the server is busy.
//!
//! Used by: MySQL and MariaDB by default.
//!
//! Good for: up to some thousand clients; libraries that block.
//!
//! Breaks: on memory, for an idle client costs as much as a busy one, and on the limit of threads; on
//! switches between threads where many clients are busy.
//!
//! Source: Stevens, *UNIX Network Programming* volume 1, chapter 30, design 6.

use std::io;
use std::sync::Arc;
use std::thread::{self, Scope};

use crate::blocking::{STACK_SIZE, serve_connection};
use crate::config::Config;
use crate::event_loop::LingeringClose;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Unit, Workers};
use crate::sockets::ConnectionLimit;
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "thread-per-connection",
    summary: "a thread for each client",
    family: Family::Threads,
    stevens: &[6],
    used_by: "MySQL, MariaDB",
    workers: Workers::PerClient(Unit::Thread),
    capacity: Capacity::Limited {
        default: 5000,
        most: 30_000,
        because: "the kernel's default limit is 32,768 threads",
    },
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let shutdown = listener.shutdown();
    let lingering_close = LingeringClose::new()?;
    thread::scope(|scope| {
        lingering_close.start(scope, shutdown)?;
        // Where nothing more can be accepted, the clients that are served are to end too.
        accept_all(scope, &listener, config, &lingering_close).inspect_err(|_| shutdown.request())
    })
}

fn accept_all<'s>(
    scope: &'s Scope<'s, '_>,
    listener: &Listener,
    config: &'s Config,
    lingering_close: &LingeringClose,
) -> io::Result<()> {
    let shutdown = listener.shutdown();
    let limit = ConnectionLimit::new(config.max_connections);
    listener.listen()?;
    while let Some(client) = listener.accept()? {
        let Some(permit) = limit.try_acquire() else {
            lingering_close.refuse(client);
            continue;
        };
        // The kernel may refuse a thread, and the client is still to be told.
        let client = Arc::new(client);
        let served = Arc::clone(&client);
        let thread = thread::Builder::new().stack_size(STACK_SIZE).spawn_scoped(scope, move || {
            serve_connection(&served, config, shutdown);
            // In this order the place is free by the time that the client sees the end.
            drop(permit);
            drop(served);
        });
        if thread.is_err()
            && let Some(client) = Arc::into_inner(client)
        {
            lingering_close.refuse(client);
        }
    }
    Ok(())
}
