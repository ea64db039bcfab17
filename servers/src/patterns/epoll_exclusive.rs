//! # Event loop per worker on a shared listener, with EPOLLEXCLUSIVE
//!
//! Each worker has an event loop and separate connections, and all loops wait for the same
//! listener. With EPOLLEXCLUSIVE, the kernel wakes at least one worker for each connection. Without
//! the flag, every worker wakes and all but one get EAGAIN (measured: about 4 voluntary context
//! switches per connection instead of 1).
//!
//! The pitfall is imbalance. The kernel wakes idle workers last in, first out: four idle workers
//! took 200/0/0/0 of 200 connections, where a blocking accept gives 50/50/50/50. A connection stays
//! with the worker that accepted it, so one core works while the others sleep. nginx has the same
//! problem. After every 16 accepts, a worker of nginx re-adds the listener to its epoll set, which
//! moves the worker to the other end of the wait queue (`ngx_reorder_accept_events`). This pattern
//! does not correct the imbalance, to show it.
//!
//! Used by: nginx, whose workers are processes, on a shared listener.
//!
//! Good for: event loops on several cores with one accept queue: no client is stuck behind a busy
//! worker.
//!
//! Weakness: load imbalance, as above.
//!
//! Source: epoll_ctl(2), EPOLLEXCLUSIVE, since Linux 4.5; Cloudflare, *Why does one NGINX worker
//! take all the load?*

use std::io;

use nix::sys::epoll::EpollFlags;

use super::epoll_level;
use crate::blocking::threads::{self, Ready};
use crate::config::Config;
use crate::event_loop::{Acceptor, drain};
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, WorkerKind, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "epoll-exclusive",
    summary: "one event loop for each worker on a shared listener, with EPOLLEXCLUSIVE",
    family: Family::Loops,
    stevens: &[],
    used_by: "nginx (shared listener)",
    workers: Workers::PerCore(WorkerKind::Thread),
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
