//! # Preforked processes with a lock around accept
//!
//! Like [`prefork-accept`](super::prefork_accept), but a child takes a lock before accept and
//! releases it before it serves, so at most one child blocks in accept. The lock is a record lock
//! (fcntl(2)) on an unnamed file; the kernel releases it when its holder dies.
//!
//! The pitfalls of fcntl locks, from fcntl(2):
//!
//! - Closing *any* descriptor of the file releases all locks that the process has on the file, even
//!   a descriptor that a library opened. Open file description locks (F_OFD_SETLKW) do not have
//!   this problem, but descriptors inherited through fork share one lock.
//! - A lock belongs to the process: a child does not inherit it, and the threads of a process do
//!   not exclude each other.
//! - A wait (F_SETLKW) can be interrupted by a signal and fails with EINTR.
//!
//! Used by: Postfix (`single_server`); Apache's prefork MPM with `Mutex fcntl`, for several
//! listening sockets.
//!
//! Good for: systems on which accept wakes every waiting process (the thundering herd). Since 2.4,
//! Linux wakes only one process, so for a single listener the lock is unnecessary. The lock still
//! helps if children wait for several listeners with poll or epoll, which wake all children.
//!
//! Weakness: that of `prefork-accept`; each connection also costs two system calls and a context
//! switch.
//!
//! Source: Stevens, *UNIX Network Programming* volume 1, chapter 30, design 3; Molloy and Lever,
//! *accept() scalability on Linux*, USENIX 2000. Design 4 is
//! [`prefork-mutex`](super::prefork_mutex).

use std::io;
use std::os::fd::AsRawFd;

use super::prefork_accept;
use crate::config::Config;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, WorkerKind, Workers};
use crate::processes::FileLock;
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "prefork-lock",
    summary: "preforked processes take a file lock around accept",
    family: Family::Processes,
    stevens: &[3],
    used_by: "Postfix (single_server), Apache prefork (Mutex fcntl)",
    workers: Workers::Pool(WorkerKind::Process, 64),
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
