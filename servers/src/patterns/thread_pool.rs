//! # Thread pool with a bounded queue
//!
//! One thread accepts and queues connections. A fixed set of threads takes connections from the
//! queue and serves each to its end. The server owns the queue, which is bounded. So the server can
//! measure the queue, and reject connections when it is full.
//!
//! Used by: Apache's worker MPM, in part: the listener accepts only when a worker is idle, so the
//! queue is never full.
//!
//! Good for: short connections: a bounded number of threads and a queue that can be monitored.
//!
//! Weakness: long-lived connections. A thread serves its connection to the end. If idle clients,
//! slow clients (slow loris) or vanished peers occupy all threads, the queue starves while the CPU
//! is idle.
//!
//! Source: Stevens, *UNIX Network Programming* volume 1, chapter 30, design 8.

use std::io;
use std::net::TcpStream;
use std::thread;

use crossbeam_channel::{Sender, bounded};

use crate::blocking::serve_connection;
use crate::blocking::threads::{self, Ready};
use crate::config::Config;
use crate::event_loop::LingeringClose;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, WorkerKind, Workers};
use crate::sockets::Listener;
use crate::sockets::{ConnectionLimit, Permit};

pub(super) const PATTERN: Pattern = Pattern {
    id: "thread-pool",
    summary: "one thread accepts into a bounded queue, a pool of threads serves",
    family: Family::Threads,
    stevens: &[8],
    used_by: "Apache worker MPM (in part)",
    workers: Workers::Pool(WorkerKind::Thread, 64),
    capacity: Capacity::PerWorkerAndQueue(64),
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let shutdown = listener.shutdown();
    let lingering_close = LingeringClose::new()?;
    let (queue, clients) = bounded::<(Permit, TcpStream)>(config.max_connections);
    thread::scope(|scope| {
        lingering_close.start(scope, shutdown)?;
        // The threads end when the accepting thread has dropped its sender and the queue is empty.
        let work = |_, ready: Ready<'_>| {
            ready.report()?;
            for (permit, client) in &clients {
                serve_connection(&client, config, shutdown);
                // The slot must be free when the client sees the close.
                drop(permit);
                drop(client);
            }
            Ok(())
        };
        threads::each(0..config.workers, shutdown, work, || {
            accept_all(&listener, config, queue, &lingering_close)
        })?;
        Ok(())
    })
}

fn accept_all(
    listener: &Listener,
    config: &Config,
    queue: Sender<(Permit, TcpStream)>,
    lingering_close: &LingeringClose,
) -> io::Result<()> {
    let limit = ConnectionLimit::new(config.max_connections);
    listener.listen()?;
    while let Some(client) = listener.accept()? {
        match limit.try_acquire() {
            // Never blocks: the queue has room for every permit.
            Some(permit) => drop(queue.send((permit, client))),
            None => lingering_close.reject(client),
        }
    }
    Ok(())
}
