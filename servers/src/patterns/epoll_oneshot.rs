//! # One epoll, many threads, with EPOLLONESHOT
//!
//! All threads wait on the same epoll instance, and any idle thread serves any ready connection. An
//! event disarms its descriptor, so no other thread gets an event for the connection. The thread
//! that has served the connection re-arms the descriptor. Input that arrived in between is then
//! reported.
//!
//! Used by: the `polling` crate, and so smol. ntirpc (NFS-Ganesha) and Qpid Proton re-arm their
//! connections in this way, but in both one thread waits for each event channel, as in
//! [`leader_followers`](super::leader_followers).
//!
//! Good for: requests of very different length: no connection is tied to a busy thread.
//!
//! Weakness: an additional system call for each event, and connections that migrate between the
//! caches of the cores. A connection that the server forgets to re-arm is never served again.
//!
//! Source: epoll_ctl(2), EPOLLONESHOT, since Linux 2.6.2.

use std::io;

use nix::sys::epoll::EpollEvent;

use crate::blocking::threads::{self, Ready};
use crate::config::Config;
use crate::event_loop::READ_SIZE;
use crate::event_loop::SharedEpoll;
use crate::event_loop::drain;
use crate::event_loop::wait;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, WorkerKind, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "epoll-oneshot",
    summary: "many threads wait on one epoll, with EPOLLONESHOT",
    family: Family::Workers,
    stevens: &[],
    used_by: "smol; NFS-Ganesha, Qpid Proton (the re-arming)",
    workers: Workers::PerCore(WorkerKind::Thread),
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let listener = listener.with_nonblocking_clients();
    let shared = SharedEpoll::new(&listener, config)?;
    let work = |_, ready: Ready<'_>| {
        // One event per wait: a batch would hold events hostage while other threads are idle.
        let mut events = [EpollEvent::empty()];
        let mut scratch = [0; READ_SIZE];
        ready.wait()?;
        while !listener.shutdown().is_requested() {
            for event in wait(&shared.epoll, &mut events, None)? {
                shared.handle(event, &mut scratch)?;
            }
        }
        Ok(())
    };
    threads::each(0..config.workers, listener.shutdown(), work, || listener.listen())?;
    let clients = shared.into_connections();
    drop(listener);
    drain(clients);
    Ok(())
}
