//! # Thread per connection
//!
//! The main thread accepts, and each connection gets a thread that makes blocking calls. The
//! kernel's scheduler takes the place of an event loop, and the code is as simple as for one
//! client. The number of threads is limited, so that the machine does not run out of threads or
//! memory. A connection over the limit gets a busy line.
//!
//! Used by: MySQL, MariaDB and MongoDB by default.
//!
//! Good for: up to some thousand clients; libraries that block.
//!
//! Weakness: memory, since an idle connection costs as much as a busy one; the limit of threads;
//! context switches when many clients are busy. Slow clients (slow loris) and vanished peers occupy
//! a thread each. A peer that lost power sends no FIN: without an idle timeout or TCP keepalive,
//! its thread blocks for ever. Enough such peers use up the limit, which is a denial of service. An
//! idle timeout does not stop a slow loris, because each byte restarts it. Only a deadline for the
//! whole request does.
//!
//! Source: Stevens, *UNIX Network Programming* volume 1, chapter 30, design 6.

use std::io;
use std::sync::Arc;
use std::thread::{self, Scope};

use crate::blocking::{STACK_SIZE, serve_connection};
use crate::config::Config;
use crate::event_loop::LingeringClose;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, WorkerKind, Workers};
use crate::sockets::ConnectionLimit;
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "thread-per-connection",
    summary: "one thread for each connection",
    family: Family::Threads,
    stevens: &[6],
    used_by: "MySQL, MariaDB, MongoDB",
    workers: Workers::PerClient(WorkerKind::Thread),
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
        // The server can accept no more, so it must drain its connections.
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
            lingering_close.reject(client);
            continue;
        };
        // Shared with this thread, which rejects the client if no thread can be created.
        let client = Arc::new(client);
        let served = Arc::clone(&client);
        let thread = thread::Builder::new().stack_size(STACK_SIZE).spawn_scoped(scope, move || {
            serve_connection(&served, config, shutdown);
            // The slot must be free when the client sees the close.
            drop(permit);
            drop(served);
        });
        if thread.is_err()
            && let Some(client) = Arc::into_inner(client)
        {
            lingering_close.reject(client);
        }
    }
    Ok(())
}
