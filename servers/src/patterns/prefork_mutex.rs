//! # Preforked processes with a mutex around accept
//!
//! Like [`prefork-lock`](super::prefork_lock), with a mutex in shared memory instead of the file
//! lock. The mutex is robust: when its holder dies, the kernel wakes the next waiter, which gets
//! EOWNERDEAD and recovers the mutex.
//!
//! Used by: Apache's prefork MPM with `Mutex pthread`; mod_wsgi's daemons with `WSGIAcceptMutex
//! pthread`.
//!
//! Good for: the uses of `prefork-lock`, if most children are busy: an uncontended mutex needs no
//! system call.
//!
//! Weakness: that of `prefork-lock`; under contention, a connection also costs two system calls and
//! a context switch. Without robustness, a child killed in accept would stop the server. No signal
//! interrupts the wait for the mutex, so the signal handler exits a child that must stop while it
//! waits.
//!
//! Source: Stevens, *UNIX Network Programming* volume 1, chapter 30, design 4;
//! pthread_mutexattr_setrobust(3).

use std::io;

use super::prefork_accept;
use crate::config::Config;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, WorkerKind, Workers};
use crate::processes::SharedMutex;
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "prefork-mutex",
    summary: "preforked processes take a mutex in shared memory around accept",
    family: Family::Processes,
    stevens: &[4],
    used_by: "Apache prefork (Mutex pthread), mod_wsgi",
    workers: Workers::Pool(WorkerKind::Process, 64),
    capacity: Capacity::PerWorker,
    when_full: OverloadPolicy::Wait,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let mutex = SharedMutex::new()?;
    prefork_accept::run(listener, config, &[], |listener| {
        mutex.hold(listener.shutdown(), || listener.accept())
    })
}
