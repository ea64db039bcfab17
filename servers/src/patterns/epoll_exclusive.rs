//! # A loop for each worker on one listener, by EPOLLEXCLUSIVE
//!
//! Each worker has an event loop and clients of its own, and all of them wait for the one listener.
//! EPOLLEXCLUSIVE makes the kernel wake one of them, or a few, for each client; without it all
//! would wake up for it, and all but one in vain.
//!
//! Used by: nginx, where its workers share a listener.
//!
//! Good for: loops on several cores with one accept queue, in which nobody is stuck behind a worker
//! that is busy.
//!
//! Breaks: on balance: the one that waits first in the kernel's list is woken first, and takes most
//! of the clients while it has time to.
//!
//! Source: epoll_ctl(2), EPOLLEXCLUSIVE, since Linux 4.5.

use std::io;

use nix::sys::epoll::EpollFlags;

use super::epoll_level;
use crate::blocking::threads::{self, Ready};
use crate::config::Config;
use crate::event_loop::{Acceptor, drain};
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Unit, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "epoll-exclusive",
    summary: "a loop for each worker; all wait for one listener, one is woken",
    family: Family::Loops,
    stevens: &[],
    used_by: "nginx (shared listener)",
    workers: Workers::PerCore(Unit::Thread),
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let listener = listener.with_nonblocking_clients();
    listener.set_nonblocking()?;
    let shutdown = listener.shutdown();
    let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE;
    let acceptor = Acceptor::new(config);
    let work = |_, ready: Ready<'_>| {
        epoll_level::run(&listener, interest, acceptor.clone(), shutdown, || ready.wait())
    };
    let (clients, ()) = threads::each(0..config.workers, shutdown, work, || listener.listen())?;
    drop(listener);
    drain(clients.into_iter().flatten());
    Ok(())
}
