//! # Thread per connection
//!
//! The main thread accepts, and each connection gets a thread that blocks on its behalf: the
//! kernel's scheduler is the event loop, and the code reads as if there were one client. The number
//! of threads is capped, because running out of threads or memory comes later and hurts more. A
//! connection over the limit gets a busy reply.
//!
//! Used by: MySQL, MariaDB and MongoDB by default.
//!
//! Good for: up to some thousand clients; libraries that block.
//!
//! Breaks: on memory, since an idle connection costs as much as a busy one; on the limit of
//! threads; on context switches when many clients are busy. Slow clients (slow loris) and vanished
//! peers hold a thread each: a peer that lost power sends no FIN, so without an idle timeout or TCP
//! keepalive its thread blocks for ever, and the cap turns it into a denial of service. An idle
//! timeout does not stop a slow loris, because each byte restarts it; that takes a deadline for the
//! whole request.
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
    summary: "one thread for each connection",
    family: Family::Threads,
    stevens: &[6],
    used_by: "MySQL, MariaDB, MongoDB",
    workers: Workers::PerClient(Unit::Thread),
    capacity: Capacity::Limited {
        default: 5000,
        max: 30_000,
        reason: "the kernel's default limit is 32,768 threads",
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
        // Accepting failed for good, so the connections must drain too.
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
        // Kept here too, to refuse the client if the kernel refuses a thread.
        let client = Arc::new(client);
        let served = Arc::clone(&client);
        let thread = thread::Builder::new().stack_size(STACK_SIZE).spawn_scoped(scope, move || {
            serve_connection(&served, config, shutdown);
            // Before the socket, so that the slot is free when the client sees the close.
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
