//! # Preforked processes with a mutex around accept
//!
//! As [`prefork-lock`](super::prefork_lock), with a mutex in memory that the processes share in
//! place of the lock on a file. It is a robust one: when its holder dies, the kernel wakes another
//! that waits for it.
//!
//! Used by: Apache's prefork with `Mutex pthread`; mod_wsgi's daemons with `WSGIAcceptMutex pthread`.
//!
//! Good for: what `prefork-lock` is good for, where most children are busy: a mutex that nobody
//! waits for is taken and given back without a system call.
//!
//! Breaks: as `prefork-lock`. While others wait for it, a client costs two system calls and a switch
//! here too. Were it not robust, a child killed in accept would stop the server. No signal ends the
//! wait for it: a child that is told to end meanwhile is ended by its handler.
//!
//! Source: Stevens, *UNIX Network Programming* volume 1, chapter 30, design 4;
//! pthread_mutexattr_setrobust(3).

use std::io;

use super::prefork_accept;
use crate::config::Config;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Unit, Workers};
use crate::processes::SharedMutex;
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "prefork-mutex",
    summary: "processes that take a mutex in shared memory around accept",
    family: Family::Processes,
    stevens: &[4],
    used_by: "Apache prefork (Mutex pthread), mod_wsgi",
    workers: Workers::Pool(Unit::Process, 64),
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
