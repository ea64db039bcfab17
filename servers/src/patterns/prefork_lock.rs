//! # Preforked processes with a lock around accept
//!
//! As [`prefork-accept`](super::prefork_accept), but a child takes a lock before it accepts and
//! gives it back before it serves, so that at most one child waits in accept. Here it is a record
//! lock on a file without a name: the kernel gives it back when its holder dies.
//!
//! Used by: Postfix (`single_server`); Apache's prefork with `Mutex fcntl`, where it listens on several
//! sockets.
//!
//! Good for: systems whose accept wakes every process that waits in it, of which all but one wake
//! for nothing. Since 2.4 Linux wakes only one, so there the lock is history; it still has a use where
//! children wait by poll or epoll for several listeners, which wakes them all.
//!
//! Breaks: as `prefork-accept`, and each client costs two system calls and a switch more.
//!
//! Source: Stevens, *UNIX Network Programming* volume 1, chapter 30, design 3. Design 4 is
//! [`prefork-mutex`](super::prefork_mutex).

use std::io;
use std::os::fd::AsRawFd;

use super::prefork_accept;
use crate::config::Config;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Unit, Workers};
use crate::processes::FileLock;
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "prefork-lock",
    summary: "processes that take a file lock around accept",
    family: Family::Processes,
    stevens: &[3],
    used_by: "Postfix, Apache prefork (Mutex fcntl)",
    workers: Workers::Pool(Unit::Process, 64),
    capacity: Capacity::PerWorker,
    when_full: OverloadPolicy::Wait,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let lock = FileLock::new()?;
    prefork_accept::run(listener, config, &[lock.as_raw_fd()], |listener| {
        lock.hold(listener.shutdown(), || listener.accept())
    })
}
