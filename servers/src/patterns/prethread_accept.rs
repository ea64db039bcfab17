//! # Prethreaded server
//!
//! As many threads as there will ever be are made beforehand, and each of them is an iterative
//! server on the one listening socket. The kernel deals clients to them: it wakes one of those
//! that block in accept, the one that has waited longest.
//!
//! The book has a mutex around accept, for systems on which every waiting thread would wake up for
//! each client. On Linux a blocking accept wakes one, and the mutex would only move the queue into
//! the process.
//!
//! Used by: Varnish in part: a worker thread accepts until it hands that on to another.
//!
//! Good for: a known number of clients, and no thread to make when one comes.
//!
//! Breaks: at one client more than threads: it waits in the kernel's queue, where the server can
//! neither see nor refuse it. Idle clients pin their threads.
//!
//! Source: Stevens, *UNIX Network Programming* volume 1, chapter 30, design 7, which has the mutex.

use std::io;

use crate::blocking::serve_connection;
use crate::blocking::threads::{self, Ready};
use crate::config::Config;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Unit, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "prethread-accept",
    summary: "threads made beforehand share one accept",
    family: Family::Threads,
    stevens: &[7],
    used_by: "Varnish (in part)",
    workers: Workers::Pool(Unit::Thread, 64),
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
