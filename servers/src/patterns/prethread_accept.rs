//! # Prethreaded server
//!
//! A fixed set of threads is created at start, and each is an iterative server on the same
//! listening socket. For each connection, the kernel wakes the thread that has waited longest in
//! accept. Four workers got 50/50/50/50 of 200 connections (measured).
//!
//! Stevens puts a mutex around accept, for systems on which each connection wakes every waiting
//! thread. On Linux, a connection wakes one thread in accept, and the mutex would only move the
//! queue into the process.
//!
//! Used by: Varnish, in part: a worker thread accepts until it passes this role to another thread.
//!
//! Good for: a known number of clients, without a thread creation on each connection.
//!
//! Weakness: when all threads are busy, a further client waits in the accept queue, where the
//! server can neither see nor refuse it. Idle clients, slow clients (slow loris) and vanished peers
//! occupy a thread each.
//!
//! Source: Stevens, *UNIX Network Programming* volume 1, chapter 30, design 7 (with the mutex).

use std::io;

use crate::blocking::serve_connection;
use crate::blocking::threads::{self, Ready};
use crate::config::Config;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, WorkerKind, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "prethread-accept",
    summary: "a fixed set of threads shares one accept queue",
    family: Family::Threads,
    stevens: &[7],
    used_by: "Varnish (in part)",
    workers: Workers::Pool(WorkerKind::Thread, 64),
    capacity: Capacity::PerWorker,
    when_full: OverloadPolicy::Wait,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let work = |_, ready: Ready<'_>| {
        ready.wait()?;
        while let Some(client) = listener.accept()? {
            serve_connection(&client, config, listener.shutdown());
        }
        Ok(())
    };
    threads::each(0..config.workers, listener.shutdown(), work, || listener.listen())?;
    Ok(())
}
